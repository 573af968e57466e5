"""``app.connection()``: what programs hand to receivers, dispatchers and inspectors.

umbel's connections are made where they are needed, one a thread, so this object is a name for the
way to a broker: made without talking to anybody, good for all threads, and closed without harm to
who still works with the app. Channels, queues and producers of kombu it does not have.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from umbel.engines.opening import address, open_pair
from umbel.model.errors import NotBuiltYet, OperationalError, UmbelError
from umbel.ports.broker import Broker
from umbel.ports.bus import Bus

_KOMBU = frozenset(
    {
        "Consumer", "Producer", "SimpleBuffer", "SimpleQueue", "Pool", "ChannelPool", "channel",
        "drain_events", "transport", "get_manager", "manager", "default_socket_timeout", "clone",
    }
)  # fmt: skip


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

    def ensure_connection(self, *_args: Any, **_kwargs: Any) -> Self:
        """Talk to the broker. Raises ``OperationalError`` where it is away."""
        self.broker.workers()
        return self

    connect = ensure_connection

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
