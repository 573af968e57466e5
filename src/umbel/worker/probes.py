"""The few words of HTTP that a probe needs, inside somebody else's ``poll``.

Everything is non-blocking: a request is read as it comes, up to 4 KiB, an answer is one write, and
a client that dawdles is let go after five seconds. No more than 32 are served at a time; the next
one replaces the oldest.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress

from umbel.model.clock import monotonic_s
from umbel.model.errors import ImproperlyConfigured

_LONGEST_REQUEST = 4096
_PATIENCE_S = 5.0
_MOST_CLIENTS = 32
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}

Answer = Callable[[str], tuple[int, bytes]]


class _Client:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.until_s = monotonic_s() + _PATIENCE_S
        self.read = b""


class Probes:
    """A listening socket and its clients."""

    def __init__(self, address: str, answer: Answer) -> None:
        """``[HOST:]PORT``; the host is this machine's loopback unless said otherwise."""
        self._answer = answer
        self._clients: dict[int, _Client] = {}
        self._poll: select.poll | None = None
        self._socket = _listening(address)

    @property
    def port(self) -> int:
        """Where it listens, for who asked for port 0."""
        return int(self._socket.getsockname()[1])

    def begin(self, poll: select.poll) -> None:
        """Be woken by this from now on."""
        self._poll = poll
        poll.register(self._socket, select.POLLIN)

    def is_readable(self, fd: int) -> bool:
        """Go on with what has news; False where it is not ours."""
        if fd == self._socket.fileno():
            self._accept()
            return True
        client = self._clients.get(fd)
        if client is None:
            return False
        self._go_on(client)
        return True

    def keep(self) -> float | None:
        """Let go of who dawdles; gives when to look again (monotonic seconds)."""
        now = monotonic_s()
        for client in [one for one in self._clients.values() if one.until_s <= now]:
            self._drop(client)
        return min((client.until_s for client in self._clients.values()), default=None)

    def close(self) -> None:
        """Listen no more."""
        for client in list(self._clients.values()):
            self._drop(client)
        if self._poll is not None:
            with suppress(KeyError, ValueError):
                self._poll.unregister(self._socket)
        self._socket.close()

    def close_in_fork(self) -> None:
        """In a child: the parent's sockets are the parent's."""
        for client in self._clients.values():
            client.sock.close()
        self._clients = {}
        self._socket.close()

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return
        sock.setblocking(False)
        if len(self._clients) >= _MOST_CLIENTS:
            self._drop(next(iter(self._clients.values())))
        client = _Client(sock)
        self._clients[client.fd] = client
        if self._poll is not None:
            self._poll.register(client.fd, select.POLLIN)

    def _go_on(self, client: _Client) -> None:
        try:
            data = client.sock.recv(_LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        client.read += data
        if b"\r\n\r\n" in client.read or len(client.read) >= _LONGEST_REQUEST:
            # What a socket's buffer does not take at once, nobody was going to read.
            with suppress(OSError):
                client.sock.send(self._response(client.read))
                client.sock.shutdown(socket.SHUT_WR)
            self._drop(client)
        elif not data:
            self._drop(client)

    def _response(self, request: bytes) -> bytes:
        words = request.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if b"\r\n\r\n" not in request or len(words) != 3 or not words[2].startswith("HTTP/"):
            status, text = 400, b'{"error": "wanted GET /live or GET /ready"}\n'
        elif words[0] not in ("GET", "HEAD"):
            status, text = 405, b'{"error": "wanted GET or HEAD"}\n'
        else:
            status, text = self._answer(words[1].partition("?")[0])
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
            "Content-Type: application/json\r\n"
            f"Content-Length: {len(text)}\r\n"
            "Cache-Control: no-store\r\n"
            "Connection: close\r\n\r\n"
        ).encode("ascii")
        return head if words[0] == "HEAD" else head + text

    def _drop(self, client: _Client) -> None:
        self._clients.pop(client.fd, None)
        if self._poll is not None:
            with suppress(KeyError):
                self._poll.unregister(client.fd)
        client.sock.close()


def host_and_port(address: str) -> tuple[str, int]:
    """The two halves of ``[HOST:]PORT``. Raises ``ImproperlyConfigured``."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ImproperlyConfigured(
            f"{address!r} is no address; wanted a port, or host:port, as in 8080 or 0.0.0.0:8080"
        )
    return host.strip("[]") or "127.0.0.1", int(port)


def _listening(address: str) -> socket.socket:
    host, port = host_and_port(address)
    try:
        sock = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=64
        )
    except OSError as error:
        raise ImproperlyConfigured(f"{host}:{port} can't be listened to: {error}") from error
    sock.setblocking(False)
    return sock
