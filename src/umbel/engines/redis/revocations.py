"""Revoked tasks on Redis: two sorted sets, and a number that each claim brings along."""

from __future__ import annotations

from collections.abc import Sequence

from umbel.engines.redis.commands import script
from umbel.engines.redis.connection import Connection
from umbel.engines.redis.keys import BrokerKeys
from umbel.engines.redis.resp import Argument

# Ids to one script.
_BATCH = 500


class RedisRevocations:
    """See ``umbel.ports.revocations.Revocations`` for what it promises."""

    def __init__(self, connection: Connection, names: BrokerKeys) -> None:
        self.epoch = 0  # set by the broker's cycles
        self._connection = connection
        self._names = names

    def add(self, task_ids: Sequence[str], ttl_s: float) -> list[str]:
        """Remember ids; gives those that are leased."""
        held: list[str] = []
        for start in range(0, len(task_ids), _BATCH):
            batch = task_ids[start : start + _BATCH]
            arguments: list[Argument] = [self._names.prefix, ttl_s, *batch]
            found = self._connection.script(script("revoke"), (), arguments)
            held += [task_id.decode() for task_id in found]
        return held

    def since(self, epoch: int) -> tuple[int, list[str]]:
        """The present epoch, and what came after the given one."""
        # The epoch first: what is added between the two is told twice, and not never.
        present, members = self._connection.commands(
            ("GET", self._names.own(b"revoked:epoch")),
            ("ZRANGEBYSCORE", self._names.own(b"revoked"), f"({epoch}", "+inf"),
        )
        return int(present or 0), [member.decode(errors="replace") for member in members]
