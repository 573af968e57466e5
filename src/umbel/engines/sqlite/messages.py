"""Messages that arrive: from publishers, from settlements, from joins that completed.

Everything here runs inside a transaction that somebody else began. ``Arrivals`` also notes which
queues got something, so that sleepers are woken once, after the commit.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from umbel.engines.placing import Steps, is_bound
from umbel.engines.sqlite.queries import SQL
from umbel.model.errors import QueueNotFound
from umbel.model.message import Message

# For a listener to read it: it is woken at once.
NOTICE_TTL_S = 60.0

READY, LEASED, DUE, LANE = 0, 1, 2, 3


class Arrivals:
    """The messages that one transaction brings."""

    def __init__(self, sql: sqlite3.Connection, steps: Steps, now: float) -> None:
        self._sql = sql
        self._steps = steps
        self._now = now
        self.queues: Counter[str] = Counter()  # to be woken
        self.exchanges: set[str] = set()  # what was said on them is there to be heard
        self._routes: dict[tuple[str, str], list[str]] = {}

    def publish(self, messages: Iterable[Message]) -> None:
        """Store messages. Raises ``QueueNotFound`` for an exchange that leads nowhere."""
        self._insert(self._routed(messages, is_strict=True))

    def follow(self, messages: Sequence[Message]) -> None:
        """Store what a settlement sends; an exchange that leads nowhere makes a dead letter."""
        if messages:
            self._insert(self._routed(messages, is_strict=False))

    def claim(self, message: Message) -> None:
        """A join is complete: its claim is served before everything that is ready."""
        self._insert([(message.queue, message, LANE)])

    def returned(self, queue: str, number: int = 1) -> None:
        """Messages are back in a queue."""
        self.queues[queue] += number

    def _insert(self, placed: Iterable[tuple[str, Message, int]]) -> None:
        rows = []
        for queue, message, home in placed:
            self.queues[queue] += 1
            due = message.due
            is_due = due is not None and due > self._now
            rows.append(
                (
                    queue,
                    self._steps.of(message.priority),
                    DUE if is_due else home,
                    home,
                    due if is_due else None,
                    message.id,
                    message.task,
                    message.raw,
                )
            )
        self._sql.executemany(SQL["insert_message"], rows)

    def _routed(
        self, messages: Iterable[Message], *, is_strict: bool
    ) -> Iterable[tuple[str, Message, int]]:
        for message in messages:
            if message.is_fanout:
                notice = (self._now, message.exchange, message.routing_key, message.raw)
                self._sql.execute(SQL["say"], notice)
                self._sql.execute(SQL["forget_notices"], (self._now - NOTICE_TTL_S,))
                self.exchanges.add(message.exchange)
                continue
            if message.queue or not message.exchange:
                yield message.queue, message, READY
                continue
            queues = self._bound_to(message.exchange, message.routing_key)
            if not queues:
                self._unroutable(message, is_strict=is_strict)
            for queue in queues:
                yield queue, message, READY

    def _bound_to(self, exchange: str, routing_key: str) -> list[str]:
        route = exchange, routing_key
        if route not in self._routes:
            bindings = self._sql.execute(SQL["bound_queues"], (exchange,))
            self._routes[route] = sorted(
                {queue for kind, key, queue in bindings if is_bound(kind, key, routing_key)}
            )
        return self._routes[route]

    def _unroutable(self, message: Message, *, is_strict: bool) -> None:
        cause = (
            f"no queue is bound to exchange {message.exchange!r} for the routing key "
            f"{message.routing_key!r}; declare one in task_queues"
        )
        if is_strict:
            raise QueueNotFound(cause)
        step = self._steps.of(message.priority)
        self._sql.execute(
            SQL["bury_unroutable"],
            (self._now, step, message.id, message.task, cause, message.raw),
        )
