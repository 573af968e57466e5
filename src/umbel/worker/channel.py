"""The line between the supervisor and its nursery: small JSON objects, some with open files.

A socket pair; each object follows its length (4 bytes), and files (SCM_RIGHTS) travel with the
length. The nursery reads and waits; the supervisor never waits for the nursery, whose user code may
hang: it reads what is there, and what does not fit into the socket at once is refused.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any

_LENGTH = struct.Struct("=I")
_MOST_FILES = 4


class ChannelClosed(Exception):
    """The other side is gone."""


class Channel:
    """One end of the line."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._buffer = bytearray()

    def fileno(self) -> int:
        """For ``poll``."""
        return self._end.fileno()

    def close(self) -> None:
        """Hang up. Closing twice is legal."""
        self._end.close()

    def set_waiting(self, *, is_waiting: bool) -> None:
        """Whether sending and ``receive`` may wait for the other side."""
        self._end.setblocking(is_waiting)

    def send(self, content: dict[str, Any], files: Sequence[int] = ()) -> bool:
        """Send one object; False where the other side has not read enough to make room for it."""
        body = json.dumps(content).encode()
        frame = _LENGTH.pack(len(body)) + body
        try:
            sent = socket.send_fds(self._end, [frame], files) if files else self._end.send(frame)
            if sent < len(frame):
                self._finish(frame[sent:])
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChannelClosed from error
        return True

    def _finish(self, rest: bytes) -> None:
        # A frame that was begun must be finished, also by a side that does not wait otherwise.
        waits = self._end.getblocking()
        self._end.setblocking(True)
        self._end.sendall(rest)
        self._end.setblocking(waits)

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """Wait for the next object and its files."""
        files: list[int] = []
        head = b""
        while len(head) < _LENGTH.size:
            piece, found, _, _ = socket.recv_fds(self._end, _LENGTH.size - len(head), _MOST_FILES)
            if not piece:
                raise ChannelClosed
            head += piece
            files += found
        size = _LENGTH.unpack(head)[0]
        body = bytearray()
        while len(body) < size:
            piece = self._end.recv(size - len(body))
            if not piece:
                raise ChannelClosed
            body += piece
        for fd in files:
            os.set_inheritable(fd, False)
        return json.loads(body), files

    def arrived(self) -> Iterator[dict[str, Any]]:
        """What has arrived in full, without waiting. Raises ``ChannelClosed`` at the end."""
        is_closed = False
        while True:
            try:
                piece = self._end.recv(65536)
            except BlockingIOError:
                break
            except ConnectionResetError:
                piece = b""
            if not piece:
                is_closed = True
                break
            self._buffer += piece
        while len(self._buffer) >= _LENGTH.size:
            size = _LENGTH.unpack_from(self._buffer)[0]
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                break
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield json.loads(body)
        if is_closed:
            raise ChannelClosed


def pair() -> tuple[Channel, Channel]:
    """Both ends of a new line."""
    here, there = socket.socketpair()
    return Channel(here), Channel(there)
