"""Task messages, read: protocol 2 in headers and a triple, protocol 1 in an object.

What comes from the wire is checked here, once, so that nothing behind this room meets a header of
the wrong kind. Whatever is wrong ends in ``DecodeError`` (the bytes) or ``InvalidTaskError`` (what
they say), never in another exception. Writing is ``wire/composition``, whose names are handed on.

``read`` is the hot path of a worker. The Request takes the decoded headers over as its attributes,
so that a message costs one dictionary, not two.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime
from typing import Any

from umbel.model.clock import parse_iso8601
from umbel.model.errors import ContentDisallowed, DecodeError, InvalidTaskError
from umbel.model.message import Body
from umbel.model.request import Request
from umbel.wire import json_forms, steps
from umbel.wire.composition import Template, Terms, compose
from umbel.wire.compression import decompress
from umbel.wire.envelope import Envelope, decode, decode_around
from umbel.wire.serializers import AS_THEY_ARE, JSON, loads
from umbel.wire.steps import Steps

__all__ = ["Template", "Terms", "compose", "payload_of", "read", "request_of"]

_HEADERS = frozenset(
    {"lang", "task", "id", "shadow", "eta", "expires", "group", "group_index", "retries"}
    | {"timelimit", "root_id", "parent_id", "argsrepr", "kwargsrepr", "origin", "ignore_result"}
    | {"replaced_task_nesting", "stamped_headers", "stamps", "compression", "redelivered"}
)
# A sender's own header of such a name must not replace a method or a part of the body.
_RESERVED = frozenset(dir(Request)) - _HEADERS
_NO_LIMITS = [None, None]
# Longer ones, and NaN, fit into no clock.
_LONGEST_LIMIT_S = 1e9
# Bodies up to so many bytes are read as a whole: there is little to be saved.
_SHORT = 700
_CHAIN = b'"chain": [{'
_EMBEDDED = ("callbacks", "errbacks", "chain", "chord")
# What an object body (protocol 1) may say that is a header in protocol 2.
_BODY_HEADERS = ("task", "id", "group", "group_index", "retries", "eta", "expires", "timelimit")


def read(
    raw: bytes, accept: Container[str], known: Body | None = None
) -> tuple[Request, list[Any], dict[str, Any]]:
    """A message as a request, its arguments and its keyword arguments; the body is decoded.

    ``known`` is what this process, which has sent it, knows of its body: of a chain of 100 steps
    that saves a fifth of a step's time. Raises ``DecodeError`` and ``InvalidTaskError``.
    """
    json_forms.read_with_msgspec()
    body: Any
    if known is not None and JSON in accept:
        envelope = decode_around(raw, known.length)
        body = (
            json_forms.loads(known.args),
            json_forms.loads(known.kwargs),
            {"chain": known.chain},
        )
    else:
        envelope = decode(raw)
        body = _chained(envelope, accept) if len(envelope.body) > _SHORT else None
        if body is None:
            body = _body_of(envelope, accept)
    fields = envelope.headers
    if type(body) is dict:
        body, fields = _from_object(body, fields)
    args, kwargs, embed = _triple(body)
    request = _request(fields, envelope.properties)
    fields["args"] = args
    fields["kwargs"] = kwargs
    if embed:
        for name in _EMBEDDED:
            found = embed.get(name)
            if found is not None:
                fields[name] = found if type(found) is Steps else _signatures(name, found)
    if fields.get("eta") is not None:
        _check_date("eta", fields)
    if fields.get("expires") is not None:
        _check_date("expires", fields)
    return request, args, kwargs


def _chained(envelope: Envelope, accept: Container[str]) -> Any:
    """A body whose chain is kept as bytes; None where it has none, or is to be read as a whole."""
    body = envelope.body
    if (
        _CHAIN not in body
        or envelope.content_type != JSON
        or envelope.content_encoding not in AS_THEY_ARE
        or JSON not in accept
        or envelope.headers.get("compression") is not None
    ):
        return None
    return steps.read_body(body)


def request_of(envelope: Envelope) -> Request:
    """The request of a message whose body is left alone. Raises ``InvalidTaskError``."""
    return _request(dict(envelope.headers), envelope.properties)


def payload_of(
    envelope: Envelope, accept: Container[str]
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """The triple of a message: args, kwargs, and what is embedded; null is empty.

    Raises ``DecodeError`` and ``InvalidTaskError``.
    """
    body = _body_of(envelope, accept)
    if type(body) is dict:
        body, _ = _from_object(body, {})
    args, kwargs, embed = _triple(body)
    return args, kwargs, embed or {}


def _body_of(envelope: Envelope, accept: Container[str]) -> Any:
    data = envelope.body
    compression = envelope.headers.get("compression")
    try:
        if compression is not None:
            data = decompress(data, compression)
        return loads(data, envelope.content_type, envelope.content_encoding, accept)
    except DecodeError as error:
        raise DecodeError(f"the body can't be decoded: {error}") from error
    except ContentDisallowed as error:
        raise InvalidTaskError(str(error)) from error


def _triple(body: Any) -> tuple[list[Any], dict[str, Any], dict[str, Any] | None]:
    if type(body) not in (list, tuple) or len(body) != 3:
        raise InvalidTaskError(
            f"the body must be [args, kwargs, embed]; found {type(body).__name__}"
            + (f" of {len(body)}" if isinstance(body, list | tuple) else "")
        )
    args, kwargs, embed = body
    if type(args) is not list:
        if args is not None and type(args) is not tuple:
            raise InvalidTaskError(f"args must be a list; found {type(args).__name__}")
        args = list(args or ())
    if type(kwargs) is not dict:
        if kwargs is not None:
            raise InvalidTaskError(f"kwargs must be an object; found {type(kwargs).__name__}")
        kwargs = {}
    if embed is not None and type(embed) is not dict:
        raise InvalidTaskError(
            f"the third part of the body must be an object; found {type(embed).__name__}"
        )
    return args, kwargs, embed


def _from_object(
    body: dict[str, Any], headers: dict[str, Any]
) -> tuple[tuple[Any, Any, Any], dict[str, Any]]:
    """Protocol 1 as if it were 2. With headers as well, they come first."""
    fields = {name: body[name] for name in _BODY_HEADERS if name in body}
    for name in ("taskset", "utc"):
        if body.get(name) is not None:
            fields[name] = body[name]
    fields.update(headers)
    embed = {name: body.get(name) for name in _EMBEDDED}
    return (body.get("args"), body.get("kwargs"), embed), fields


def _request(fields: dict[str, Any], properties: dict[str, Any]) -> Request:
    """A request whose attributes are ``fields``, checked and completed."""
    if type(fields.get("task")) is not str or type(fields.get("id")) is not str:
        raise InvalidTaskError(_unnamed(fields))
    own_headers = None
    if not _HEADERS.issuperset(fields):
        own_headers = _own_headers(fields)
    if fields.get("timelimit", _NO_LIMITS) != _NO_LIMITS:
        _check_limits(fields)
    if fields.get("retries", 0) != 0:
        _check_count("retries", fields)
    if fields.get("replaced_task_nesting", 0) != 0:
        _check_count("replaced_task_nesting", fields)
    if fields.get("group") is not None:
        _check_group(fields)
    if fields.get("stamps") or fields.get("stamped_headers"):
        _check_stamps(fields)
    where = properties["delivery_info"]
    fields["headers"] = own_headers
    fields["properties"] = properties
    fields["reply_to"] = properties.get("reply_to")
    fields["correlation_id"] = properties.get("correlation_id")
    fields["delivery_info"] = {
        "exchange": where["exchange"],
        "routing_key": where["routing_key"],
        "priority": properties.get("priority"),
        "redelivered": where.get("redelivered") or False,
    }
    fields["called_directly"] = False
    request = Request.__new__(Request)
    request.__dict__ = fields
    return request


def _unnamed(fields: dict[str, Any]) -> str:
    for name in ("task", "id"):
        if name not in fields:
            return f"the message has no header {name!r}"
        if type(fields[name]) is not str:
            return f"header {name!r} must be text; found {type(fields[name]).__name__}"
    raise AssertionError("_unnamed was asked about a message with a name")


def _own_headers(fields: dict[str, Any]) -> dict[str, Any] | None:
    own = {name: value for name, value in fields.items() if name not in _HEADERS}
    # Those two were read from the body of protocol 1.
    own.pop("taskset", None)
    own.pop("utc", None)
    for name in own:
        if name in _RESERVED:
            del fields[name]
    return own or None


def _check_limits(fields: dict[str, Any]) -> None:
    limits = fields["timelimit"]
    if limits is None:
        return
    if (
        type(limits) not in (list, tuple)
        or len(limits) != 2
        or not all(
            limit is None or (type(limit) in (int, float) and 0 <= limit <= _LONGEST_LIMIT_S)
            for limit in limits
        )
    ):
        raise InvalidTaskError(f"timelimit must be [hard, soft] in seconds; found {limits!r:.60}")


def _check_count(name: str, fields: dict[str, Any]) -> None:
    if fields[name] is None:
        fields[name] = 0
    elif type(fields[name]) is not int or fields[name] < 0:
        raise InvalidTaskError(f"{name} must be a count; found {fields[name]!r:.60}")


def _check_group(fields: dict[str, Any]) -> None:
    if type(fields["group"]) is not str:
        raise InvalidTaskError(f"group must be text; found {type(fields['group']).__name__}")
    place = fields.get("group_index")
    if place is not None and type(place) not in (int, float):
        raise InvalidTaskError(f"group_index must be a number; found {type(place).__name__}")


def _check_stamps(fields: dict[str, Any]) -> None:
    stamps, names = fields.get("stamps"), fields.get("stamped_headers")
    if stamps is not None and type(stamps) is not dict:
        raise InvalidTaskError(f"stamps must be an object; found {type(stamps).__name__}")
    if names is not None and type(names) not in (list, tuple):
        raise InvalidTaskError(f"stamped_headers must be a list; found {type(names).__name__}")


def _check_date(name: str, fields: dict[str, Any]) -> None:
    written = fields[name]
    if not written:  # Celery takes "" and 0 for no date
        fields[name] = None
    elif not isinstance(written, datetime):  # pickle can carry one as it is
        try:
            parse_iso8601(written)
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidTaskError(
                f"{name} must be an ISO 8601 date; found {written!r:.60}"
            ) from error


def _signatures(name: str, found: Any) -> Any:
    """Embedded signatures, checked to be such; a single one where a list is usual is fine.

    Pickle brings the objects of the sender's library: they become the dictionaries that they are.
    """
    if type(found) is not dict and isinstance(found, dict):
        found = _plain(found)
    if name == "chord":
        if type(found) is dict and type(found.get("task")) is str:
            return found
    else:
        if type(found) is dict:
            found = [found]
        if type(found) in (list, tuple) and all(
            isinstance(one, dict) and type(one.get("task")) is str for one in found
        ):
            return [one if type(one) is dict else _plain(one) for one in found]
    raise InvalidTaskError(f"{name} in the body must hold signatures; found {found!r:.60}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
