"""Revoked tasks of a house: each step under its lock."""

from __future__ import annotations

from collections.abc import Sequence

from umbel.engines.memory.house import House


class MemoryRevocations:
    """See ``umbel.ports.revocations.Revocations`` for what it promises."""

    def __init__(self, house: House) -> None:
        self.epoch = 0  # set by the broker's cycles
        self._house = house

    def add(self, task_ids: Sequence[str], ttl_s: float) -> list[str]:
        """Remember ids; gives those that are leased."""
        with self._house.lock:
            return self._house.revoke(task_ids, ttl_s)

    def since(self, epoch: int) -> tuple[int, list[str]]:
        """The present epoch, and what came after the given one."""
        with self._house.lock:
            revoked = self._house.revoked
            return self._house.epoch, [name for name, (at, _) in revoked.items() if at > epoch]
