"""Functions of ``celery.utils``, each held beside its namesake in the real Celery."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from umbel.compat.names import targets_of

DAY = datetime(2026, 3, 28, 13, 14, 15, 16)
BERLIN = datetime(2026, 3, 28, 13, 14, 15, tzinfo=ZoneInfo("Europe/Berlin"))

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("text.abbr", ("hello wonderful world", 10), {}),
    ("text.abbr", (None, 10), {}),
    ("text.abbrtask", ("a.b.c.d.task_name", 16), {}),
    ("text.dedent", ("    a\n    b",), {}),
    ("text.dedent_initial", ("    hello\n    you",), {}),
    ("text.ensure_newlines", ("a\n",), {}),
    ("text.ensure_sep", ("-", "a", 2), {}),
    ("text.fill_paragraphs", ("hello there you\n\nnice one", 8), {}),
    ("text.indent", ("a\nb", 2), {}),
    ("text.join", (["a", None, "b"],), {}),
    ("text.pluralize", (2, "task"), {}),
    ("text.pretty", ((1, 2),), {}),
    ("text.pretty", ([1, 2],), {}),
    ("text.simple_format", ("%h-%n%%", {"h": "x", "n": lambda: "y"}), {}),
    ("text.str_to_list", ("a,b",), {}),
    ("text.truncate", ("one two three", 9), {}),
    ("time.humanize_seconds", (3700,), {"prefix": "in ", "sep": "~"}),
    ("time.humanize_seconds", (86400 * 3,), {}),
    ("time.humanize_seconds", (61.5,), {}),
    ("time.humanize_seconds", (0.5,), {"microseconds": True}),
    ("time.humanize_seconds", (0,), {}),
    ("time.weekday", ("Sunday",), {}),
    ("time.weekday", ("mon",), {}),
    ("time.delta_resolution", (DAY, timedelta(hours=3)), {}),
    ("time.delta_resolution", (DAY, timedelta(days=3)), {}),
    ("time.delta_resolution", (DAY, timedelta(seconds=3)), {}),
    ("time.remaining", (DAY, timedelta(days=1)), {"now": DAY + timedelta(hours=3)}),
    ("time.remaining", (DAY, timedelta(hours=1)), {"now": DAY, "relative": True}),
    ("time.add_seconds_to_datetime", (BERLIN, 86400), {}),
    ("time.subtract_datetimes", (BERLIN, datetime(2026, 3, 28, tzinfo=UTC)), {}),
    ("time.adjust_timestamp", (10, 1), {"here": lambda *_: 0}),
    ("time.is_naive", (DAY,), {}),
    ("time.maybe_iso8601", ("2026-03-28T13:14:15+00:00",), {}),
    ("time.maybe_timedelta", (3,), {}),
    ("time.rate", ("120/m",), {}),
    ("time.get_exponential_backoff_interval", (2, 3, 100), {}),
    ("functional.padlist", (["a"], 3, 0), {}),
    ("functional.dictfilter", ({"a": None, "b": 1},), {"c": None}),
    ("functional.first", (None, [None, 2]), {}),
    ("functional.first", (lambda x: x > 2, [1, 3]), {}),
    ("functional.fun_accepts_kwargs", (lambda **_: 0,), {}),
    ("functional.fun_accepts_kwargs", (lambda a: 0,), {}),
    ("functional.is_list", ([1],), {}),
    ("functional.is_list", ("text",), {}),
    ("functional.maybe", (str, 1), {}),
    ("functional.maybe_list", (None,), {}),
    ("functional.maybe_list", (1,), {}),
    ("nodenames.nodename", ("w", "h"), {}),
    ("nodenames.nodesplit", ("w",), {}),
    ("nodenames.node_format", ("%n.%h %d", "w@x.y.z"), {}),
    ("nodenames.host_format", ("%h %n %d",), {"host": "x.y", "name": "nn"}),
    ("imports.qualname", (timedelta,), {}),
    ("imports.symbol_by_name", ("json.dumps",), {}),
    ("imports.symbol_by_name", ("json:nothing",), {"default": 3}),
    ("serialization.strtobool", ("yes",), {}),
    ("collections.lpmerge", ({"a": 1}, {"a": 2, "b": None}), {}),
    ("objects.mro_lookup", (bool, "bit_length"), {}),
]


def umbels(name: str) -> Any:
    module, _, function = name.rpartition(".")
    source, _, attribute = targets_of(f"celery.utils.{module}")[function].partition(":")
    return getattr(import_module(source), attribute)


def celerys(name: str) -> Any:
    module, _, function = name.rpartition(".")
    return getattr(import_module(f"celery.utils.{module}"), function)


@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS)
def test_it_gives_what_its_namesake_gives(name: str, args: Any, kwargs: Any) -> None:
    assert umbels(name)(*args, **kwargs) == celerys(name)(*args, **kwargs)


@pytest.mark.parametrize("find", [umbels, celerys])
def test_dates_move_to_given_fields(find: Any) -> None:
    ffwd = find("time.ffwd")

    assert DAY + ffwd(hour=3, minute=2, second=0, microsecond=0) == datetime(2026, 3, 28, 3, 2)
    assert DAY + ffwd(month=2, day=31) == DAY.replace(month=2, day=28)
    assert DAY + ffwd(weekday=0) == DAY + timedelta(days=2)
    assert DAY + ffwd(weeks=1) == DAY + timedelta(days=7)


@pytest.mark.parametrize("find", [umbels, celerys])
def test_calls_are_made_late_and_once(find: Any) -> None:
    made: list[int] = []

    late = find("functional.lazy")(made.append, 1)
    once = find("functional.mlazy")(lambda: made.append(2) or "value")
    made_before = list(made)
    late()
    once.evaluate()

    assert made_before == []
    assert once() == "value"
    assert made == [1, 2]
    assert find("functional.maybe_evaluate")(once) == "value"


@pytest.mark.parametrize("find", [umbels, celerys])
def test_an_iterator_can_be_read_again(find: Any) -> None:
    items = find("functional.regen")(number for number in range(3))

    assert items[1] == 1
    assert list(items) == list(items) == [0, 1, 2]
    assert find("functional.regen")((1,)) == (1,)


@pytest.mark.parametrize("find", [umbels, celerys])
def test_results_are_remembered_up_to_a_limit(find: Any) -> None:
    asked: list[int] = []

    @find("functional.memoize")(maxsize=2)
    def double(number: int) -> int:
        asked.append(number)
        return number * 2

    assert [double(number) for number in (1, 2, 1, 3, 1, 2)] == [2, 4, 2, 6, 2, 4]
    assert asked[:3] == [1, 2, 3]
    double.clear()
    assert double(1) == 2
    assert double.misses == 1


@pytest.mark.parametrize("find", [umbels, celerys])
def test_dictionaries_and_objects_are_like_each_other(find: Any) -> None:
    found = find("collections.AttributeDict")(a=1)
    found.b = 2
    bunch = find("objects.Bunch")(a=1)
    view = find("collections.DictAttribute")(bunch)
    view["b"] = 3

    assert found == {"a": 1, "b": 2}
    assert (bunch.b, view["a"], view.get("none")) == (3, 1, None)
    with pytest.raises(AttributeError, match="none"):
        found.none  # noqa: B018
    with pytest.raises(KeyError):
        view["none"]


@pytest.mark.parametrize("find", [umbels, celerys])
def test_mappings_answer_one_after_the_other(find: Any) -> None:
    changes: dict[str, int] = {}
    both = find("collections.ChainMap")(changes, {"a": 1, "b": 2})

    both["b"] = 5
    both.add_defaults({"a": 7})

    assert dict(both) == {"a": 7, "b": 5}
    assert changes == {"b": 5}
    assert both.get("none") is None
