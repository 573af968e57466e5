"""The store door on one SQLite file: records, groups, and joins for a broker elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from umbel.engines.sqlite import joins
from umbel.engines.sqlite.doorbell import CALLER
from umbel.engines.sqlite.place import Place
from umbel.model.clock import monotonic_s
from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening, JoinPart
from umbel.model.message import Message
from umbel.model.record import Document
from umbel.model.states import READY_STATES

# A watcher looks by itself this often, should a ring be lost.
LOOK_S = 0.5
# How many tasks one query asks for.
CHUNK = 500
# Closed joins are remembered this long, so that a late duplicate of a part meets them.
JOIN_MEMORY_S = 86400.0


class SqliteStore:
    """Results in a file (or in memory)."""

    def __init__(self, place: Place) -> None:
        self.url = place.url
        self._place = place
        self._database = place.database

    def put(self, documents: Sequence[Document]) -> None:
        """See ``ports.store``."""
        with self._database.transaction():
            self._put(documents)
        self._place.bell.ring(CALLER)

    def get(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """See ``ports.store``."""
        found = self.found(task_ids)
        return [found.get(task_id) for task_id in task_ids]

    def found(self, task_ids: Sequence[str]) -> dict[str, bytes]:
        """The records that there are."""
        found: dict[str, bytes] = {}
        with self._database.reading():
            for first in range(0, len(task_ids), CHUNK):
                wanted = json.dumps(list(task_ids[first : first + CHUNK]))
                found.update(self._database.run("get_records", wanted).fetchall())
        return found

    def watch(self, task_ids: Sequence[str]) -> SqliteWatch:
        """See ``ports.store``."""
        return SqliteWatch(self, self._place, task_ids)

    def forget(self, task_ids: Sequence[str]) -> None:
        """See ``ports.store``."""
        with self._database.transaction():
            self._database.run("forget_records", json.dumps(list(task_ids)))

    def put_group(self, group_id: str, data: bytes, ttl_s: float | None) -> None:
        """See ``ports.store``."""
        with self._database.transaction():
            self._database.run("put_group", group_id, data, self._expires(ttl_s))

    def get_group(self, group_id: str) -> bytes | None:
        """See ``ports.store``."""
        with self._database.reading():
            row = self._database.run("get_group", group_id).fetchone()
        return row[0] if row else None

    def forget_group(self, group_id: str) -> None:
        """See ``ports.store``."""
        with self._database.transaction():
            self._database.run("forget_group", group_id)

    def parts(self, group_id: str) -> list[bytes]:
        """See ``ports.store``."""
        with self._database.reading():
            return [row[0] for row in self._database.run("parts", group_id)]

    def apply(
        self,
        documents: Sequence[Document],
        opens: Sequence[JoinOpening] = (),
        parts: Sequence[JoinPart] = (),
        grows: Sequence[JoinGrowth] = (),
        closes: Sequence[JoinClosing] = (),
    ) -> list[Message]:
        """See ``ports.store``."""
        now = self._place.now()
        claims: dict[str, Message] = {}
        with self._database.transaction():
            self._put(documents)
            joins.grow_joins(self._database, grows, now)
            joins.open_joins(self._database, opens, now)
            for part in parts:
                joins.count_part(self._database, part, now)
                if self._database.run("is_join_complete", part.group_id).fetchone():
                    claims[part.group_id] = part.claim
            joins.close_joins(self._database, closes, now)
        if documents:
            self._place.bell.ring(CALLER)
        return list(claims.values())

    def expire(self, limit: int) -> int:
        """See ``ports.store``."""
        now = self._place.now()
        with self._database.transaction():
            gone = self._database.run("expire_records", now, limit).rowcount
            gone += self._database.run("expire_groups", now, limit).rowcount
            gone += self._database.run("expire_joins", now - JOIN_MEMORY_S, limit).rowcount
        return gone

    def close(self) -> None:
        """See ``ports.store``."""
        self._place.bell.close()
        if not self._place.is_volatile:
            self._database.close()

    def _put(self, documents: Sequence[Document]) -> None:
        self._database.run_many(
            "put_record",
            [(d.task_id, d.status, d.data, self._expires(d.ttl_s)) for d in documents],
        )

    def _expires(self, ttl_s: float | None) -> float | None:
        return self._place.now() + ttl_s if ttl_s else None


class SqliteWatch:
    """Looks at the records of some tasks whenever somebody has settled.

    Tasks are asked for in the order given, in chunks; after a chunk with nothing new in it only
    every so often, so that waiting for ten thousand costs no more than waiting for those that come
    next.
    """

    def __init__(self, store: SqliteStore, place: Place, task_ids: Sequence[str]) -> None:
        self._store = store
        self._pending: dict[str, bytes | None] = dict.fromkeys(task_ids)
        self._ear = place.bell.ear(CALLER)
        self._is_first = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ear.close()

    def add(self, task_ids: Sequence[str]) -> None:
        """See ``ports.store``."""
        self._pending.update(dict.fromkeys(task_ids))
        self._is_first = True

    def changes(self, timeout_s: float | None) -> dict[str, bytes]:
        """See ``ports.store``."""
        deadline = None if timeout_s is None else monotonic_s() + timeout_s
        if self._is_first:
            self._is_first = False
            found = self._look(is_thorough=True)
            if found:
                return found
        while True:
            left_s = LOOK_S if deadline is None else min(LOOK_S, deadline - monotonic_s())
            rang, _ = self._ear.listen(left_s, None)
            found = self._look(is_thorough=not rang)
            if found or (deadline is not None and monotonic_s() >= deadline):
                return found

    def _look(self, *, is_thorough: bool) -> dict[str, bytes]:
        wanted = list(self._pending)
        news: dict[str, bytes] = {}
        for first in range(0, len(wanted), CHUNK):
            chunk = wanted[first : first + CHUNK]
            found = self._store.found(chunk)
            fresh = {key: data for key, data in found.items() if self._pending[key] != data}
            news.update(fresh)
            # Results come about in the order of sending: where a chunk has little new, the
            # later ones have less.
            if not is_thorough and len(fresh) < len(chunk) // 2 and first:
                break
        for task_id, data in news.items():
            if _is_ready(data):
                del self._pending[task_id]
            else:
                self._pending[task_id] = data
        return news


def _is_ready(data: bytes) -> bool:
    # Told from the bytes alone; a state that can't be told is compared again at the next look.
    head = data[:64]
    return any(f'"status": "{state}"'.encode() in head for state in READY_STATES)
