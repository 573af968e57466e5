"""What an engine must offer to keep tasks from running: ids that are remembered for a while.

Theory of operation. Ids are kept at the broker, so that a task that is revoked while no worker runs
does not run later. Workers must not pay for that with a round trip per task: each revocation makes
a new *epoch*, which travels with every claim, and only a worker that meets an epoch it does not
know asks for the ids behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

# How long an id is remembered: a revoked task whose message comes later than that runs.
REVOKED_FOR_S = 30 * 24 * 3600.0
# What has a stamp is revoked by an id that no task has: this, the stamp's name and value.
_STAMP = "stamp"
_BETWEEN = "\x1f"


def stamp_id(name: str, value: object) -> str:
    """What stands among the ids for all tasks with a stamp."""
    return f"{_STAMP}{_BETWEEN}{name}{_BETWEEN}{value}"


def is_stamp_id(task_id: str) -> bool:
    """Whether this stands for a stamp."""
    return task_id.startswith(_STAMP + _BETWEEN)


class Revocations(Protocol):
    """The revoked tasks of a broker, over its connection."""

    @property
    def epoch(self) -> int:
        """The epoch at the last ``cycle`` of this connection that gave leases; 0 before the first.

        An id that was added before a message was leased is behind the epoch that this lease came
        with [the_epoch_travels_with_the_claim].
        """
        ...

    def add(self, task_ids: Sequence[str], ttl_s: float) -> list[str]:
        """Remember ids for ``ttl_s``, from now on [revoked_ids_are_remembered].

        Gives those of them whose message a consumer has leased at this moment: they may run, or
        have run [what_is_leased_is_told].
        """
        ...

    def since(self, epoch: int) -> tuple[int, list[str]]:
        """The present epoch, and the ids that were added after ``epoch``; 0 gives all of them.

        Ids whose time is over are forgotten by a sweep [revoked_ids_are_forgotten_in_time].
        """
        ...
