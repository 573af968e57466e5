"""Previews are short, never raise, and keep secrets."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.wire.preview import hide_keys, preview


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class RudeList(list):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ((), "()"),
        ({}, "{}"),
        ([], "[]"),
        ((1,), "(1,)"),
        ((2, 3), "(2, 3)"),
        ((1, 2.5, None, True, "it's"), """(1, 2.5, None, True, "it's")"""),
        ({"y": 3}, "{'y': 3}"),
        (set(), "set()"),
        (frozenset({1}), "frozenset({1})"),
        (OrderedDict(a=1), "{'a': 1}"),
        ([[[[1]]]], "[[[[...]]]]"),
        ([[[]]], "[[[]]]"),
        ((b"ascii", b"\xff\x00"), "(b'ascii', b'ff00')"),
        ([object], "[<class 'object'>]"),
        ("plain", "'plain'"),
        (None, "None"),
        (ValueError("x"), "ValueError('x')"),
    ],
)
def test_a_value_is_shown_as_celery_shows_it(value: Any, shown: str) -> None:
    assert preview(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (("x" * 100, 5), "('" + "x" * 49 + "...', ...)"),
        (("a" * 40, "b" * 40), "('" + "a" * 40 + "', 'bbbbb...')"),
        (({"a": "x" * 100}, 5), "({'a': '" + "x" * 43 + "...'}, ...)"),
    ],
)
def test_a_long_value_is_cut_where_celery_cuts_it(value: Any, shown: str) -> None:
    assert preview(value, 50) == shown


def test_secrets_are_masked_by_the_name_of_their_key() -> None:
    shown = preview({"password": "p1", "api_key": "p2", "user": {"Auth_Token": "p3", "name": "n"}})

    assert "p1" not in shown
    assert "p2" not in shown
    assert "p3" not in shown
    assert "'name': 'n'" in shown
    assert shown.count("'********'") == 3


def test_an_app_may_decide_what_is_secret() -> None:
    hide_keys(lambda name: name == "iban")
    try:
        assert preview({"iban": "DE0", "password": "p"}) == "{'iban': '********', 'password': 'p'}"
    finally:
        hide_keys(None)


@pytest.mark.parametrize("value", [Rude(), (Rude(),), [[Rude()]], RudeList([1]), {"a": Rude()}])
def test_a_value_whose_own_code_raises_is_shown_somehow(value: Any) -> None:
    assert "Rude" in preview(value) or "RuntimeError" in preview(value)


def test_a_value_that_holds_itself_is_shown() -> None:
    circle: list[Any] = [1]
    circle.append(circle)

    assert preview(circle) == "[1, <Recursion on list>]"


def test_an_integer_too_long_to_print_does_not_raise() -> None:
    assert "int" in preview([10**5000]) or "list" in preview([10**5000])


values = st.recursive(
    st.none() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(values, st.integers(0, 200))
def test_a_preview_is_bounded(value: Any, limit: int) -> None:
    # Closing brackets, quotes, escapes and the signs of a cut come on top.
    assert len(preview(value, limit)) <= limit * 12 + 60
