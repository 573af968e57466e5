"""The way to the broker, as programs for Celery ask an app for it.

umbel's own rooms use ``app.connections``. What is here are views: a connection, a pool that always
has one, a producer that can be handed to ``apply_async`` and names the broker to send to.
https://docs.celeryq.dev/en/stable/userguide/calling.html#connections
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any, Self

from umbel.app.connections import Connections
from umbel.model.errors import NotBuiltYet

_PARTS = (
    "userid", "password", "virtual_host", "port", "ssl", "connect_timeout", "transport",
    "transport_options", "heartbeat", "login_method", "failover_strategy",
)  # fmt: skip


class Pool:
    """``app.pool``: something to ``acquire`` a connection from; it never runs dry."""

    limit: int | None = None

    def __init__(self, app: Any) -> None:
        self._app = app

    def acquire(self, block: bool = False, timeout: float | None = None) -> Any:
        """A connection; there is always one, so nobody waits."""
        return self._app.connection()

    def release(self, resource: Any) -> None:
        """Give a connection back."""
        resource.release()

    def force_close_all(self, close_pool: bool = False) -> None:
        """Close the app's connections; new ones are opened when they are needed."""
        self._app.close()

    close_after_fork = force_close_all


class ProducerView:
    """What ``app.producer_or_acquire()`` gives: good for ``apply_async(producer=...)``."""

    def __init__(self, connection: Any, app: Any) -> None:
        self.connection = connection
        self._app = app

    def way_of(self, app: Any) -> Any:
        """The connection that a task of ``app`` is to be sent over; None: its own."""
        return None if app is self._app else self.connection

    @property
    def channel(self) -> Any:
        """Its connection: there are no channels."""
        return self.connection

    def publish(self, body: Any, **_facts: Any) -> None:
        """Refused: what is published here are tasks."""
        raise NotBuiltYet(
            "producer.publish: umbel has no kombu producers; send tasks (send_task), or use the"
            " broker's own client"
        )

    def release(self) -> None:
        """Let go of the connection. Twice is legal."""
        self.connection.release()

    close = release

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class ProducerPool(Pool):
    """``app.producer_pool``."""

    def acquire(self, block: bool = False, timeout: float | None = None) -> ProducerView:
        """A producer; there is always one, so nobody waits."""
        return ProducerView(self._app.connection(), self._app)


class BrokerAccess:
    """What an app offers of this."""

    connections: Connections
    routing: Any

    def connection(self, hostname: str | None = None, **options: Any) -> Any:
        """The way to the broker, or to the one at another URL.

        What Celery takes beside the URL, a user or a port, is to stand in the URL.
        """
        # Not at the top: most programs never ask.
        from umbel.app.connecting import Connection

        url = options.pop("url", None) or hostname
        for name in _PARTS:
            if options.pop(name, None) is not None:
                raise NotBuiltYet(f"app.connection({name}=...): say it in the broker's URL")
        if options:
            raise TypeError(f"app.connection() takes no {', '.join(map(repr, options))}")
        return Connection(self.connections, url)

    broker_connection = connection

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Any:
        """The way to the broker that workers read from."""
        return self.connection(url, **kwargs)

    def connection_for_write(self, url: str | None = None, **kwargs: Any) -> Any:
        """The way to the broker that messages are sent to."""
        return self.connection(url, **kwargs)

    def connection_or_acquire(
        self, connection: Any = None, pool: bool = True, *_: Any, **__: Any
    ) -> AbstractContextManager[Any]:
        """For ``with``: the connection that is given, which stays open, or one of its own."""
        return nullcontext(connection) if connection is not None else self.connection()

    default_connection = connection_or_acquire

    def producer_or_acquire(self, producer: Any = None) -> AbstractContextManager[Any]:
        """For ``with``: the producer that is given, or one of its own."""
        return (
            nullcontext(producer) if producer is not None else ProducerView(self.connection(), self)
        )

    default_producer = producer_or_acquire

    @property
    def pool(self) -> Pool:
        """A pool of connections."""
        return Pool(self)

    @property
    def producer_pool(self) -> ProducerPool:
        """A pool of producers."""
        return ProducerPool(self)

    @property
    def amqp(self) -> Any:
        """Queues and routes under the names of Celery: ``app.amqp.queues``, ``.router``."""
        from umbel.app.amqp import AMQP

        return AMQP(self)

    def select_queues(self, queues: Any = None) -> list[str]:
        """Let workers of this app consume these queues only; gives the names of all they do."""
        if queues is not None:
            self.routing.select(queues)
        found: list[str] = self.routing.consumed_queues()
        return found
