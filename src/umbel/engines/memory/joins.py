"""Joins in memory: opened, grown, counted, claimed, closed. See ``umbel.model.join``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening, JoinPart
from umbel.model.message import Message

_OPENING = "opening"
# A member without a position sorts last.
_LAST = 1 << 62


class _Join:
    def __init__(self) -> None:
        self.size: int | None = None
        self.grown = 0
        self.parts: dict[tuple[int, str], bytes] = {}
        # The claim of the first part: whoever opens the join may find it complete.
        self.claim: Callable[[], Message] | None = None
        self.claimed_by: object = None  # the key of the part that completed it, or ``_OPENING``
        self.is_closed = False

    @property
    def is_complete(self) -> bool:
        return self.size is not None and len(self.parts) >= self.size + self.grown


class Joins:
    """All joins of a house; called with its lock held."""

    def __init__(self) -> None:
        self._joins: dict[str, _Join] = {}

    def open(
        self, openings: Iterable[JoinOpening], *, is_repeatable: bool = False
    ) -> list[Message]:
        """Say the sizes; gives the claims of joins whose parts were all there already."""
        claims = []
        for opening in openings:
            join = self._join(opening.group_id)
            if not join.is_closed:
                join.size = opening.size
                if join.claim is not None:
                    claims += _claimed(join, join.claim, _OPENING, is_repeatable=is_repeatable)
        return claims

    def grow(self, growths: Iterable[JoinGrowth], beside: Sequence[JoinPart] = ()) -> None:
        """Members added others; not again where the part ``beside`` it was counted before."""
        counted = {part.group_id for part in beside} - {
            part.group_id for part in beside if _key(part) not in self._join(part.group_id).parts
        }
        for growth in growths:
            if growth.group_id not in counted:
                self._join(growth.group_id).grown += growth.by

    def count(self, parts: Iterable[JoinPart], *, is_repeatable: bool = False) -> list[Message]:
        """Members have ended; gives the claims of joins that are complete now."""
        claims = []
        for part in parts:
            join = self._join(part.group_id)
            is_new = _key(part) not in join.parts
            if join.is_closed or not (is_new or is_repeatable):
                continue
            join.parts.setdefault(_key(part), part.part)
            join.claim = join.claim or part.claim
            claims += _claimed(join, part.claim, _key(part), is_repeatable=is_repeatable)
        return claims

    def close(self, closings: Iterable[JoinClosing]) -> None:
        """The body was sent, or failed."""
        for closing in closings:
            join = self._join(closing.group_id)
            join.is_closed = True
            join.parts.clear()

    def parts(self, group_id: str) -> list[bytes]:
        """The parts, in order."""
        join = self._joins.get(group_id)
        if join is None:
            return []
        found = sorted((position, data) for (position, _), data in join.parts.items())
        return [data for _, data in found]

    def _join(self, group_id: str) -> _Join:
        return self._joins.setdefault(group_id, _Join())


def _claimed(
    join: _Join, claim: Callable[[], Message], by: object, *, is_repeatable: bool
) -> list[Message]:
    is_again = is_repeatable and join.claimed_by == by
    if not join.is_complete or (join.claimed_by is not None and not is_again):
        return []
    join.claimed_by = by
    return [claim()]


def _key(part: JoinPart) -> tuple[int, str]:
    return (_LAST if part.position is None else part.position), part.task_id
