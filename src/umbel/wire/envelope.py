"""Kombu's envelope on a broker that keeps plain bytes: headers, properties and a body, as JSON.

``decode`` and ``encode`` are inverse, byte for byte, for what Celery writes. ``decode`` checks what
every reader relies on, because a message without a content type, a tag or a routing key ends
Celery's workers or is lost between them: it raises ``DecodeError`` that names what is wrong, and
nothing else.
"""

from binascii import a2b_base64, b2a_base64
from typing import Any, NamedTuple

from umbel.model.errors import DecodeError
from umbel.wire import json_forms


class Envelope(NamedTuple):
    """One message as it travels, opened but not read."""

    headers: dict[str, Any]
    properties: dict[str, Any]
    body: bytes  # after base64; still serialized, perhaps compressed
    content_type: str
    content_encoding: str


def encode(envelope: Envelope) -> bytes:
    """The bytes that are stored. Raises ``EncodeError`` where a header can't be written."""
    body = envelope.body
    if envelope.properties.get("body_encoding") == "base64":
        text = b2a_base64(body, newline=False).decode("ascii")
    else:
        text = body.decode(envelope.content_encoding or "utf-8")
    return json_forms.dumps(
        {
            "body": text,
            "content-encoding": envelope.content_encoding,
            "content-type": envelope.content_type,
            "headers": envelope.headers,
            "properties": envelope.properties,
        }
    ).encode("ascii")


_BEFORE_BODY = len('{"body": "')


def decode_around(raw: bytes, length: int) -> Envelope:
    """An envelope of our own, without its body, whose text has this length."""
    return decode(raw[:_BEFORE_BODY] + raw[_BEFORE_BODY + length :])


def decode(raw: bytes) -> Envelope:
    """What the bytes hold. Raises ``DecodeError``."""
    try:
        fields = json_forms.loads(raw)
    except DecodeError as error:
        raise DecodeError(f"no envelope: {error}") from error
    # One try instead of a question per field: 0.3 us of the worker's path.
    try:
        headers = fields["headers"]
        properties = fields["properties"]
        tag = properties["delivery_tag"]
        where = properties["delivery_info"]
        _ = where["exchange"], where["routing_key"]
        content_type = fields["content-type"]
        body = fields["body"]
    except (KeyError, TypeError, IndexError):
        raise DecodeError(_complaint(fields)) from None
    if (
        type(headers) is not dict
        or type(properties) is not dict
        or type(where) is not dict
        or type(tag) is not str
        or type(content_type) is not str
        or type(body) is not str
    ):
        raise DecodeError(_complaint(fields))
    if properties.get("body_encoding") == "base64":
        data = _from_base64(body)
    else:
        data = _from_text(body)
    content_encoding = fields.get("content-encoding")
    if type(content_encoding) is not str:
        content_encoding = ""
    return Envelope(headers, properties, data, content_type, content_encoding)


def _from_base64(body: str) -> bytes:
    try:
        return a2b_base64(body, strict_mode=True)
    except ValueError:
        pass
    try:  # some writers break lines
        return a2b_base64("".join(body.split()), strict_mode=True)
    except ValueError as error:
        raise DecodeError(f"the body is not base64, as body_encoding says: {error}") from None


def _from_text(body: str) -> bytes:
    try:
        return body.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DecodeError(f"the body is not text: {error}") from None


def _complaint(fields: Any) -> str:
    """What is wrong with an envelope; it is known that something is."""
    if type(fields) is not dict:
        return f"no envelope: wanted an object, found {_kind(fields)}"
    for name, wanted in (
        ("headers", dict),
        ("properties", dict),
        ("content-type", str),
        ("body", str),
    ):
        if type(fields.get(name)) is not wanted:
            return _missing(name, wanted, fields)
    properties = fields["properties"]
    for name, wanted in (("delivery_tag", str), ("delivery_info", dict)):
        if type(properties.get(name)) is not wanted:
            return _missing(f"properties.{name}", wanted, properties)
    for name in ("exchange", "routing_key"):
        if name not in properties["delivery_info"]:
            return f"the envelope has no properties.delivery_info.{name}"
    raise AssertionError("_complaint was asked about a sound envelope")


def _missing(path: str, wanted: type, holder: dict[str, Any]) -> str:
    name = path.rpartition(".")[2]
    if name not in holder:
        return f"the envelope has no {path}"
    expected = "an object" if wanted is dict else "text"
    return f"{path} of the envelope is {_kind(holder[name])}; wanted {expected}"


def _kind(value: Any) -> str:
    kinds = {
        "NoneType": "null",
        "dict": "an object",
        "list": "a list",
        "str": "text",
        "bool": "a truth value",
    }
    return kinds.get(type(value).__name__, "a number")
