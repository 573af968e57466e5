"""``app.connection()``: what programs hand to receivers, dispatchers and inspectors.

umbel's connections are made where they are needed, one a thread, so this object is a name for the
way to a broker: made without talking to anybody, good for all threads, and closed without harm to
who still works with the app. Channels, queues and producers of kombu it does not have.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from umbel.app.retrying import RetryPolicy, with_retries
from umbel.engines.opening import address, open_pair
from umbel.model.errors import NotBuiltYet, OperationalError, UmbelError
from umbel.ports.broker import Broker
from umbel.ports.bus import Bus

_PLAIN = {"rediss": "redis", "valkeys": "valkey"}
_KOMBU = frozenset(
    {
        "Consumer", "Producer", "SimpleBuffer", "SimpleQueue", "Pool", "ChannelPool", "channel",
        "drain_events", "get_manager", "manager", "default_socket_timeout", "clone",
    }
)  # fmt: skip


class Transport(NamedTuple):
    """The scheme of a broker's URL, for those who ask what it is: ``redis``, ``sqlite``..."""

    driver_name: str

    @property
    def driver_type(self) -> str:
        """The scheme less what only says how it is reached."""
        return _PLAIN.get(self.driver_name, self.driver_name.partition("+")[0])


class Connection:
    """The way to a broker."""

    connection_errors = recoverable_connection_errors = (OperationalError,)
    channel_errors = recoverable_channel_errors = (OperationalError,)

    def __init__(self, connections: Any, url: str | None = None) -> None:
        self._connections = connections
        self._url = url
        # Brokers at an URL of its own, by process and thread.
        self._opened: dict[tuple[int, int], Broker] = {}

    @property
    def broker(self) -> Broker:
        """This thread's connection. Raises ``OperationalError`` where the broker is away."""
        if self._url is None:
            broker: Broker = self._connections.pair().broker
            return broker
        key = (os.getpid(), threading.get_ident())
        if key not in self._opened:
            opened = open_pair(self._url, None, self._connections.engine_options()[0]).broker
            assert opened is not None
            self._opened[key] = opened
        return self._opened[key]

    @property
    def bus(self) -> Bus:
        """What it carries events and commands on."""
        return self.broker.bus

    @property
    def default_channel(self) -> Self:
        """Itself: there are no channels."""
        return self

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        try:
            self.broker.workers()
        except OperationalError:
            return False
        return True

    def ensure_connection(
        self,
        errback: Callable[[BaseException, float], Any] | None = None,
        max_retries: int | None = None,
        interval_start: float = 2,
        interval_step: float = 2,
        interval_max: float = 30,
        **_options: Any,
    ) -> Self:
        """Talk to the broker until it answers; ``max_retries`` None: for ever.

        Times in seconds. Raises ``OperationalError``.
        """
        policy = RetryPolicy(max_retries, interval_start, interval_step, interval_max)
        failures = count()

        def ask() -> None:
            try:
                self.broker.workers()
            except OperationalError as error:
                if errback is not None:
                    errback(error, policy.pause_s(next(failures)))
                raise

        with_retries(ask, policy)
        return self

    def connect(self) -> Self:
        """Talk to the broker, once. Raises ``OperationalError`` where it is away."""
        return self.ensure_connection(max_retries=0)

    @property
    def transport(self) -> Transport:
        """What kind of broker it is."""
        return Transport(self.as_uri().partition(":")[0])

    def info(self) -> dict[str, Any]:
        """Where the broker is, in parts; without the password."""
        parts = urlsplit(self.as_uri())
        return {
            "hostname": parts.hostname,
            "userid": parts.username,
            "port": parts.port,
            "virtual_host": parts.path.strip("/"),
            "transport": parts.scheme,
        }

    def as_uri(self, include_password: bool = False, **_options: Any) -> str:
        """The broker's URL, without its password."""
        url: str = self._url or self._connections.broker_url()
        return url if include_password else address(url)

    def release(self) -> None:
        """Let go; what the app itself uses stays open. Twice is legal."""
        opened, self._opened = self._opened, {}
        for (pid, _), broker in opened.items():
            if pid == os.getpid():
                with suppress(UmbelError, OSError):
                    broker.close()

    close = release

    def __getattr__(self, name: str) -> Any:
        if name in _KOMBU:
            raise NotBuiltYet(
                f"connection.{name}: umbel has no kombu channels; send tasks, use app.events and "
                "app.control, or talk to the broker with its own client"
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Connection: {self.as_uri()}>"
