"""The revoked tasks that a child knows of: asked for once for each epoch that a claim brings.

While nothing is revoked this costs a comparison a claim, and one look into a set a task. Ids are
kept after their time at the broker is over, until there are many: an id is never used again.
"""

from __future__ import annotations

from umbel.ports.revocations import Revocations

# Beyond so many (some 10 MB) all is forgotten and what the broker still has is asked for.
_MANY = 100_000


class Revoked:
    """A container of task ids."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._epoch = 0
        self._ids: set[str] = set()

    @property
    def is_outdated(self) -> bool:
        """Whether the last claim has brought an epoch that is not known here."""
        return self._revocations.epoch != self._epoch

    def learn(self) -> None:
        """Ask the broker for what is new."""
        told = self._revocations.epoch
        # A smaller one: the broker has lost its past, and counts anew.
        since = self._epoch if self._epoch <= told and len(self._ids) < _MANY else 0
        _, ids = self._revocations.since(since)
        if since == 0:
            self._ids.clear()
        self._ids.update(ids)
        # The claim's, not the present one: what came between is told again, and never missed.
        self._epoch = told

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._ids
