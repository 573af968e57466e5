"""No message, whatever its bytes, ends in anything but DecodeError or InvalidTaskError."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_vectors import load

from umbel.model.errors import DecodeError, InvalidTaskError
from umbel.wire import envelope, protocol, serializers

JSON_ONLY = serializers.content_types(["json"])
ALL = serializers.content_types(["json", "yaml", "msgpack", "pickle"])
GOOD = json.loads(load("messages")["cases"][0]["pushed"][0]["raw"])
ROWS = load("tolerance")["rows"]
UNUSABLE = [
    (step["step"], argument)
    for step in load("consumer")["steps"]
    if step["step"].startswith("unusable") and "unregistered" not in step["step"]
    for command in step["commands"]
    for argument in command
    if argument.startswith('{"body"')
] + [
    (step["step"], json.loads(command[4])[0])
    for step in load("consumer")["steps"]
    if step["step"].startswith("unusable") and "unregistered" not in step["step"]
    for command in step["commands"]
    if command[1:3] == ["HSET", "unacked"]
]
NOTHING = object()


def changed(path: str, value: Any) -> bytes:
    message = copy.deepcopy(GOOD)
    holder = message
    *parents, name = path.split(".")
    for parent in parents:
        holder = holder[parent]
    if value is NOTHING:
        del holder[name]
    else:
        holder[name] = value
    return json.dumps(message).encode()


def with_body(body: Any, *, raw: bytes | None = None, **fields: Any) -> bytes:
    data = json.dumps(body).encode() if raw is None else raw
    return json.dumps({**GOOD, "body": base64.b64encode(data).decode(), **fields}).encode()


def read(raw: bytes) -> Any:
    return protocol.read(raw, JSON_ONLY)


@pytest.mark.parametrize("row", ROWS, ids=[f"{r['variant']}-{r['field']}" for r in ROWS])
def test_a_field_is_needed_or_not_as_by_celery(row: dict[str, Any]) -> None:
    if row["field"]:
        raw = changed(row["field"], None if row["variant"] == "null" else NOTHING)
    else:
        raw = json.dumps(row.get("message", GOOD)).encode()

    if row["status"] == "SUCCESS":
        request, args, kwargs = read(raw)
        assert (args, kwargs) == ([2, 3], {})
        assert request.task == "wire_tasks.add"
        assert request.retries == 0
        assert request.replaced_task_nesting == 0
    else:
        with pytest.raises((DecodeError, InvalidTaskError)) as caught:
            read(raw)
        assert (row["field"] or "").rpartition(".")[2].partition("_")[0] in str(caught.value)


@pytest.mark.parametrize("raw", [raw for _, raw in UNUSABLE], ids=[name for name, _ in UNUSABLE])
def test_what_a_celery_worker_could_not_use_is_refused(raw: Any) -> None:
    data = raw.encode() if isinstance(raw, str) else json.dumps(raw).encode()

    with pytest.raises((DecodeError, InvalidTaskError)):
        read(data)


def test_all_unusable_messages_of_the_capture_are_tried() -> None:
    assert len({name for name, _ in UNUSABLE}) == 8


BAD_BYTES = {
    "nothing": b"",
    "no json": b"hello",
    "a list": b"[]",
    "a number": b"7",
    "a string": b'"x"',
    "null": b"null",
    "invalid utf-8": b'{"body": "\xff\xfe"}',
    "a deep list": b"[" * 100_000,
    "a deep closed list": b"[" * 100_000 + b"]" * 100_000,
    "a deep object": b'{"a":' * 100_000,
    "a deep header": json.dumps(GOOD).encode().replace(b'"py"', b"[" * 100_000 + b"]" * 100_000),
    "a huge integer": b'{"body": ' + b"1" * 5_000 + b"}",
    "a huge integer in a header": json.dumps(GOOD).encode().replace(b'"py"', b"1" * 5_000),
    "a number beyond floats": changed("headers.retries", 7).replace(b": 7", b": 1e400"),
    "NaN retries": changed("headers.retries", float("nan")),
    "unknown type form": changed("headers.x", {"__type__": "zzz", "__value__": 1}),
    "bad date form": changed("headers.x", {"__type__": "datetime", "__value__": "soon"}),
    "date form of a number": changed("headers.x", {"__type__": "datetime", "__value__": 1}),
    "bad decimal form": changed("headers.x", {"__type__": "decimal", "__value__": "x"}),
    "type form without a name": changed("headers.x", {"__type__": [], "__value__": 1}),
    "escaped type form": changed("headers.x", {"Q": 1, "__value__": 1}).replace(
        b'"Q"', b'"\\u005f_type__"'
    ),
    "headers a list": changed("headers", []),
    "headers text": changed("headers", "headers"),
    "properties a list": changed("properties", []),
    "delivery_info a list": changed("properties.delivery_info", []),
    "delivery_info text": changed("properties.delivery_info", "exchange routing_key"),
    "tag a number": changed("properties.delivery_tag", 7),
    "body a list": changed("body", [[2, 3], {}, {}]),
    "body a lone surrogate": changed("body", "\ud800"),
    "body not ascii": changed("body", "é"),
    "body text with a surrogate": json.dumps(
        {**GOOD, "body": "\ud800", "properties": {**GOOD["properties"], "body_encoding": "utf-8"}}
    ).encode(),
    "content type a list": changed("content-type", ["application/json"]),
    "task a list": changed("headers.task", ["a"]),
    "id a number": changed("headers.id", 7),
    "id an object": changed("headers.id", {}),
    "retries text": changed("headers.retries", "many"),
    "retries negative": changed("headers.retries", -1),
    "nesting a list": changed("headers.replaced_task_nesting", []),
    "timelimit text": changed("headers.timelimit", "ab"),
    "timelimit short": changed("headers.timelimit", [1]),
    "timelimit of text": changed("headers.timelimit", ["1", "2"]),
    "group a list": changed("headers.group", []),
    "group_index text": changed("headers.group", "g").replace(
        b'"group_index": null', b'"group_index": "first"'
    ),
    "stamps a list": changed("headers.stamps", [1]),
    "stamped_headers text": changed("headers.stamped_headers", "abc"),
    "eta no date": changed("headers.eta", "tomorrow"),
    "eta a number": changed("headers.eta", 5),
    "expires no date": changed("headers.expires", "2026-99-99"),
    "expires a list": changed("headers.expires", [1]),
    "unknown compression": changed("headers.compression", "zip"),
    "compression a list": changed("headers.compression", ["gzip"]),
    "not compressed": changed("headers.compression", "application/x-gzip"),
    "not bz2": changed("headers.compression", "application/x-bz2"),
    "not lzma": changed("headers.compression", "application/x-lzma"),
    "no brotli": changed("headers.compression", "application/x-brotli"),
    "refused content type": changed("content-type", "application/x-python-serialize"),
    "unknown encoding": changed("content-encoding", "utf-99"),
    "encoding that is no text encoding": changed("content-encoding", "base64"),
    "triple of two": with_body([[], {}]),
    "triple text": with_body("abc"),
    "triple null": with_body(None),
    "args text": with_body(["ab", {}, {}]),
    "args an object": with_body([{}, {}, {}]),
    "kwargs a list": with_body([[], [], {}]),
    "embed a list": with_body([[], {}, []]),
    "callbacks text": with_body([[], {}, {"callbacks": "abc"}]),
    "callbacks of numbers": with_body([[], {}, {"callbacks": [1]}]),
    "chain without tasks": with_body([[], {}, {"chain": [{"args": []}]}]),
    "chord a list": with_body([[], {}, {"chord": []}]),
    "errbacks a number": with_body([[], {}, {"errbacks": 7}]),
    "deep body": with_body(None, raw=b"[" * 100_000 + b"]" * 100_000),
    "huge integer in the body": with_body(None, raw=b"[[" + b"1" * 5_000 + b"], {}, {}]"),
    "body not utf-8": with_body(None, raw=b'[["\xff"], {}, {}]'),
    "object body without a task": with_body({"args": [1]}, headers={}),
    "object body without an id": with_body({"task": "a"}, headers={}),
    "object body with bad args": with_body({"task": "a", "id": "b", "args": 3}, headers={}),
}


@pytest.mark.parametrize("raw", BAD_BYTES.values(), ids=BAD_BYTES.keys())
def test_bad_bytes_are_refused_with_a_cause(raw: bytes) -> None:
    with pytest.raises((DecodeError, InvalidTaskError)) as caught:
        read(raw)

    assert str(caught.value)
    assert len(str(caught.value)) < 1_000


BAD_BODIES = {
    "pickle of nothing": ("application/x-python-serialize", b""),
    "pickle of noise": ("application/x-python-serialize", b"noise"),
    "pickle of an unknown class": ("application/x-python-serialize", b"cno.such\nThing\n."),
    "msgpack cut": ("application/x-msgpack", b"\x93\x01"),
    "msgpack of noise": ("application/x-msgpack", b"\xc1"),
    "msgpack deep": ("application/x-msgpack", b"\x91" * 100_000),
    "yaml of noise": ("application/x-yaml", b"{[}"),
    "yaml with a python object": ("application/x-yaml", b"!!python/object:os.system {}"),
    "yaml deep": ("application/x-yaml", b"[" * 5_000),
    "yaml not utf-8": ("application/x-yaml", b"\xff\xfe\xff"),
}


@pytest.mark.parametrize(("kind", "data"), BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_bad_bodies_of_other_serializers_are_refused(kind: str, data: bytes) -> None:
    raw = with_body(None, raw=data, **{"content-type": kind})

    with pytest.raises((DecodeError, InvalidTaskError)):
        protocol.read(raw, ALL)


def test_a_serializer_that_is_not_accepted_is_not_tried() -> None:
    bomb = b"cos\nabort\n(tR."
    raw = with_body(None, raw=bomb, **{"content-type": "application/x-python-serialize"})

    with pytest.raises(InvalidTaskError, match="accept_content"):
        read(raw)


def test_headers_of_a_sender_can_not_replace_a_request_s_methods() -> None:
    raw = json.dumps(
        {**GOOD, "headers": {**GOOD["headers"], "get": 1, "update": 2, "args": 3, "x-own": 4}}
    ).encode()

    request, args, _ = read(raw)

    assert request.headers == {"get": 1, "update": 2, "args": 3, "x-own": 4}
    assert request.get("x-own") == 4
    assert request.args == args == [2, 3]


def test_a_request_can_be_had_of_a_message_whose_body_is_bad() -> None:
    raw = changed("body", "!!!!")
    opened = envelope.decode(with_body("no triple"))

    request = protocol.request_of(opened)

    assert request.id == GOOD["headers"]["id"]
    assert opened.headers.get("properties") is None  # the envelope is as it was
    with pytest.raises(DecodeError):
        envelope.decode(raw)


def test_a_body_with_line_breaks_is_read() -> None:
    lines = base64.encodebytes(json.dumps([["x" * 200], {}, {}]).encode()).decode()

    _, args, _ = read(changed("body", lines))

    assert args == ["x" * 200]


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
paths = st.sampled_from(
    ["body", "headers", "properties", "content-type", "content-encoding"]
    + [f"headers.{name}" for name in [*GOOD["headers"], "compression", "own"]]
    + [f"properties.{name}" for name in GOOD["properties"]]
    + ["properties.delivery_info.exchange", "properties.delivery_info.redelivered"]
)


@given(path=paths, value=values)
@settings(max_examples=400, deadline=None)
def test_any_value_anywhere_is_read_or_refused(path: str, value: Any) -> None:
    try:
        request, _, _ = read(changed(path, value))
    except (DecodeError, InvalidTaskError):
        return
    assert type(request.id) is str


@given(body=values)
@settings(max_examples=200, deadline=None)
def test_any_body_is_read_or_refused(body: Any) -> None:
    for embedded in (body, [[], {}, body], [[], {}, {"chain": body}], [[], {}, {"chord": body}]):
        try:
            read(with_body(embedded))
        except (DecodeError, InvalidTaskError):
            continue


@given(st.binary(max_size=60), st.integers(0, 900))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(noise: bytes, place: int) -> None:
    raw = json.dumps(GOOD).encode()
    for data in (noise, raw[:place] + noise + raw[place + len(noise) :]):
        try:
            read(data)
        except (DecodeError, InvalidTaskError):
            continue
