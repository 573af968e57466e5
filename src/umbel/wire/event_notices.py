"""Events as they travel: an envelope whose body is one event, or a list of them.

The form is Celery's: fanned out on the exchange ``celeryev`` under the event's type with dots for
dashes (``worker.heartbeat``); the events of tasks in a worker come as lists under ``task.multi``.
Every event says who speaks (``hostname``, ``pid``, ``utcoffset``), when by his clock on the wall
and by his logical clock (``timestamp``, ``clock``), and its ``type``. Nothing is read from a clock
here.

``Pen`` writes the three events that every task has as text that only differs in its gaps: a third
of the time of dictionaries and the encoder (bench/events.py).
https://docs.celeryq.dev/en/stable/userguide/monitoring.html#event-reference
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

from umbel.model.ids import new_id
from umbel.model.message import Message
from umbel.wire import json_forms, serializers
from umbel.wire.envelope import Envelope, decode, encode
from umbel.wire.json_forms import quoted

EXCHANGE = "celeryev"
_TRANSIENT = 1


class Speaker(NamedTuple):
    """Who sends events."""

    hostname: str  # celery@host; of a client gen<pid>@<host>
    pid: int
    exchange: str = EXCHANGE
    serializer: str = "json"


def routing_key(kind: str) -> str:
    """Where an event of this type is said: ``task-sent`` under ``task.sent``."""
    return kind.replace("-", ".")


def group_key(group: str) -> str:
    """Where lists of the events of a group are said: ``task.multi``."""
    return f"{group}.multi"


def event(
    speaker: Speaker,
    kind: str,
    fields: Mapping[str, Any],
    *,
    clock: int,
    timestamp: float,
    utcoffset: float,
) -> dict[str, Any]:
    """One event, its keys in Celery's order."""
    return {
        "hostname": speaker.hostname,
        "utcoffset": utcoffset,
        "pid": speaker.pid,
        "clock": clock,
        **fields,
        "timestamp": timestamp,
        "type": kind,
    }


def envelope(speaker: Speaker, key: str, body: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """The bytes that carry an event, or a list of them. Raises ``EncodeError``."""
    content_type, content_encoding, data = serializers.dumps(body, speaker.serializer)
    properties = {
        "delivery_mode": _TRANSIENT,
        "delivery_info": {"exchange": speaker.exchange, "routing_key": key},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": new_id(),
    }
    headers = {"hostname": speaker.hostname}
    return encode(Envelope(headers, properties, data, content_type, content_encoding))


def read(raw: bytes, accept: Container[str]) -> list[dict[str, Any]]:
    """The events in an envelope, in order; what has no type is left out.

    Raises ``DecodeError``, and ``ContentDisallowed`` where ``accept`` lacks the content type.
    """
    opened = decode(raw)
    body = serializers.loads(opened.body, opened.content_type, opened.content_encoding, accept)
    found = body if isinstance(body, list) else [body]
    return [one for one in found if isinstance(one, dict) and isinstance(one.get("type"), str)]


def sent_fields(message: Message) -> dict[str, Any]:
    """The fields of ``task-sent``, from the message that was sent."""
    opened = decode(message.raw)
    headers = opened.headers
    delivery = opened.properties["delivery_info"]
    return {
        "uuid": message.id,
        "root_id": headers.get("root_id"),
        "parent_id": headers.get("parent_id"),
        "name": message.task,
        "args": headers.get("argsrepr"),
        "kwargs": headers.get("kwargsrepr"),
        "retries": headers.get("retries"),
        "eta": headers.get("eta"),
        "expires": headers.get("expires"),
        "queue": message.queue or delivery["routing_key"],
        "exchange": delivery["exchange"],
        "routing_key": delivery["routing_key"],
    }


class Pen:
    """Writes a worker's events of tasks as JSON text, and lists of them as envelopes.

    Times are written as whole numbers with an exponent (``1700000000123456789e-9``), which is the
    same number to JSON and a third of the work. Made anew when the offset from UTC changes.
    """

    __slots__ = ("_envelope_end", "_envelope_start", "_head", "_speaker")

    def __init__(self, speaker: Speaker, utcoffset: float) -> None:
        self._speaker = speaker
        self._head = (
            f'{{"hostname": {quoted(speaker.hostname)}, "utcoffset": {utcoffset!r}, '
            f'"pid": {speaker.pid}, "clock": '
        )
        key = group_key("task")
        empty = envelope(speaker._replace(serializer="json"), key, []).decode("ascii")
        start, _, rest = empty.partition(b2a_base64(b"[]", newline=False).decode("ascii"))
        end, _, tail = rest.rpartition('"delivery_tag": "')
        self._envelope_start = start
        self._envelope_end = f'{end}"delivery_tag": "', tail[len(new_id()) :]

    def received(self, clock: int, now_ns: int, facts: Sequence[Any]) -> str:
        """``task-received``; facts: uuid, name, args, kwargs, root_id, parent_id, retries, eta,
        expires; the first four are text."""
        return self._received(clock, f"{now_ns}e-9", quoted(facts[0]), facts)

    def begun(self, clock: int, now_ns: int, facts: Sequence[Any]) -> str:
        """``task-received`` and, with the next number, ``task-started``."""
        uuid = quoted(facts[0])
        at = f"{now_ns}e-9"
        return (
            f"{self._received(clock, at, uuid, facts)}, "
            f'{self._head}{clock + 1}, "uuid": {uuid}, '
            f'"timestamp": {at}, "type": "task-started"}}'
        )

    def _received(self, clock: int, at: str, uuid: str, facts: Sequence[Any]) -> str:
        id_, name, args, kwargs, root_id, parent_id, retries, eta, expires = facts
        return (
            f'{self._head}{clock}, "uuid": {uuid}, "name": {quoted(name)}, '
            f'"args": {quoted(args)}, "kwargs": {quoted(kwargs)}, '
            f'"root_id": {uuid if root_id == id_ else _text(root_id)}, '
            f'"parent_id": {"null" if parent_id is None else _text(parent_id)}, '
            f'"retries": {retries if type(retries) is int else _text(retries)}, '
            f'"eta": {"null" if eta is None else _text(eta)}, '
            f'"expires": {"null" if expires is None else _text(expires)}, '
            f'"timestamp": {at}, "type": "task-received"}}'
        )

    def succeeded(self, clock: int, now_ns: int, uuid: str, result: str, runtime_ns: int) -> str:
        """``task-succeeded``; the result is a preview."""
        return (
            f'{self._head}{clock}, "uuid": {quoted(uuid)}, "result": {quoted(result)}, '
            f'"runtime": {runtime_ns}e-9, "timestamp": {now_ns}e-9, '
            f'"type": "task-succeeded"}}'
        )

    def other(self, clock: int, now_ns: int, kind: str, fields: Mapping[str, Any]) -> str:
        """Any event."""
        return (
            f"{self._head}{clock}, {json_forms.raw_encode(fields)[1:-1]}, "
            f'"timestamp": {now_ns}e-9, "type": {quoted(kind)}}}'
        )

    def envelope(self, lines: Sequence[str]) -> bytes:
        """A list of what was written, to be said under ``task.multi``."""
        body = f"[{', '.join(lines)}]".encode("ascii")
        if self._speaker.serializer != "json":
            return envelope(self._speaker, group_key("task"), json_forms.loads(body))
        before, after = self._envelope_end
        text = b2a_base64(body, newline=False).decode("ascii")
        return f"{self._envelope_start}{text}{before}{new_id()}{after}".encode("ascii")


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return quoted(value) if type(value) is str else json_forms.raw_encode(value)
