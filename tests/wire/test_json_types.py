"""JSON's typed forms, numbers of any size, and what cannot be written."""

from __future__ import annotations

import datetime as dt
import enum
import json
import math
import sys
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_vectors import load

from umbel.model.errors import DecodeError, EncodeError
from umbel.wire import json_forms

TYPES = load("json_types")["types"]
WRITABLE = [row for row in TYPES if "json" in row and row["python"] != "object with __json__"]


class Col(str, enum.Enum):  # noqa: UP042 - not the same as StrEnum, and what users write
    RED = "r"


NAMES = {
    "datetime": dt, "Decimal": Decimal, "UUID": uuid.UUID, "nan": math.nan, "Col": Col,
    "ValueError": ValueError,
}  # fmt: skip


@pytest.fixture(params=["stdlib", "msgspec"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(json_forms, "_read", json_forms._read_slowly)
    if request.param == "msgspec":
        json_forms.read_with_msgspec()
        assert json_forms._read is not json_forms._read_slowly
    return str(request.param)


def value_of(row: dict[str, Any]) -> Any:
    if row["python"] == "str Enum":
        return Col.RED
    return eval(row["repr"], NAMES)  # our own vectors


@pytest.mark.parametrize("row", WRITABLE, ids=[row["python"] for row in WRITABLE])
def test_a_type_is_written_as_celery_writes_it(row: dict[str, Any]) -> None:
    assert json_forms.dumps(value_of(row)) == row["json"]


@pytest.mark.parametrize("row", WRITABLE, ids=[row["python"] for row in WRITABLE])
def test_a_type_is_read_as_celery_reads_it(row: dict[str, Any], reader: str) -> None:
    data = row["json"].encode()
    if "decode_error" in row:
        with pytest.raises(DecodeError, match="zzz"):
            json_forms.loads(data)
    elif row["decodes_to"] == "nan":
        assert math.isnan(json_forms.loads(data))
    else:
        assert json_forms.loads(data) == eval(row["decodes_to"], NAMES)  # our own vectors


@pytest.mark.parametrize(
    "value",
    [{1}, frozenset({1}), dt.timedelta(seconds=1), 1j, {(1, 2): 3}, ValueError("x"),
     bytearray(b"x"), range(2), object(), 10**5000],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_json_has_no_form_for_is_refused(value: Any) -> None:
    with pytest.raises(EncodeError) as caught:
        json_forms.dumps(value)
    assert isinstance(caught.value, TypeError)


def test_the_refusal_says_where_the_thing_is() -> None:
    with pytest.raises(EncodeError, match=r"type set is not JSON serializable \(at \[1\]\['a'\]"):
        json_forms.dumps([0, {"b": 1, "a": {2}}])


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)

    with pytest.raises(EncodeError, match="refers to itself"):
        json_forms.dumps(circle)


def test_an_object_says_itself_how_it_is_written() -> None:
    class Own:
        def __json__(self) -> dict[str, int]:
            return {"own": 1}

    assert json_forms.dumps([Own()]) == '[{"own": 1}]'


def test_a_registered_type_goes_there_and_back() -> None:
    class Money:
        def __init__(self, cents: int) -> None:
            self.cents = cents

    json_forms.register_type(Money, "money", lambda money: money.cents, Money)

    text = json_forms.dumps({"price": Money(5)})

    assert text == '{"price": {"__type__": "money", "__value__": 5}}'
    assert json_forms.loads(text.encode())["price"].cents == 5


def test_the_numbers_of_the_tutorial_are_exact(reader: str) -> None:
    for number in (math.factorial(45), -math.factorial(45), 2**64, 2**63, -(2**63) - 1, 10**4000):
        text = json_forms.dumps([number])

        assert json_forms.loads(text.encode()) == [number]


def test_nan_and_infinity_go_there_and_back(reader: str) -> None:
    text = json_forms.dumps([math.nan, math.inf, -math.inf, 1e300])

    assert text == "[NaN, Infinity, -Infinity, 1e+300]"
    back = json_forms.loads(text.encode())
    assert math.isnan(back[0])
    assert back[1:] == [math.inf, -math.inf, 1e300]


def test_forms_are_read_at_any_depth_and_spelled_in_any_way(reader: str) -> None:
    day = dt.date(2026, 1, 2)

    assert json_forms.loads(json_forms.dumps({"a": [{"b": [day]}]}).encode()) == {
        "a": [{"b": [day]}]
    }
    spelled = rb'{"\u005f\u005ftype__": "date", "\u005F_value__": "2026-01-02"}'
    assert json_forms.loads(spelled) == day


def test_an_object_with_more_than_the_two_keys_is_no_form(reader: str) -> None:
    plain = {"__type__": "date", "__value__": "2026-01-02", "more": 1}

    assert json_forms.loads(json.dumps(plain).encode()) == plain


# One lone surrogate, not two: a high and a low one are the same JSON as the letter they spell.
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.text(st.characters(categories=["Cs"]), max_size=1),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)  # fmt: skip


@given(json_values)
def test_our_text_is_the_standard_library_s_and_both_readers_agree(value: Any) -> None:
    text = json_forms.dumps(value)
    assert text == json.dumps(value)

    json_forms.read_with_msgspec()
    assert json_forms.loads(text.encode()) == json_forms._read_slowly(text.encode()) == value


@given(st.text(max_size=40) | st.from_regex(r"[\[\]{}0-9eE.,:\"\\ nulltrefas-]{0,30}"))
def test_both_readers_agree_on_what_is_no_json(text: str) -> None:
    def outcome(read: Any) -> Any:
        try:
            return repr(read(text.encode()))
        except DecodeError:
            return "refused"

    json_forms.read_with_msgspec()
    assert outcome(json_forms.loads) == outcome(json_forms._read_slowly)


def test_the_encoder_of_this_python_is_the_fast_one() -> None:
    assert sys.implementation.name != "cpython" or "pieces" in (
        json_forms.raw_encode.__code__.co_freevars
    )
