"""The result store in the file.

A watch has a seat on the board of sleepers and is told the ids of what was stored; it reads only
those. Where a word was lost, it reads everything that it watches and is not final: at once when the
board says so, else at the next slow look, which costs nothing while nobody writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from umbel.engines.sqlite.connection import Connection
from umbel.engines.sqlite.joins import Joins
from umbel.engines.sqlite.location import Location
from umbel.engines.sqlite.queries import SQL
from umbel.engines.sqlite.settling import put
from umbel.engines.sqlite.wakeup import POLL_S, Board, Seat, sleep
from umbel.model import states
from umbel.model.clock import monotonic_s, unix_s
from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening, JoinPart
from umbel.model.message import Message
from umbel.model.record import Document


class SqliteStore:
    """See ``umbel.ports.store.Store`` for what each method promises."""

    def __init__(self, location: Location, *, clock: Callable[[], float] = unix_s) -> None:
        self.url = location.url
        self._clock = clock
        self._connection = Connection(location)
        self._board = Board(location.path)

    def put(self, documents: Sequence[Document]) -> None:
        """Store records."""
        if not documents:
            return
        with self._connection.writing() as sql:
            put(sql, documents, self._clock())
        self._board.tell_records([document.task_id for document in documents])

    def get(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The records, in order."""
        found = self.found(task_ids)
        return [found[task_id][1] if task_id in found else None for task_id in task_ids]

    def found(self, task_ids: Iterable[str]) -> dict[str, tuple[str, bytes]]:
        """Status and document of those that have a record, in one statement."""
        facts = (json.dumps(list(task_ids)), self._clock())
        with self._connection.reading() as sql:
            return {
                task_id: (status, data)
                for task_id, status, data in sql.execute(SQL["records"], facts)
            }

    def version(self) -> int:
        """Changes whenever another connection has written anything."""
        with self._connection.reading() as sql:
            return int(sql.execute("PRAGMA data_version").fetchone()[0])

    def watch(self, task_ids: Sequence[str]) -> SqliteWatch:
        """A subscription, in force from ``__enter__`` on."""
        return SqliteWatch(self, self._board, task_ids)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records."""
        with self._connection.writing() as sql:
            sql.executemany(SQL["forget_record"], [(task_id,) for task_id in task_ids])

    def put_group(self, group_id: str, data: bytes, ttl_s: float | None) -> None:
        """Keep a saved group."""
        expires = self._clock() + ttl_s if ttl_s else None
        with self._connection.writing() as sql:
            sql.execute(SQL["put_group"], (group_id, expires, data))

    def get_group(self, group_id: str) -> bytes | None:
        """A saved group."""
        with self._connection.reading() as sql:
            row = sql.execute(SQL["saved_group"], (group_id, self._clock())).fetchone()
        return None if row is None else row[0]

    def forget_group(self, group_id: str) -> None:
        """Delete a saved group."""
        with self._connection.writing() as sql:
            sql.execute(SQL["forget_group"], (group_id,))

    def parts(self, group_id: str) -> list[bytes]:
        """The parts of a join, in order."""
        with self._connection.reading() as sql:
            return [data for (data,) in sql.execute(SQL["parts"], (group_id,))]

    def apply(
        self,
        documents: Sequence[Document],
        opens: Sequence[JoinOpening] = (),
        parts: Sequence[JoinPart] = (),
        grows: Sequence[JoinGrowth] = (),
        closes: Sequence[JoinClosing] = (),
    ) -> list[Message]:
        """The result side of a settlement whose broker is elsewhere."""
        now = self._clock()
        with self._connection.writing() as sql:
            put(sql, documents, now)
            joins = Joins(sql, now, is_repeatable=True)
            claims = joins.open(opens)
            joins.grow(grows, beside=parts)
            claims += joins.count(parts)
            joins.close(closes)
        if documents:
            self._board.tell_records([document.task_id for document in documents])
        return claims

    def expire(self, limit: int) -> int:
        """Delete expired records, groups and joins, up to ``limit`` of each."""
        now = self._clock()
        with self._connection.writing() as sql:
            deleted = sql.execute(SQL["expire_records"], (now, limit)).rowcount
            deleted += sql.execute(SQL["expire_groups"], (now, limit)).rowcount
            joins = sql.execute(SQL["expired_joins"], (now, limit)).fetchall()
            sql.executemany(SQL["forget_parts"], joins)
            sql.executemany(SQL["forget_join"], joins)
        return deleted + len(joins)

    def close(self) -> None:
        """End the connection."""
        self._board.close()
        self._connection.close()


class SqliteWatch:
    """See ``umbel.ports.store.Watch``."""

    def __init__(self, store: SqliteStore, board: Board, task_ids: Sequence[str]) -> None:
        self._store = store
        self._board = board
        self._watched = dict.fromkeys(task_ids)
        # What was given last; a record that was read twice is given once.
        self._given: dict[str, bytes] = {}
        self._final: set[str] = set()
        self._unread: set[str] = set(self._watched)
        self._version = -1
        self._seat: Seat | None = None

    def __enter__(self) -> Self:
        self._seat = self._board.sit()
        self._arm()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._seat is not None:
            with suppress(OSError):
                self._seat.close()
            self._seat = None

    def add(self, task_ids: Sequence[str]) -> None:
        """Watch more."""
        new = [task_id for task_id in task_ids if task_id not in self._watched]
        self._watched.update(dict.fromkeys(new))
        self._unread.update(new)
        self._arm()

    def changes(self, timeout_s: float | None) -> dict[str, bytes]:
        """What was stored since the last call."""
        deadline = None if timeout_s is None else monotonic_s() + timeout_s
        while True:
            changed = self._read()
            if changed:
                return changed
            left_s = POLL_S if deadline is None else min(POLL_S, deadline - monotonic_s())
            if left_s <= 0:
                return {}
            is_told, _ = sleep(self._seat, None, left_s)
            if not is_told:
                self._look_for_writers()

    def _arm(self) -> None:
        if self._seat is not None:
            self._seat.watch(list(self._watched))

    def _read(self) -> dict[str, bytes]:
        self._listen()
        unread, self._unread = self._unread, set()
        if not unread:
            return {}
        try:
            found = self._store.found(unread)
        except BaseException:
            self._unread |= unread
            raise
        changed = {}
        for task_id, (status, data) in found.items():
            if self._given.get(task_id) != data:
                self._given[task_id] = changed[task_id] = data
            if status == states.SUCCESS:
                self._final.add(task_id)
        return changed

    def _listen(self) -> None:
        if self._seat is None:
            return
        if not self._seat.is_valid:
            # A fork, or the folder was deleted: sit down anew, and read everything.
            self._seat.close()
            self._seat = self._board.sit()
            self._arm()
            self._unread = self._pending()
            return
        told = self._seat.drained()
        if told is None:
            self._unread = self._pending()
        else:
            self._unread |= told & self._watched.keys()

    def _look_for_writers(self) -> None:
        """The slow look: somebody has written, and may have failed to tell."""
        version = self._store.version()
        if version != self._version:
            self._version = version
            self._unread = self._pending()

    def _pending(self) -> set[str]:
        return set(self._watched) - self._final
