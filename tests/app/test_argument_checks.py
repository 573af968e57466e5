"""Whether arguments fit is asked where ``delay`` is called, in Python's own words."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import pytest

from umbel import Celery
from umbel.app.arguments import check_of


def plain(x, y=1): ...
def only_positional(x, /, y): ...
def only_keywords(x, *, y, z=1): ...
def everything(a, b=1, /, c=2, *more, d, e=3, **rest): ...


CALLS = [
    ((), {}),
    ((1,), {}),
    ((1, 2), {}),
    ((1, 2, 3), {}),
    ((1,), {"y": 2}),
    ((1,), {"x": 2}),
    ((), {"x": 1, "y": 2}),
    ((1,), {"y": 2, "z": 3}),
    ((1,), {"y": 2, "w": 3}),
    ((1, 2, 3, 4, 5), {"d": 1}),
    ((), {"d": 1, "a": 1}),
]


@pytest.mark.parametrize("function", [plain, only_positional, only_keywords, everything])
@pytest.mark.parametrize(("args", "kwargs"), CALLS)
def test_the_check_says_what_the_call_would_say(
    function: Callable[..., Any], args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    check = check_of(function, skip_first=False)

    def complaint(callee: Callable[..., Any]) -> str | None:
        try:
            callee(*args, **kwargs)
        except TypeError as error:
            return str(error)
        return None

    assert complaint(check) == complaint(function)


def test_self_is_not_counted() -> None:
    check = check_of(plain, skip_first=True)

    check()
    with pytest.raises(TypeError, match="takes from 0 to 1 positional arguments but 2 were given"):
        check(1, 2)


def test_wrong_arguments_raise_in_the_caller(app: Celery, broker: Any) -> None:
    @app.task(bind=True)
    def add(self, x, y):
        return x + y

    with pytest.raises(TypeError, match=r"add\(\) missing 1 required positional argument: 'y'"):
        add.delay(1)
    with pytest.raises(TypeError, match="must be a list or tuple"):
        add.apply_async("ab")

    assert broker.messages == []


def test_typing_can_be_turned_off(broker: Any, app: Celery) -> None:
    @app.task(typing=False)
    def add(x, y):
        return x + y

    add.delay(1)

    assert len(broker.messages) == 1


def test_an_app_can_turn_typing_off() -> None:
    app = Celery("loose", strict_typing=False, task_always_eager=True)

    @app.task
    def add(x, y):
        return x + y

    assert add.delay(1).failed()


def test_the_check_is_cheap(app: Celery) -> None:
    @app.task
    def add(x, y=1, *, z=2):
        return x

    add.check_arguments((1,), {"z": 2})

    best = min(timeit.repeat(lambda: add.check_arguments((1,), {"z": 2}), number=5000, repeat=5))

    assert best / 5000 < 2e-6  # 0.2 us measured; the bound is for busy machines
