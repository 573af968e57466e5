"""Queues, exchanges and bindings, as users declare them in ``task_queues``.

The names and arguments are those of kombu's ``Queue`` and ``Exchange``, so that settings written
for Celery work when the import changes. They are plain values: declaring one talks to no server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from umbel.model.ids import new_id

EXCHANGE_TYPES = ("direct", "topic", "fanout", "headers")


class Exchange:
    """Where messages are published; ``type`` says how they reach queues."""

    __slots__ = ("arguments", "delivery_mode", "durable", "name", "type")

    def __init__(
        self,
        name: str = "",
        type: str = "",  # noqa: A002 - kombu's name
        *_channel: Any,
        durable: bool = True,
        delivery_mode: int | str | None = None,
        arguments: Mapping[str, Any] | None = None,
        **_amqp_only: Any,
    ) -> None:
        self.name = name
        self.type = type or "direct"
        self.durable = durable
        self.delivery_mode = delivery_mode
        self.arguments = dict(arguments or {})
        if self.type not in EXCHANGE_TYPES:
            raise ValueError(
                f"exchange {name!r} has type {type!r}; wanted one of {', '.join(EXCHANGE_TYPES)}"
            )

    def __repr__(self) -> str:
        return f"Exchange {self.name or ''!r}({self.type})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exchange) and self.name == other.name and self.type == other.type

    def __hash__(self) -> int:
        return hash((self.name, self.type))


class Binding:
    """A further way into a queue: ``Queue(bindings=[binding(...)])``."""

    __slots__ = ("exchange", "routing_key")

    def __init__(
        self, exchange: Exchange | None = None, routing_key: str = "", **_amqp_only: Any
    ) -> None:
        self.exchange = exchange
        self.routing_key = routing_key


class Queue:
    """A named queue that workers consume."""

    __slots__ = (
        "alias",
        "bindings",
        "durable",
        "exchange",
        "expires",
        "message_ttl",
        "max_priority",
        "name",
        "queue_arguments",
        "routing_key",
    )

    def __init__(
        self,
        name: str = "",
        exchange: Exchange | str | None = None,
        routing_key: str = "",
        *_channel: Any,
        bindings: Sequence[Binding] | None = None,
        durable: bool = True,
        expires: float | None = None,
        message_ttl: float | None = None,
        max_priority: int | None = None,
        queue_arguments: Mapping[str, Any] | None = None,
        alias: str | None = None,
        **_amqp_only: Any,
    ) -> None:
        self.name = name
        self.alias = alias  # another name that it is called by
        self.exchange = Exchange(exchange) if isinstance(exchange, str) else exchange
        self.routing_key = routing_key
        self.bindings = tuple(bindings or ())
        self.durable = durable
        self.expires = expires
        self.message_ttl = message_ttl
        self.max_priority = max_priority
        self.queue_arguments = dict(queue_arguments or {})

    def __repr__(self) -> str:
        return f"<Queue {self.name} -> {self.exchange!r} -> {self.routing_key}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Queue)
            and self.name == other.name
            and self.exchange == other.exchange
            and self.routing_key == other.routing_key
        )

    def __hash__(self) -> int:
        return hash((self.name, self.routing_key))


class Broadcast(Queue):
    """A queue whose messages reach every worker that consumes it: the end of a fanout exchange.

    It is called by the exchange's name. See ``docs/guarantees.md`` for who gets a copy.
    """

    def __init__(
        self,
        name: str | None = None,
        queue: str | None = None,
        unique: bool = False,
        auto_delete: bool = True,
        exchange: Exchange | None = None,
        alias: str | None = None,
        **options: Any,
    ) -> None:
        # kombu's names: nobody else's queue is to be called so.
        if unique or not queue:
            queue = f"{queue or 'bcast'}.{new_id()}"
        super().__init__(
            queue,
            exchange if exchange is not None else Exchange(name or queue, "fanout"),
            alias=alias or name,
            auto_delete=auto_delete,
            **options,
        )


def direct_queue(node: str | Queue) -> Queue:
    """The queue that only the worker of this name consumes, where it has ``worker_direct``.

    Celery's names: ``w1@host.dq2``, of the exchange ``C.dq2`` under the key ``w1@host``.
    """
    return node if isinstance(node, Queue) else Queue(f"{node}.dq2", Exchange("C.dq2"), node)


# A worker keeps its copies of broadcasts in a queue of its own.
_OWN = "umbel.broadcast."


def own_queue(name: str) -> str:
    """The queue of a node, or of one run of a worker, that its copies of broadcasts are kept in."""
    return f"{_OWN}{name}"


def is_own_queue(queue: str) -> bool:
    """Whether a queue is one of these."""
    return queue.startswith(_OWN)
