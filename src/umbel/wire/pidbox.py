"""Remote control on the wire: commands to workers and their answers, as kombu's pidbox writes them.

A command is a notice on a fanout exchange (``celery.pidbox``), heard by every worker; who is not
addressed does not answer. An answer goes into the box that the command names, on the exchange
``reply.celery.pidbox``, and holds ``{node: answer}``. Both are envelopes of kombu's, with the
sender's Lamport clock among the headers.

Commands are decoded by a worker's supervisor, which runs nobody's code: of pickles only plain
values are read here, also where the app trusts pickle.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any, NamedTuple, NoReturn

from umbel.model.errors import DecodeError, EncodeError
from umbel.model.ids import new_id
from umbel.wire import envelope, serializers
from umbel.wire.envelope import Envelope

MATCHERS = ("glob", "pcre")


class Command(NamedTuple):
    """What workers are asked to do."""

    method: str
    arguments: dict[str, Any]
    destination: list[str] | None = None  # nodes; None: all, or those that fit ``pattern``
    pattern: str | None = None
    matcher: str | None = None  # glob, pcre
    ticket: str | None = None
    # Where an answer is wanted: exchange and routing key of the caller's box.
    reply_exchange: str = ""
    reply_box: str = ""
    clock: int = 0

    @property
    def wants_reply(self) -> bool:
        """Whether anybody waits for the answer."""
        return bool(self.reply_box)


class Answer(NamedTuple):
    """What one worker has answered; ``answers`` has one entry, its node."""

    ticket: str | None
    clock: int
    answers: dict[str, Any]


def exchange_name(namespace: str = "celery") -> str:
    """Where commands are said; ``namespace`` is the setting ``control_exchange``."""
    return f"{namespace}.pidbox"


def reply_exchange_name(namespace: str = "celery") -> str:
    """Where boxes for answers are."""
    return f"reply.{namespace}.pidbox"


def encode_command(
    command: Command, exchange: str, *, expires: float = 0, serializer: str = "json"
) -> bytes:
    """A command as it is published. ``expires``: unix seconds, 0 for never."""
    body: dict[str, Any] = {
        "method": command.method,
        "arguments": command.arguments,
        "destination": command.destination,
        "pattern": command.pattern,
        "matcher": command.matcher,
    }
    if command.wants_reply:
        body["ticket"] = command.ticket
        body["reply_to"] = {
            "exchange": command.reply_exchange,
            "routing_key": command.reply_box,
        }
    headers = {"clock": command.clock, "expires": expires}
    return _sealed(body, headers, exchange, "", serializer, delivery_mode=2)


def decode_command(raw: bytes, accept: Container[str]) -> Command:
    """The command of an envelope. Raises ``DecodeError`` or ``ContentDisallowed``."""
    opened = envelope.decode(raw)
    body = _body(opened, accept)
    method, arguments = body.get("method"), body.get("arguments")
    reply_to = body.get("reply_to") or {}
    destination = body.get("destination")
    if not isinstance(method, str) or not isinstance(arguments or {}, dict):
        raise DecodeError("no command: it has no method, or its arguments are no object")
    if not isinstance(reply_to, dict):
        raise DecodeError(f"command {method}: reply_to is no object")
    if isinstance(destination, str):
        destination = [destination]
    return Command(
        method,
        arguments or {},
        [str(node) for node in destination] if isinstance(destination, list | tuple) else None,
        _text(body.get("pattern")),
        _text(body.get("matcher")),
        _text(body.get("ticket")),
        _text(reply_to.get("exchange")) or "",
        _text(reply_to.get("routing_key")) or "",
        _clock(opened),
    )


def is_for(command: Command, node: str) -> bool:
    """Whether a node is addressed. Raises ``ValueError`` where the pattern can't be read."""
    if command.destination:
        return node in command.destination
    if not command.pattern or not command.matcher:
        return True
    if command.matcher == "glob":
        # Not at the top: whoever imports umbel imports this room.
        from fnmatch import fnmatchcase

        return fnmatchcase(node, command.pattern)
    if command.matcher == "pcre":
        try:
            return re.match(command.pattern, node) is not None
        except re.error as error:
            raise ValueError(f"{command.pattern!r} is no regular expression: {error}") from None
    raise ValueError(f"matcher {command.matcher!r} is unknown; there are {', '.join(MATCHERS)}")


def encode_answer(
    node: str, answer: Any, command: Command, *, clock: int = 0, serializer: str = "json"
) -> bytes:
    """An answer as it is put into the box of who asked.

    What can't be encoded (an argument of a task, what a user's command gave) is shown as its repr.
    """
    headers = {"ticket": command.ticket, "clock": clock}
    where = command.reply_exchange, command.reply_box
    try:
        return _sealed({node: answer}, headers, *where, serializer, delivery_mode=1)
    except EncodeError:
        return _sealed({node: plain(answer)}, headers, *where, serializer, delivery_mode=1)


def decode_answer(raw: bytes, accept: Container[str]) -> Answer:
    """What a worker has answered. Raises ``DecodeError`` or ``ContentDisallowed``."""
    opened = envelope.decode(raw)
    return Answer(_text(opened.headers.get("ticket")), _clock(opened), _body(opened, accept))


def _sealed(
    body: Any,
    headers: dict[str, Any],
    exchange: str,
    routing_key: str,
    serializer: str,
    *,
    delivery_mode: int,
) -> bytes:
    encoded = serializers.dumps(body, serializer)
    properties = {
        "delivery_mode": delivery_mode,
        "delivery_info": {"exchange": exchange, "routing_key": routing_key},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": new_id(),
    }
    return envelope.encode(
        Envelope(headers, properties, encoded.data, encoded.content_type, encoded.content_encoding)
    )


def _body(opened: Envelope, accept: Container[str]) -> dict[str, Any]:
    if opened.content_type == serializers.PICKLE and serializers.PICKLE in accept:
        body = _plain_unpickled(opened.body)
    else:
        body = serializers.loads(opened.body, opened.content_type, opened.content_encoding, accept)
    if not isinstance(body, dict):
        raise DecodeError(f"wanted an object, found a {type(body).__name__}")
    return body


def _plain_unpickled(data: bytes) -> Any:
    # Not at the top: hardly anybody sends pickles.
    import io
    import pickle

    class Plain(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> NoReturn:
            raise DecodeError(f"a command may hold plain values only, not a {module}.{name}")

    try:
        return Plain(io.BytesIO(data)).load()
    except DecodeError:
        raise
    except Exception as error:  # pickle raises whatever the bytes make it raise
        raise DecodeError(f"not usable as a pickle: {error}") from error


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _clock(opened: Envelope) -> int:
    clock = opened.headers.get("clock")
    return clock if type(clock) is int and clock > 0 else 0


def plain(value: Any) -> Any:
    """A value in kinds that every serializer knows; anything else as its repr."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return repr(value)
