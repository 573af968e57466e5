"""RESP, Redis's protocol, both ways: hiredis where it is installed, plain Python where it is not.

A *reader* is fed bytes and gives replies one by one, ``INCOMPLETE`` when there is none yet. An
error reply is given as an instance of ``ReplyError``, a push message (RESP3) as one of ``Push``.
``pack`` turns one command into bytes. The Python half gives what hiredis gives; a test holds them
side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol


class _Incomplete:
    def __repr__(self) -> str:
        return "INCOMPLETE"


INCOMPLETE: Final = _Incomplete()

Argument = bytes | str | int | float
Command = Sequence[Argument]


class Reader(Protocol):
    """Bytes in, replies out."""

    def feed(self, data: bytes, /) -> Any:
        """Take more bytes."""
        ...

    def gets(self) -> Any:
        """The next reply, or ``INCOMPLETE``."""
        ...


class PlainReplyError(Exception):
    """An error reply."""


class PlainPush(list[Any]):
    """A push message."""


class ProtocolError(Exception):
    """The other side does not speak RESP."""


class PlainReader:
    """The reader without hiredis. It parses a reply again from its start until all of it is there,
    so it suits small replies; large ones want hiredis.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._at = 0

    def feed(self, data: bytes, /) -> None:
        """Take more bytes."""
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def gets(self) -> Any:
        """The next reply, or ``INCOMPLETE``."""
        start = self._at
        try:
            return self._reply()
        except IndexError:
            self._at = start
            return INCOMPLETE

    def _line(self) -> bytes:
        end = self._buffer.find(b"\r\n", self._at)
        if end < 0:
            raise IndexError
        line = self._buffer[self._at : end]
        self._at = end + 2
        return line

    def _bulk(self, size: int) -> bytes:
        end = self._at + size
        if len(self._buffer) < end + 2:
            raise IndexError
        data = self._buffer[self._at : end]
        self._at = end + 2
        return data

    def _items(self, count: int) -> list[Any]:
        return [self._reply() for _ in range(count)]

    def _reply(self) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        parse = _PARSERS.get(kind)
        if parse is None:
            raise ProtocolError(f"protocol error: {line[:40]!r} is no RESP reply; is this Redis?")
        return parse(self, rest)

    def _sized(self, rest: bytes, make: Callable[[list[Any]], Any]) -> Any:
        count = int(rest)
        return None if count < 0 else make(self._items(count))


def _map(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _text(reader: PlainReader, rest: bytes) -> bytes:
    return reader._bulk(int(rest))[4:]  # behind "txt:"


_PARSERS: dict[bytes, Callable[[PlainReader, bytes], Any]] = {
    b"+": lambda reader, rest: rest,
    b"-": lambda reader, rest: PlainReplyError(rest.decode(errors="replace")),
    b"!": lambda reader, rest: PlainReplyError(reader._bulk(int(rest)).decode(errors="replace")),
    b":": lambda reader, rest: int(rest),
    b"(": lambda reader, rest: rest,
    b",": lambda reader, rest: float(rest),
    b"#": lambda reader, rest: rest == b"t",
    b"_": lambda reader, rest: None,
    b"$": lambda reader, rest: None if rest[:1] == b"-" else reader._bulk(int(rest)),
    b"=": _text,
    b"*": lambda reader, rest: reader._sized(rest, list),
    b"~": lambda reader, rest: reader._sized(rest, list),
    b"%": lambda reader, rest: _map(reader._items(2 * int(rest))),
    b">": lambda reader, rest: reader._sized(rest, PlainPush),
}


def plain_pack(command: Command) -> bytes:
    """One command as bytes."""
    out = [b"*%d\r\n" % len(command)]
    for argument in command:
        if isinstance(argument, bytes):
            data = argument
        elif isinstance(argument, str):
            data = argument.encode()
        else:
            data = repr(argument).encode()
        out.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(out)


def _plain_reader() -> Reader:
    return PlainReader()


try:
    import hiredis
except ImportError:  # pragma: no cover - the tests use the plain half by its own names
    pack: Callable[[Any], bytes] = plain_pack
    new_reader: Callable[[], Reader] = _plain_reader
    ReplyError: type[Exception] = PlainReplyError
    Push: type[list[Any]] = PlainPush
    TROUBLE: tuple[type[Exception], ...] = (OSError, ProtocolError)
else:

    def _fast_reader() -> Reader:
        reader: Reader = hiredis.Reader(notEnoughData=INCOMPLETE)
        return reader

    # A tuple is what hiredis wants.
    pack = hiredis.pack_command
    new_reader = _fast_reader
    ReplyError = hiredis.ReplyError
    Push = hiredis.PushNotification
    TROUBLE = (OSError, ProtocolError, hiredis.ProtocolError)
