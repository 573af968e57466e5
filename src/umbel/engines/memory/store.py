"""The result store door of a house."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from umbel.engines.memory.bell import Bell
from umbel.engines.memory.house import House
from umbel.model.clock import monotonic_s
from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening, JoinPart
from umbel.model.message import Message
from umbel.model.record import Document

# A sleep without a limit is made of these.
_LONG_S = 60.0


class MemoryStore:
    """See ``umbel.ports.store.Store`` for what each method promises."""

    def __init__(self, url: str, house: House) -> None:
        self.url = url
        self._house = house

    def put(self, documents: Sequence[Document]) -> None:
        """Store records."""
        with self._house.lock:
            self._house.put(documents)
        self._house.tell()

    def get(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The records, in order."""
        with self._house.lock:
            return [self._found(task_id) for task_id in task_ids]

    def _found(self, task_id: str) -> bytes | None:
        record = self._house.records.get(task_id)
        if record is None or (record[2] is not None and record[2] <= self._house.now()):
            return None
        return record[1]

    def watch(self, task_ids: Sequence[str]) -> MemoryWatch:
        """A subscription."""
        return MemoryWatch(self, self._house, task_ids)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records."""
        with self._house.lock:
            for task_id in task_ids:
                self._house.records.pop(task_id, None)

    def put_group(self, group_id: str, data: bytes, ttl_s: float | None) -> None:
        """Keep a saved group."""
        with self._house.lock:
            expires = self._house.now() + ttl_s if ttl_s else None
            self._house.groups[group_id] = (data, expires)

    def get_group(self, group_id: str) -> bytes | None:
        """A saved group."""
        with self._house.lock:
            data, expires = self._house.groups.get(group_id, (None, None))
            return None if expires is not None and expires <= self._house.now() else data

    def forget_group(self, group_id: str) -> None:
        """Delete a saved group."""
        with self._house.lock:
            self._house.groups.pop(group_id, None)

    def parts(self, group_id: str) -> list[bytes]:
        """The parts of a join, in order."""
        with self._house.lock:
            return self._house.joins.parts(group_id)

    def apply(
        self,
        documents: Sequence[Document],
        opens: Sequence[JoinOpening] = (),
        parts: Sequence[JoinPart] = (),
        grows: Sequence[JoinGrowth] = (),
        closes: Sequence[JoinClosing] = (),
    ) -> list[Message]:
        """The result side of a settlement whose broker is elsewhere."""
        with self._house.lock:
            self._house.put(documents)
            joins = self._house.joins
            claims = joins.open(opens, is_repeatable=True)
            joins.grow(grows, beside=parts)
            claims += joins.count(parts, is_repeatable=True)
            joins.close(closes)
        self._house.tell()
        return claims

    def expire(self, limit: int) -> int:
        """Delete expired records and groups."""
        now = self._house.now()
        deleted = 0
        with self._house.lock:
            for kept in (self._house.records, self._house.groups):
                expired = [key for key, value in kept.items() if _is_past(value[-1], now)]
                for key in expired[:limit]:
                    del kept[key]
                    deleted += 1
        return deleted

    def close(self) -> None:
        """Nothing to end: the house stays, for the other connections."""


class MemoryWatch:
    """See ``umbel.ports.store.Watch``."""

    def __init__(self, store: MemoryStore, house: House, task_ids: Sequence[str]) -> None:
        self._store = store
        self._watched = list(task_ids)
        self._given: dict[str, bytes] = {}
        self._bell = Bell(house)

    def __enter__(self) -> Self:
        self._bell.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bell.__exit__()
        self._bell.close()

    def add(self, task_ids: Sequence[str]) -> None:
        """Watch more."""
        self._watched += task_ids

    def changes(self, timeout_s: float | None) -> dict[str, bytes]:
        """What was stored since the last call."""
        deadline = None if timeout_s is None else monotonic_s() + timeout_s
        while True:
            found = zip(self._watched, self._store.get(self._watched), strict=True)
            changed = {
                task_id: data
                for task_id, data in found
                if data is not None and self._given.get(task_id) != data
            }
            self._given.update(changed)
            left_s = _LONG_S if deadline is None else deadline - monotonic_s()
            if changed or left_s <= 0:
                return changed
            self._bell.sleep(left_s, None)


def _is_past(expires: object, now: float) -> bool:
    return isinstance(expires, float) and expires <= now
