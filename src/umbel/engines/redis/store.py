"""The result store on Redis: Celery's documents under Celery's keys."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from umbel.engines.redis import resp
from umbel.engines.redis.commands import Commands, Results, script
from umbel.engines.redis.connection import Connection
from umbel.engines.redis.keys import BrokerKeys, ResultKeys
from umbel.engines.redis.urls import Address, Manners
from umbel.engines.redis.watch import RedisWatch, Subscription
from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening, JoinPart
from umbel.model.message import Message
from umbel.model.record import Document
from umbel.ports.store import Watch

# Keys to one MGET, documents to one script: bounds what the server holds for us at a time.
_BATCH = 500


class RedisStore:
    """One connection to a result store. See ``umbel.ports.store.Store`` for what it promises."""

    def __init__(self, address: Address, manners: Manners) -> None:
        self.url = address.url
        self._connection = Connection(address)
        self._keys = ResultKeys(manners.prefix)
        results = Results(self._keys, address.db, manners.is_chord_ordered)
        self._commands = Commands(BrokerKeys(), address.db, results)
        self._subscription = Subscription(address)

    def put(self, documents: Sequence[Document]) -> None:
        """Store records and tell who watches them."""
        for start in range(0, len(documents), _BATCH):
            arguments = self._commands.put(documents[start : start + _BATCH])
            self._connection.script(script("put"), (), arguments)

    def get(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The records, in order."""
        found: list[bytes | None] = []
        for start in range(0, len(task_ids), _BATCH):
            keys = [self._keys.task(task_id) for task_id in task_ids[start : start + _BATCH]]
            found += self._connection.command("MGET", *keys)
        return found

    def watch(self, task_ids: Sequence[str]) -> Watch:
        """Subscribe to records."""
        return RedisWatch(self._subscription, self._keys, self.get, task_ids)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records."""
        for start in range(0, len(task_ids), _BATCH):
            keys = [self._keys.task(task_id) for task_id in task_ids[start : start + _BATCH]]
            self._connection.command("DEL", *keys)

    def put_group(self, group_id: str, data: bytes, ttl_s: float | None) -> None:
        """Keep a saved group."""
        key = self._keys.group(group_id)
        ttl = ("EX", max(1, ceil(ttl_s))) if ttl_s else ()
        self._connection.commands(("SET", key, data, *ttl), ("PUBLISH", key, data))

    def get_group(self, group_id: str) -> bytes | None:
        """A saved group."""
        found: bytes | None = self._connection.command("GET", self._keys.group(group_id))
        return found

    def forget_group(self, group_id: str) -> None:
        """Delete a saved group."""
        self._connection.command("DEL", self._keys.group(group_id))

    def parts(self, group_id: str) -> list[bytes]:
        """The parts of a join, in order."""
        key = self._keys.group(group_id) + b".j"
        # A sorted set, or a list, by an option that a mixed fleet may not agree on: asked for as
        # both, in one round trip; the wrong one is answered with an error.
        asked = (("ZRANGE", key, 0, -1), ("LRANGE", key, 0, -1))
        payload = b"".join([resp.pack(command) for command in asked])
        as_set, as_list = self._connection.call(payload, 2)
        wanted = as_list if isinstance(as_set, resp.ReplyError) else as_set
        found: list[bytes] = self._connection.checked(wanted)
        return found

    def apply(
        self,
        documents: Sequence[Document],
        opens: Sequence[JoinOpening] = (),
        parts: Sequence[JoinPart] = (),
        grows: Sequence[JoinGrowth] = (),
        closes: Sequence[JoinClosing] = (),
    ) -> list[Message]:
        """The result side of a settlement, for a broker on another server."""
        if not (documents or opens or parts or grows or closes):
            return []
        arguments = self._commands.apply(documents, opens, parts, grows, closes)
        complete = self._connection.script(script("apply"), (), arguments)
        # Two parts of one join may come at once; the claim is one.
        claims = {parts[place].group_id: parts[place].claim() for place in complete}
        return list(claims.values())

    def expire(self, limit: int) -> int:
        """Nothing to do: the server deletes what has expired."""
        return 0

    def close(self) -> None:
        """End the connections."""
        self._connection.close()
        self._subscription.close()
