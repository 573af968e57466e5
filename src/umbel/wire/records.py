"""Result records, parts of joins and saved groups, as Celery stores them.

A record is a document of six fields in Celery's order, then the group and the parent where there
are any, then what ``result_extended`` adds; the task's id is last. The result of FAILURE, RETRY and
REVOKED is an exception: a document by ``wire/errors``, the object itself under pickle.

Nothing in the bytes says which serializer wrote them; writers and readers must agree. Compression
says so itself. ``decode_*`` raise ``DecodeError`` or ``ContentDisallowed``, never anything else.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from umbel.model.errors import DecodeError, EncodeError
from umbel.model.record import Record
from umbel.model.states import EXCEPTION_STATES
from umbel.wire import serializers
from umbel.wire.compression import pack, unpack
from umbel.wire.errors import document_of, exception_of
from umbel.wire.json_forms import quoted, raw_encode, refusal

_FIELDS = ("status", "result", "traceback", "children", "date_done", "task_id")
_KNOWN = frozenset(_FIELDS) | {"group_id", "parent_id"}
_PART = 1  # what stands first in each part of a join


def encode_record(
    record: Record, serializer: str = "json", compression: str | None = None
) -> bytes:
    """The bytes of a record. Raises ``EncodeError`` where the result can't be written."""
    task_id, status, result, traceback, children, date_done, group_id, parent_id, extended = record
    if (
        status == "SUCCESS"
        and serializer == "json"
        and extended is None
        and compression is None
        and traceback is None
    ):
        # What nearly all records are: 0.9 us instead of 3 (bench/wire.py).
        try:
            value = raw_encode(result)
            kin = raw_encode(children) if children else "null" if children is None else "[]"
        except Exception as error:  # noqa: BLE001 - users' __json__ and the like
            raise refusal(result, error, "the result") from error
        group = "" if group_id is None else f', "group_id": {quoted(group_id)}'
        parent = "" if parent_id is None else f', "parent_id": {quoted(parent_id)}'
        done = "null" if date_done is None else quoted(date_done)
        return (
            f'{{"status": "SUCCESS", "result": {value}, "traceback": null, "children": {kin}, '
            f'"date_done": {done}{group}{parent}, "task_id": {quoted(task_id)}}}'
        ).encode("ascii")
    fields: dict[str, Any] = {
        "status": status,
        "result": _storable(status, result, serializer),
        "traceback": traceback,
        "children": children,
        "date_done": date_done,
    }
    if group_id is not None:
        fields["group_id"] = group_id
    if parent_id is not None:
        fields["parent_id"] = parent_id
    if extended:
        fields.update(extended)
    fields["task_id"] = task_id
    return _stored(fields, serializer, compression)


def decode_record(
    data: bytes,
    serializer: str = "json",
    accept: Container[str] = frozenset({serializers.JSON}),
) -> Record:
    """The record of stored bytes; the result of a failure is an exception object.

    ``status``, ``result`` and ``task_id`` must be there; anything else may be missing, and what
    is not known is among ``extended``.
    """
    fields = _loaded(data, serializer, accept)
    if type(fields) is not dict:
        raise DecodeError(f"a record must be an object; found {type(fields).__name__}")
    for name in ("status", "task_id"):
        if type(fields.get(name)) is not str:
            raise DecodeError(f"a record needs the text {name!r}; found {fields.get(name)!r:.60}")
    if "result" not in fields:
        raise DecodeError(f"the record of task {fields['task_id']} has no 'result'")
    get = fields.get
    status: str = fields["status"]
    children = get("children")
    return Record(
        task_id=fields["task_id"],
        status=status,
        result=_revived(status, fields["result"]),
        traceback=_text(get("traceback")),
        children=children if isinstance(children, list | tuple) else None,
        date_done=_text(get("date_done")),
        group_id=_text(get("group_id")),
        parent_id=_text(get("parent_id")),
        extended={name: value for name, value in fields.items() if name not in _KNOWN} or None,
    )


def encode_part(task_id: str, state: str, result: Any, serializer: str = "json") -> bytes:
    """One member's part of a join. Raises ``EncodeError``."""
    part = [_PART, task_id, state, _storable(state, result, serializer)]
    return _stored(part, serializer, None)


def decode_part(
    data: bytes,
    serializer: str = "json",
    accept: Container[str] = frozenset({serializers.JSON}),
) -> tuple[str, str, Any]:
    """Id, state, and the value or exception of a part."""
    part = _loaded(data, serializer, accept)
    if type(part) not in (list, tuple) or len(part) != 4:
        raise DecodeError(f"a part must be [1, id, state, result]; found {part!r:.100}")
    _, task_id, state, result = part
    if type(task_id) is not str or type(state) is not str:
        raise DecodeError(f"a part must be [1, id, state, result]; found {part!r:.100}")
    return task_id, state, _revived(state, result)


def encode_group(
    result_tuple: Any, serializer: str = "json", compression: str | None = None
) -> bytes:
    """A saved group, from its result tuple."""
    return _stored({"result": result_tuple}, serializer, compression)


def decode_group(
    data: bytes,
    serializer: str = "json",
    accept: Container[str] = frozenset({serializers.JSON}),
) -> Any:
    """The result tuple of a saved group."""
    fields = _loaded(data, serializer, accept)
    if type(fields) is not dict or type(fields.get("result")) not in (list, tuple):
        raise DecodeError(f"a saved group must be an object with 'result'; found {fields!r:.100}")
    return fields["result"]


def _storable(state: str, result: Any, serializer: str) -> Any:
    """An exception in the form in which the serializer stores it; anything else as it is."""
    if state not in EXCEPTION_STATES or not isinstance(result, BaseException):
        return result
    if serializer == "pickle":
        try:
            serializers.dumps(result, "pickle")
        except EncodeError:
            pass  # it can't be pickled: readers understand the document as well
        else:
            return result
    return document_of(result, serializer)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _revived(state: str, result: Any) -> Any:
    if state not in EXCEPTION_STATES:
        return result
    if result is None and state == "RETRY":  # retry() was called without an exception
        return None
    return exception_of(result)


def _stored(value: Any, serializer: str, compression: str | None) -> bytes:
    data = serializers.dumps(value, serializer).data
    return data if compression is None else pack(data, compression)


def _loaded(data: bytes, serializer: str, accept: Container[str]) -> Any:
    content_type, content_encoding = serializers.form_of(serializer)
    return serializers.loads(unpack(data), content_type, content_encoding, accept)
