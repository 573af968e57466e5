"""One connection to one Redis server: a socket of our own, because a general client costs three
times the processor time (``docs/performance.md``).

Theory of operation. A call is *commands out in one write, replies in*. Trouble before the reply is
complete leaves it unknown whether the server carried the commands out, so everything that is sent
through ``call`` must be harmless when it is sent again: the scripts are numbered, or idempotent by
nature. ``call`` reconnects with back-off and jitter for a bounded time and sends again, and then
raises ``OperationalError`` (its subclass ``PublishOutcomeUnknown`` where the caller asks for the
difference and something had been sent).

A forked child that uses an inherited connection opens its own; the parent's socket is kept and
never touched. One thread at a time.
"""

from __future__ import annotations

import logging
import os
import random
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from umbel.engines.redis import resp
from umbel.engines.redis.commands import Script
from umbel.engines.redis.urls import Address, Endpoint
from umbel.model.clock import monotonic_s
from umbel.model.errors import (
    ImproperlyConfigured,
    NotBuiltYet,
    OperationalError,
    PublishOutcomeUnknown,
)

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 1.0
# A server that was never reached and refuses outright is not going to appear in a moment.
REFUSED_PATIENCE_S = 1.0
OLDEST = (6, 2)
_CHUNK = 1 << 16
# The server is there, and will answer later, or another one will.
_PASSING = ("LOADING", "READONLY", "MASTERDOWN", "BUSY", "TRYAGAIN", "NOREPLICAS")

# Sockets of a parent process: held, so that no destructor closes them here.
_inherited: list[socket.socket] = []


class ConnectionBroken(OSError):
    """The connection ended, or does not answer."""


class Connection:
    """Commands to one server, by one thread."""

    def __init__(
        self, address: Address, *, patience_s: float | None = None, is_second: bool = False
    ) -> None:
        self.address = address
        # Beside another one of the same process, which tells of what happens to both.
        self._is_second = is_second
        # How long a call tries to reach a server that was there before.
        self._patience_s = address.connect_timeout_s if patience_s is None else patience_s
        # Sent after each connect, behind HELLO and SELECT. SUBSCRIBE is answered by a push.
        self.greeting: list[resp.Command] = []
        self.generation = 0  # grows with each connect: what the server knew of us is gone
        self.server_version: tuple[int, ...] = ()
        # Pushes that came while only a reply was wanted. Who counts on pushes looks at it.
        self.passed_over = 0
        self._owed = 0  # replies to what was begun
        self._socket: socket.socket | None = None
        self._reader: resp.Reader = resp.new_reader()
        self._pid = os.getpid()
        self._next_endpoint = 0
        self._lost_at_s: float | None = None
        self._lost_why = ""

    # - Calls

    def call(
        self,
        payload: bytes,
        replies: int = 1,
        *,
        again: Callable[[], bytes] | None = None,
        is_publish: bool = False,
    ) -> list[Any]:
        """Send, and give that many replies; on a broken connection send again (``again()`` then).

        Error replies are among the replies, except for those that pass by themselves.
        """
        sent = False
        pause_s = 0.0
        give_up_at_s: float | None = None
        while True:
            try:
                self._ensure()
                sent = True
                found = self._exchange(payload, replies)
                passing = next((one for one in found if _passes(one)), None)
                if passing is None:
                    return found
                # A refusal: nothing was carried out.
                sent = False
                why: Exception = passing
                if not str(passing).startswith(("LOADING", "BUSY")):
                    # It is another server's turn.
                    self._drop()
            except resp.TROUBLE as error:
                self._broke(error)
                why = error
            if again is not None:
                payload, again = again(), None
            now_s = monotonic_s()
            if give_up_at_s is None:
                give_up_at_s = now_s + self._patience_with(why)
            if now_s + pause_s >= give_up_at_s:
                raise self._failure(why, sent and is_publish) from why
            if pause_s:
                select.select([], [], [], pause_s * random.uniform(0.5, 1.0))
            pause_s = min(max(pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)

    def command(self, *command: resp.Argument) -> Any:
        """One command; raises ``OperationalError`` where the server refuses it."""
        return self.checked(self.call(resp.pack(command))[0])

    def commands(self, *commands: resp.Command) -> list[Any]:
        """Several in one write."""
        payload = b"".join([resp.pack(tuple(command)) for command in commands])
        return [self.checked(reply) for reply in self.call(payload, len(commands))]

    def script(
        self,
        script: Script,
        keys: Sequence[bytes] = (),
        arguments: Sequence[resp.Argument] = (),
        *,
        again: Callable[[], Sequence[resp.Argument]] | None = None,
        is_publish: bool = False,
    ) -> Any:
        """Run a script; ``again`` gives the arguments for a second sending, where they differ."""

        def run(*start: resp.Argument) -> Any:
            def packed(last: Sequence[resp.Argument]) -> bytes:
                return resp.pack((*start, len(keys), *keys, *last))

            later = None if again is None else lambda: packed(again())
            return self.call(packed(arguments), again=later, is_publish=is_publish)[0]

        reply = run(b"EVALSHA", script.sha)
        if isinstance(reply, resp.ReplyError) and str(reply).startswith("NOSCRIPT"):
            # A server that has not seen it yet, or was restarted. Nothing was carried out.
            reply = run(b"EVAL", script.source)
        return self.checked(reply)

    def checked(self, reply: Any) -> Any:
        """The reply, or the error that it is, as one of ours."""
        if isinstance(reply, resp.ReplyError):
            raise OperationalError(f"{self.address.url} refused: {reply}") from reply
        return reply

    def listen(self, timeout_s: float | None, wake_fd: int | None = None) -> list[Any]:
        """Push messages, waiting for the first; empty when the time is up or ``wake_fd`` readable.

        Raises ``ConnectionBroken``, without trying again: what the server was to push is lost, and
        only the caller knows how to make that good.
        """
        return listen([self], timeout_s, wake_fd)

    def send(self, payload: bytes) -> None:
        """Write without waiting for a reply. Raises ``ConnectionBroken``."""
        try:
            self._ensure()
            assert self._socket is not None
            self._socket.sendall(payload)
        except OSError as error:
            self._broke(error)
            raise ConnectionBroken(str(error)) from error

    def begin(self, payload: bytes) -> None:
        """Send one command; ``finish`` gives its reply, and nothing else is asked before.

        Trouble is left to ``finish``.
        """
        try:
            self._ensure()
            assert self._socket is not None
            self._socket.sendall(payload)
            self._owed = 1
        except resp.TROUBLE as error:
            self._broke(error)

    def finish(self) -> Any:
        """The reply to what was begun. Raises ``ConnectionBroken`` where there is none to come."""
        owed, self._owed = self._owed, 0
        if not (owed and self.is_open()):
            raise ConnectionBroken("it was lost on the way")
        try:
            (reply,) = self._replies(1)
        except resp.TROUBLE as error:
            self._broke(error)
            raise ConnectionBroken(str(error) or type(error).__name__) from error
        if isinstance(reply, resp.ReplyError):
            raise ConnectionBroken(str(reply))
        return reply

    def exchange(self, payload: bytes, replies: int) -> tuple[list[Any], list[Any]]:
        """Send and read once, without trying again: the replies, and the pushes between them."""
        try:
            self._ensure()
            pushes: list[Any] = []
            return self._exchange(payload, replies, pushes), pushes
        except resp.TROUBLE as error:
            self._broke(error)
            raise ConnectionBroken(str(error)) from error

    def once(self, payload: bytes, replies: int) -> list[Any]:
        """Connect with patience where need be; send once. Raises ``ConnectionBroken``."""
        if not self.is_open():
            self.command("PING")
        try:
            return self._exchange(payload, replies)
        except resp.TROUBLE as error:
            self._broke(error)
            raise ConnectionBroken(str(error) or type(error).__name__) from error

    def be_fresh(self) -> None:
        """Let go of a connection that the server has closed while nobody looked."""
        sock = self._socket
        if sock is None or self._pid != os.getpid():
            return
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        if poller.poll(0):
            with suppress(ConnectionBroken):
                self.receive_now()

    def fileno(self) -> int:
        """The socket, to poll on; -1 where there is none."""
        return self._socket.fileno() if self._socket is not None else -1

    def is_open(self) -> bool:
        """Whether there is a socket of this process."""
        return self._socket is not None and self._pid == os.getpid()

    def close(self) -> None:
        """End it. The next call opens a new one."""
        self._drop()

    def __del__(self) -> None:
        # Threads end without closing what they had opened. At exit half of everything is gone.
        with suppress(Exception):
            self._drop()

    # - The socket

    def _ensure(self) -> None:
        if self._socket is not None:
            if self._pid == os.getpid():
                return
            _inherited.append(self._socket)
            self._socket = None
        self._pid = os.getpid()
        self._connect()

    def _connect(self) -> None:
        address = self.address
        endpoint = self._endpoint()
        sock = _open_socket(address, endpoint)
        self._reader = resp.new_reader()
        self._socket = sock
        hello: list[resp.Argument] = ["HELLO", 3]
        if endpoint.password is not None:
            hello += ["AUTH", endpoint.username or "default", endpoint.password]
        if address.client_name:
            hello += ["SETNAME", address.client_name]
        commands: list[resp.Command] = [hello]
        if endpoint.db:
            commands.append(("SELECT", endpoint.db))
        commands += self.greeting
        try:
            replies = self._exchange(
                b"".join([resp.pack(tuple(command)) for command in commands]),
                sum(command[0] != "SUBSCRIBE" for command in commands),
            )
            self._greeted(replies)
        except BaseException:
            self._drop()
            raise
        sock.settimeout(address.reply_timeout_s)
        self.generation += 1
        if self._lost_at_s is not None and not self._is_second:
            logger.warning(
                "The connection to %s was lost (%s) and is back after %.1f s.",
                address.url,
                self._lost_why,
                monotonic_s() - self._lost_at_s,
                extra={"event": "redis-back"},
            )
        self._lost_at_s = None

    def _greeted(self, replies: list[Any]) -> None:
        for reply in replies:
            if not isinstance(reply, resp.ReplyError):
                continue
            if _passes(reply):
                raise ConnectionBroken(str(reply))
            if "unknown command" in str(reply).lower() or "NOPROTO" in str(reply):
                raise ImproperlyConfigured(f"{self.address.url} is older than Redis 6.2")
            raise OperationalError(f"{self.address.url} refused: {reply}")
        facts = replies[0]
        if facts.get(b"mode") == b"cluster":
            raise NotBuiltYet(
                f"{self.address.url} is a Redis Cluster, which is not built; "
                "use one server, with Sentinel where it must survive"
            )
        if self.address.master_name and facts.get(b"role") not in (None, b"master"):
            raise ConnectionBroken("the Sentinels named a server that is no master (any more)")
        self.server_version = tuple(
            int(part) for part in facts[b"version"].decode().split(".")[:3] if part.isdecimal()
        )
        if self.server_version < OLDEST:
            raise ImproperlyConfigured(
                f"{self.address.url} is Redis {facts[b'version'].decode()}; wanted 6.2 or newer"
            )

    def _endpoint(self) -> Endpoint:
        endpoints = self.address.endpoints
        if self.address.master_name:
            # Not at the top: the general client takes 400 ms to import.
            from umbel.engines.redis.sentinel import master_of

            return master_of(self.address)
        self._next_endpoint += 1
        return endpoints[(self._next_endpoint - 1) % len(endpoints)]

    def _exchange(self, payload: bytes, replies: int, pushes: list[Any] | None = None) -> list[Any]:
        if self._owed:
            raise RuntimeError("a reply is to be read first")
        assert self._socket is not None
        self._socket.sendall(payload)
        return self._replies(replies, pushes)

    def _replies(self, replies: int, pushes: list[Any] | None = None) -> list[Any]:
        sock, reader = self._socket, self._reader
        assert sock is not None
        found: list[Any] = []
        push_type, incomplete = resp.Push, resp.INCOMPLETE
        while True:
            reply = reader.gets()
            if reply is incomplete:
                data = sock.recv(_CHUNK)
                if not data:
                    raise ConnectionBroken("the server closed it")
                reader.feed(data)
            elif type(reply) is push_type:
                # It was pushed before the reply was made, so the reply knows better.
                if pushes is None:
                    self.passed_over += 1
                else:
                    pushes.append(reply)
            else:
                found.append(reply)
                if len(found) == replies:
                    return found

    def pushed(self) -> list[Any]:
        """Push messages that have come, and were not looked for yet."""
        found: list[Any] = []
        while (reply := self._reader.gets()) is not resp.INCOMPLETE:
            if type(reply) is resp.Push:
                found.append(reply)
        return found

    def receive_now(self) -> None:
        """Take what has come, if anything. Raises ``ConnectionBroken``."""
        sock = self._socket
        assert sock is not None
        # Readable means little under TLS: what came may be no data for us.
        sock.settimeout(0)
        try:
            data = sock.recv(_CHUNK)
            if data and hasattr(sock, "pending"):
                # What TLS has decrypted already makes nothing readable.
                while sock.pending():
                    data += sock.recv(_CHUNK)
        except OSError as error:
            if _is_would_block(error):
                return
            self._broke(error)
            raise ConnectionBroken(str(error)) from error
        finally:
            sock.settimeout(self.address.reply_timeout_s)
        if not data:
            ended = ConnectionBroken("the server closed it")
            self._broke(ended)
            raise ended
        self._reader.feed(data)

    # - Trouble

    def _broke(self, error: Exception) -> None:
        if self._socket is not None and self._lost_at_s is None and self.generation:
            self._lost_at_s = monotonic_s()
            self._lost_why = str(error) or type(error).__name__
        self._drop()

    def _drop(self) -> None:
        sock, self._socket = self._socket, None
        self._owed = 0
        if sock is None:
            return
        if self._pid != os.getpid():
            _inherited.append(sock)
            return
        with suppress(OSError):
            sock.close()

    def _patience_with(self, why: Exception) -> float:
        refused = ConnectionRefusedError | FileNotFoundError | socket.gaierror
        if self.generation == 0 and isinstance(why, refused):
            return min(self._patience_s, REFUSED_PATIENCE_S)
        return self._patience_s

    def _failure(self, why: Exception, is_unknown: bool) -> OperationalError:
        url = self.address.url
        if is_unknown:
            return PublishOutcomeUnknown(
                f"the connection to {url} was lost while publishing ({why}) and could not be made "
                "again, so it is not known whether the messages arrived"
            )
        said = str(why) or type(why).__name__
        if isinstance(why, TimeoutError):
            said = f"no answer within {self.address.reply_timeout_s:g} s"
        return OperationalError(f"{url} can't be reached: {said}")


def listen(
    connections: Sequence[Connection], timeout_s: float | None, wake_fd: int | None
) -> list[Any]:
    """``Connection.listen`` on several."""
    found = [push for connection in connections for push in connection.pushed()]
    if found:
        return found
    poller = select.poll()
    by_fd = {}
    for connection in connections:
        if not connection.is_open():
            raise ConnectionBroken("there is no connection to wait on")
        by_fd[connection.fileno()] = connection
    for fd in by_fd if wake_fd is None else (*by_fd, wake_fd):
        poller.register(fd, select.POLLIN)
    deadline_s = None if timeout_s is None else monotonic_s() + timeout_s
    while True:
        left_s = None if deadline_s is None else max(deadline_s - monotonic_s(), 0.0)
        ready = dict(poller.poll(None if left_s is None else left_s * 1000))
        for fd in ready:
            if fd != wake_fd:
                by_fd[fd].receive_now()
                found += by_fd[fd].pushed()
        if found or (wake_fd is not None and wake_fd in ready) or left_s == 0.0:
            return found


def _passes(reply: Any) -> bool:
    if not isinstance(reply, resp.ReplyError):
        return False
    said = str(reply)
    if said.startswith("ERR Error running script"):
        # Redis 6.2 wraps what a command in a script was told.
        return any(f"-{word} " in said for word in _PASSING)
    return said.startswith(_PASSING)


def _is_would_block(error: OSError) -> bool:
    # ssl.SSLWantReadError by name: ssl is imported only where TLS is used.
    return isinstance(error, BlockingIOError) or type(error).__name__ == "SSLWantReadError"


def _open_socket(address: Address, endpoint: Endpoint) -> socket.socket:
    timeout_s = address.connect_timeout_s
    if endpoint.path is not None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            sock.connect(endpoint.path)
        except BaseException:
            sock.close()
            raise
        return sock
    sock = socket.create_connection((endpoint.host, endpoint.port), timeout_s)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.keepalive:
            _keep_alive(sock, address)
        if address.tls is not None:
            from umbel.engines.redis.tls import context_of

            context = context_of(address.tls)
            return context.wrap_socket(sock, server_hostname=endpoint.host)
    except BaseException:
        sock.close()
        raise
    return sock


def _keep_alive(sock: socket.socket, address: Address) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # A peer that is gone without a word is noticed after 30 + 3 x 10 s instead of two hours.
    ours = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
    options = {
        getattr(socket, name): value for name, value in ours.items() if hasattr(socket, name)
    }
    for number, value in {**options, **address.keepalive_options}.items():
        sock.setsockopt(socket.IPPROTO_TCP, number, value)
