"""Watching records: one subscription for all of them, read once and then told.

Theory of operation. A record is told on the channel of its key by the command right behind the one
that stores it. So who subscribes first and reads then, in one write on one connection, has every
record that was there and is told of every later one. When the connection ends, whatever was told
meanwhile is lost: everything that is still watched is subscribed to and read again. That second
reading goes over the store's other connection, because a server ends a subscriber whose output
grows too large, and a few very large records would end it for ever.

One subscription connection serves all watches of a store, one after the other and nested: what is
told is handed to each watch that wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from umbel.engines.redis import resp
from umbel.engines.redis.connection import Connection, ConnectionBroken
from umbel.engines.redis.keys import ResultKeys
from umbel.engines.redis.urls import Address
from umbel.model.clock import monotonic_s

# Records that are subscribed to and read in one write.
_BATCH = 200
# Keys that nothing more is told on stay subscribed to until the next watch, so many at most. A
# write of their own takes who waits for one result after the other a tenth of its time.
_MOST_LEFT = 100
# A silent server is asked whether it is there, as often as this.
_PROBE_S = 30.0
# How long a server that is away is waited for before the waiter is told.
_PATIENCE_S = 30.0

Get = Callable[[Sequence[str]], list[bytes | None]]


class Subscription:
    """The connection that records are told on, shared by the watches of one store."""

    def __init__(self, address: Address) -> None:
        patience_s = max(address.connect_timeout_s, _PATIENCE_S)
        self.connection = Connection(address, patience_s=patience_s)
        self.watches: list[RedisWatch] = []
        self.left: set[bytes] = set()  # subscribed to, and wanted by none

    def hand_out(self, pushes: Sequence[Any]) -> None:
        """Give what was told to the watches that want it."""
        for push in pushes:
            if push[0] == b"message":
                for watch in self.watches:
                    watch.take(push[1], push[2])

    def close(self) -> None:
        """End it."""
        self.connection.close()


class RedisWatch:
    """A running subscription. See ``umbel.ports.store.Watch``."""

    def __init__(
        self, subscription: Subscription, keys: ResultKeys, get: Get, task_ids: Sequence[str]
    ) -> None:
        self._subscription = subscription
        self._connection = subscription.connection
        self._keys = keys
        self._get = get
        self._watched: dict[bytes, str] = {}
        self._found: dict[str, bytes] = {}
        self._told: set[bytes] = set()  # of the keys above, those that something was told on
        self._new: list[bytes] = []  # not subscribed to yet
        self._generation = 0  # of the connection that all others are subscribed on
        self._is_running = False
        self.add(task_ids)

    def __enter__(self) -> Self:
        self._subscription.watches.append(self)
        self._is_running = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_running = False
        watches = self._subscription.watches
        watches.remove(self)
        wanted = {key for watch in watches for key in watch._watched}
        done = [key for key in self._watched if key not in wanted]
        if self._connection.generation != self._generation or not self._connection.is_open():
            return
        if len(done) > 1000:
            # Cheaper than to name them all; another watch notices and subscribes again.
            self._connection.close()
            return
        if len(self._subscription.left) + len(done) <= _MOST_LEFT and self._told.issuperset(done):
            self._subscription.left.update(done)
            return
        try:
            if done:
                # Nobody waits for the answer: it comes as pushes, which others pass over.
                self._connection.send(resp.pack(("UNSUBSCRIBE", *done)))
        except ConnectionBroken:
            pass

    def add(self, task_ids: Sequence[str]) -> None:
        """Watch more tasks."""
        for task_id in task_ids:
            key = self._keys.task(task_id)
            if key not in self._watched:
                self._watched[key] = task_id
                self._new.append(key)

    def take(self, key: bytes, data: bytes) -> None:
        """Something was told."""
        task_id = self._watched.get(key)
        if task_id is not None:
            self._found[task_id] = data
            self._told.add(key)

    def changes(self, timeout_s: float | None) -> dict[str, bytes]:
        """Records that were stored since the last call."""
        if not self._is_running:
            raise RuntimeError("a watch gives changes inside of its with block only")
        deadline = None if timeout_s is None else monotonic_s() + timeout_s
        while True:
            try:
                self._subscribe()
                if not self._found:
                    self._listen(deadline)
            except ConnectionBroken:
                # Everything is read again on a new connection, which is made with patience.
                self._connection.command("PING")
                continue
            if self._found or (deadline is not None and monotonic_s() >= deadline):
                found, self._found = self._found, {}
                return found

    def _listen(self, deadline: float | None) -> None:
        left_s = _PROBE_S
        if deadline is not None:
            left_s = min(max(deadline - monotonic_s(), 0.0), _PROBE_S)
        pushes = self._connection.listen(left_s)
        if not pushes and left_s == _PROBE_S:
            _, pushes = self._connection.exchange(resp.pack(("PING",)), 1)
        self._subscription.hand_out(pushes)

    def _subscribe(self) -> None:
        connection = self._connection
        if self._generation and self._generation != connection.generation:
            self._subscribe_again()
        while self._new:
            batch = self._new[:_BATCH]
            payload = resp.pack(("SUBSCRIBE", *batch)) + resp.pack(("MGET", *batch))
            left, self._subscription.left = self._subscription.left, set()
            if left:
                payload = resp.pack(("UNSUBSCRIBE", *left)) + payload
            before = connection.generation
            replies, pushes = connection.exchange(payload, 1)
            self._subscription.hand_out(pushes)
            if self._generation and before != connection.generation:
                # The exchange had to connect, so what was subscribed to before is not any more.
                raise ConnectionBroken("another connection")
            self._generation = connection.generation
            for key, data in zip(batch, connection.checked(replies[0]), strict=True):
                if data is not None:
                    self.take(key, data)
            del self._new[: len(batch)]

    def _subscribe_again(self) -> None:
        everything = [key for key in self._watched if key not in set(self._new)]
        generation = self._connection.generation
        for start in range(0, len(everything), _BATCH):
            batch = everything[start : start + _BATCH]
            # PING: its reply comes behind the subscription.
            payload = resp.pack(("SUBSCRIBE", *batch)) + resp.pack(("PING",))
            _, pushes = self._connection.exchange(payload, 1)
            self._subscription.hand_out(pushes)
        if self._connection.generation != generation:
            raise ConnectionBroken("another connection")
        self._generation = generation
        ids = [self._watched[key] for key in everything]
        for task_id, data in zip(ids, self._get(ids), strict=True):
            if data is not None:
                self._found[task_id] = data
