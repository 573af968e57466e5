"""Revoked tasks in the file: a table whose highest id is the epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from umbel.engines.sqlite.connection import Connection
from umbel.engines.sqlite.queries import SQL


class SqliteRevocations:
    """See ``umbel.ports.revocations.Revocations`` for what it promises."""

    def __init__(self, connection: Connection, clock: Callable[[], float]) -> None:
        self.epoch = 0  # set by the broker's cycles
        self._connection = connection
        self._clock = clock

    def add(self, task_ids: Sequence[str], ttl_s: float) -> list[str]:
        """Remember ids; gives those that are leased."""
        expires = self._clock() + ttl_s
        with self._connection.writing(durably=True) as sql:
            sql.executemany(SQL["revoke"], [(task_id, expires) for task_id in task_ids])
            held = sql.execute(SQL["leased_tasks"], (json.dumps(list(task_ids)),))
            return [task_id for (task_id,) in held]

    def since(self, epoch: int) -> tuple[int, list[str]]:
        """The present epoch, and what came after the given one."""
        with self._connection.reading() as sql:
            # The epoch first: what is added between the two is told twice, and not never.
            (present,) = sql.execute(SQL["revocation_epoch"]).fetchone()
            return present, [task_id for (task_id,) in sql.execute(SQL["revoked"], (epoch,))]
