"""Records, parts and saved groups: Celery's bytes, and whatever else stands under their keys."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_vectors import load, stored_values

from umbel.model import errors
from umbel.model.errors import ContentDisallowed, DecodeError, EncodeError, SecurityError
from umbel.model.record import Record
from umbel.wire import records, serializers

STORED = stored_values()
ALL = serializers.content_types(["json", "yaml", "msgpack", "pickle"])
JSON_ONLY = serializers.content_types(["json"])
FLOWS = [
    (flow["name"], json.dumps(value))
    for flow in load("flows")["flows"]
    for value in flow["results"].values()
]
READER = load("result_reader")["rows"]


@pytest.mark.parametrize(("_", "conf", "data"), STORED, ids=[name for name, *_ in STORED])
def test_a_stored_record_is_read_and_written_byte_for_byte(
    _: str, conf: dict[str, Any], data: bytes
) -> None:
    serializer = conf.get("result_serializer", "json")
    record = records.decode_record(data, serializer, ALL)

    compression = conf.get("result_compression")
    again = records.encode_record(record, serializer, compression)

    # A library of another version may pack otherwise; and yaml folds lines by their length, which
    # the normalised paths of a traceback have lost.
    if compression or (serializer == "yaml" and record.traceback):
        back = records.decode_record(again, serializer, ALL)
        assert back._replace(result=None) == record._replace(result=None)
        assert repr(back.result) == repr(record.result)
    else:
        assert again == data


@pytest.mark.parametrize("text", [text for _, text in FLOWS], ids=[name for name, _ in FLOWS])
def test_a_record_of_a_flow_is_read_and_written_byte_for_byte(text: str) -> None:
    record = records.decode_record(text.encode())

    assert records.encode_record(record).decode() == text
    assert record.status == json.loads(text)["status"]
    assert isinstance(record.result, BaseException) is (record.status in ("FAILURE", "REVOKED"))


@pytest.mark.parametrize("row", READER, ids=[row["record"] for row in READER])
def test_an_odd_record_ends_as_it_does_in_celery_or_with_a_cause(row: dict[str, Any]) -> None:
    data = json.dumps(row["value"]).encode()
    told = row["stored"]

    if told.startswith("raises builtins.KeyError"):
        with pytest.raises(DecodeError, match=told.split("'")[1]):
            records.decode_record(data)
        return
    record = records.decode_record(data)
    if told.startswith("returns"):
        assert repr(record.result) == told.removeprefix("returns ")
    elif row["record"] == "failure, result is text":
        assert "boom" in str(record.result)
    elif row["record"] == "failure, result null":
        assert "no exception" in str(record.result)
    elif "TimeoutError" not in told:
        kind, _, text = told.removeprefix("raises ").partition(": ")
        assert isinstance(record.result, BaseException)
        assert type(record.result).__name__ == kind.rpartition(".")[2] or "WireError" in text
        if "WireError" not in text:
            assert str(record.result) == text


def test_an_exception_that_refuses_its_own_arguments_is_told_as_celery_tells_it() -> None:
    module = type(math)("wire_tasks_stand_in")

    class WireError(Exception):
        def __init__(self, code: Any, detail: Any) -> None:
            super().__init__(code, detail)

    module.WireError = WireError  # type: ignore[attr-defined]
    import sys

    sys.modules["wire_tasks_stand_in"] = module
    try:
        row = next(r for r in READER if "refuses" in r["record"])
        value = json.loads(json.dumps(row["value"]).replace("wire_tasks", module.__name__))
        result = records.decode_record(json.dumps(value).encode()).result
    finally:
        del sys.modules["wire_tasks_stand_in"]

    assert type(result) is Exception
    assert str(result) == f"{WireError}(['one'])"


def test_a_plain_success_is_written_as_the_slow_way_writes_it() -> None:
    record = Record("id-é", "SUCCESS", [1, {"a": None}], None, [[["c", None], None]], "d", "g", "p")

    quick = records.encode_record(record)
    slow = json.dumps(
        {
            "status": "SUCCESS",
            "result": [1, {"a": None}],
            "traceback": None,
            "children": [[["c", None], None]],
            "date_done": "d",
            "group_id": "g",
            "parent_id": "p",
            "task_id": "id-é",
        }
    )

    assert quick.decode() == slow


def test_a_record_without_children_says_so() -> None:
    assert b'"children": null' in records.encode_record(Record("i", "SUCCESS", 1))
    assert b'"children": []' in records.encode_record(Record("i", "SUCCESS", 1, children=()))


def test_the_eight_factorials_keep_every_digit() -> None:
    numbers = [math.factorial(n) for n in (5, 10, 20, 21, 25, 30, 40, 45)]

    data = records.encode_record(Record("i", "SUCCESS", numbers, children=[]))

    assert records.decode_record(data).result == numbers


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack"])
def test_a_result_that_cannot_be_written_is_an_encode_error(serializer: str) -> None:
    with pytest.raises(EncodeError):
        records.encode_record(Record("i", "SUCCESS", {"a": {1j}}), serializer)


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_failure_goes_there_and_back(serializer: str, compression: str | None) -> None:
    record = Record("i", "FAILURE", ValueError("boom", 42), "Traceback", [], "d")

    data = records.encode_record(record, serializer, compression)
    back = records.decode_record(data, serializer, ALL)

    assert type(back.result) is ValueError
    assert back.result.args == ("boom", 42)
    assert back._replace(result=None) == record._replace(result=None)


def test_an_exception_that_cannot_be_pickled_is_stored_as_a_document() -> None:
    class Local(Exception):
        pass

    data = records.encode_record(Record("i", "FAILURE", Local("x")), "pickle")
    back = records.decode_record(data, "pickle", ALL)

    assert type(back.result).__name__ == "Local"
    assert back.result.args == ("x",)


def test_a_retry_without_an_exception_has_none() -> None:
    data = records.encode_record(Record("i", "RETRY", None, "Traceback", []))

    assert records.decode_record(data).result is None


def test_the_parts_of_a_chord_are_celery_s() -> None:
    parts = [
        part
        for flow in load("flows")["flows"]
        for command in flow["commands"]
        if command[1] == "ZADD" and command[2].endswith(".j")
        for part in [command[4]]
    ]
    assert len(parts) > 20

    for part in parts:
        task_id, state, value = records.decode_part(part.encode())
        assert records.encode_part(task_id, state, value).decode() == part
        assert isinstance(value, BaseException) is (state == "FAILURE")


def test_saved_groups_are_celery_s() -> None:
    saved = [
        write["value"]
        for case in load("results")["results"]
        for write in case.get("writes", [])
        if isinstance(write["value"], str) and write["value"].startswith('{"result": [[')
    ]
    assert len(saved) == 2

    for value in saved:
        assert records.encode_group(records.decode_group(value.encode())).decode() == value


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"7", b"null", b"{}", b'{"status": 1, "result": 1, "task_id": "i"}', b"\xff",
     b"[" * 100_000, b"\0celery-compressed\0application/x-gzip\0no", b"\0celery-compressed\0",
     b"\0celery-compressed\0\xff\0x"],
)  # fmt: skip
def test_bytes_that_are_no_document_are_refused(data: bytes) -> None:
    for decode in (records.decode_record, records.decode_part, records.decode_group):
        with pytest.raises(DecodeError):
            decode(data)


def test_a_serializer_must_be_accepted() -> None:
    data = records.encode_record(Record("i", "SUCCESS", 1), "pickle")

    with pytest.raises(ContentDisallowed):
        records.decode_record(data, "pickle", JSON_ONLY)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
documents = st.dictionaries(
    st.sampled_from(["exc_type", "exc_message", "exc_module", "x"]),
    json_values
    | st.sampled_from(["ValueError", "os", "system", "builtins", "a\0b", "Outer.Inner"]),
)


@given(
    state=st.sampled_from(["SUCCESS", "FAILURE", "RETRY", "REVOKED", "PROGRESS"]),
    result=documents | json_values,
    rest=st.dictionaries(
        st.sampled_from(["traceback", "children", "date_done", "group_id", "more"]), json_values
    ),
)
def test_any_document_is_read(state: str, result: Any, rest: dict[str, Any]) -> None:
    fields = {**rest, "status": state, "result": result, "task_id": "i"}

    record = records.decode_record(json.dumps(fields).encode())

    assert record.status == state
    if state in ("FAILURE", "REVOKED"):
        assert isinstance(record.result, BaseException)


def test_a_class_that_is_no_exception_is_a_security_error() -> None:
    document = {"exc_type": "system", "exc_message": ["true"], "exc_module": "os"}
    data = json.dumps({"status": "FAILURE", "result": document, "task_id": "i"}).encode()

    result = records.decode_record(data).result

    assert isinstance(result, SecurityError)
    assert isinstance(result, errors.CeleryError)
