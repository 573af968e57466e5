"""``link`` and ``link_error``: what is no signature is refused where it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from umbel import Celery, chain, chord, group

Way = Callable[[Any, Any], Any]

WAYS: dict[str, Way] = {
    "a call": lambda t, bad: t.apply_async((1,), link=bad),
    "a call's errback": lambda t, bad: t.apply_async((1,), link_error=bad),
    "a call by name": lambda t, bad: t.app.send_task("any", link=bad),
    "a call here": lambda t, bad: t.apply((1,), link_error=bad),
    "a signature": lambda t, bad: t.s(1).link(bad),
    "on_error": lambda t, bad: t.s(1).on_error(bad),
    "an option": lambda t, bad: t.s(1).set(link=bad).apply_async(),
    "a later step": lambda t, bad: chain(t.s(1), t.s().set(link_error=bad)).apply_async(),
    "a chain": lambda t, bad: chain(t.s(1), t.s()).apply_async(link_error=bad),
    "a member": lambda t, bad: group(t.s(1).set(link=bad), t.s(1)).apply_async(),
    "a group": lambda t, bad: group(t.s(1), t.s(1)).link_error(bad),
    "a chord": lambda t, bad: chord([t.s(1)], t.s()).link_error(bad),
    "a body": lambda t, bad: chord([t.s(1)], t.s().set(link=bad)).apply_async(),
}


@pytest.mark.parametrize("bad", [5, "shop.task", len, {"no": "task"}, [None]], ids=repr)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_signature_is_refused_where_it_is_given(app: Celery, way: str, bad: Any) -> None:
    task = app.task(lambda x: x, name="shop.task")

    with pytest.raises(TypeError, match="takes signatures"):
        WAYS[way](task, bad)


@pytest.mark.parametrize("way", WAYS)
def test_a_signature_and_its_dictionary_are_taken(app: Celery, way: str) -> None:
    task = app.task(lambda x: x, name="shop.task")

    WAYS[way](task, task.s())
    WAYS[way](task, dict(task.s()))
