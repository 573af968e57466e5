"""Joins in the file: opened, grown, counted, claimed, closed.

Everything here runs inside a transaction that somebody else began, so that the step that counts the
last part is the step that claims the join. A claim is given once; only ``is_repeatable`` counts (a
store beside a broker on another server, which may be killed before the claim was published) give it
again until the join is closed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from umbel.engines.sqlite.queries import SQL
from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening, JoinPart
from umbel.model.message import Message

# A member without a position sorts last.
_LAST = 1 << 62
_OPEN_TTL_S = 30 * 24 * 3600.0
# For members that are delivered again after the body was sent.
_CLOSED_TTL_S = 24 * 3600.0

_COUNTING, _CLAIMED, _CLOSED = 0, 1, 2


class _Progress(NamedTuple):
    size: int | None
    grown: int
    counted: int
    state: int

    def is_complete(self, claimable: tuple[int, ...]) -> bool:
        """All parts are there, and the join may be claimed."""
        return (
            self.size is not None
            and self.counted >= self.size + self.grown
            and self.state in claimable
        )


class Joins:
    """The joins that one transaction touches."""

    def __init__(self, sql: sqlite3.Connection, now: float, *, is_repeatable: bool = False) -> None:
        self._sql = sql
        self._expires = now + _OPEN_TTL_S
        self._closed_expires = now + _CLOSED_TTL_S
        self._is_repeatable = is_repeatable
        self._claimable = (_COUNTING, _CLAIMED) if is_repeatable else (_COUNTING,)

    def open(self, openings: Iterable[JoinOpening]) -> list[Message]:
        """Say the sizes; gives the claims of joins whose parts were all there already."""
        claims = []
        for opening in openings:
            self._sql.execute(
                SQL["open_join"],
                {"group_id": opening.group_id, "size": opening.size, "expires": self._expires},
            )
            claims += self._kept_claim(opening.group_id)
        return claims

    def grow(self, growths: Iterable[JoinGrowth], beside: Sequence[JoinPart] = ()) -> None:
        """Members added others. Call it before ``count``.

        ``beside``: the parts of the same call, where nothing else guards against a repetition. A
        growth whose part was counted before was made before.
        """
        if not growths:
            return
        counted = {part.group_id for part in beside} - {
            part.group_id for part in beside if not self._has(part)
        }
        for growth in growths:
            if growth.group_id not in counted:
                self._sql.execute(
                    SQL["grow_join"],
                    {"group_id": growth.group_id, "by": growth.by, "expires": self._expires},
                )

    def count(self, parts: Iterable[JoinPart]) -> list[Message]:
        """Members have ended; gives the claims of joins that are complete now."""
        claims = []
        for part in parts:
            progress = self._counted(part)
            if progress is None:
                continue
            if progress.is_complete(self._claimable):
                if self._may_claim(part, progress):
                    claims.append(part.claim())
            elif progress.size is None:
                self._keep(part.claim(), part.group_id)
        return claims

    def close(self, closings: Iterable[JoinClosing]) -> None:
        """The body was sent, or failed."""
        for closing in closings:
            self._sql.execute(
                SQL["close_join"],
                {"group_id": closing.group_id, "expires": self._closed_expires},
            )
            self._sql.execute(SQL["forget_parts"], (closing.group_id,))

    def _counted(self, part: JoinPart) -> _Progress | None:
        """How far the join is with this part; None where that changes nothing."""
        row = (*_key(part), part.part)
        if self._sql.execute(SQL["insert_part"], row).rowcount == 1:
            facts = {"group_id": part.group_id, "expires": self._expires}
            progress = _Progress(*self._sql.execute(SQL["count_part"], facts).fetchall()[0])
            if progress.state == _CLOSED:
                # A member that is delivered again after the end leaves nothing behind.
                self._sql.execute(SQL["forget_parts"], (part.group_id,))
                return None
            return progress
        return self._progress(part.group_id) if self._is_repeatable else None

    def _may_claim(self, part: JoinPart, progress: _Progress) -> bool:
        """Claim a join that is complete.

        The claim is published in the step that acknowledges the member. So where a crash came
        between this transaction and that step, this member is delivered again; another one that is
        delivered again must not send the body a second time.
        """
        if not self._is_repeatable:
            self._sql.execute(SQL["claim_join"], (part.group_id,))
            return True
        _, position, task_id = _key(part)
        member = f"{position}:{task_id}"
        if progress.state == _COUNTING:
            facts = {"member": member, "group_id": part.group_id}
            self._sql.execute(SQL["claim_join_for"], facts)
            return True
        return bool(self._sql.execute(SQL["claimer"], (part.group_id,)).fetchone() == (member,))

    def _has(self, part: JoinPart) -> bool:
        return self._sql.execute(SQL["has_part"], _key(part)).fetchone() is not None

    def _progress(self, group_id: str) -> _Progress | None:
        row = self._sql.execute(SQL["join"], (group_id,)).fetchone()
        return None if row is None else _Progress(*row)

    def _keep(self, claim: Message, group_id: str) -> None:
        facts = json.dumps([claim.id, claim.task, claim.queue, claim.priority, claim.tag])
        self._sql.execute(SQL["keep_claim"], (facts, claim.raw, group_id))

    def _kept_claim(self, group_id: str) -> list[Message]:
        kept = self._sql.execute(SQL["kept_claim"], (group_id,)).fetchone()
        progress = self._progress(group_id)
        if kept is None or progress is None or not progress.is_complete(self._claimable):
            return []
        self._sql.execute(SQL["claim_join"], (group_id,))
        task_id, task, queue, priority, tag = json.loads(kept[0])
        return [Message(task_id, task, queue, priority, tag, kept[1])]


def _key(part: JoinPart) -> tuple[str, int, str]:
    return part.group_id, _LAST if part.position is None else part.position, part.task_id
