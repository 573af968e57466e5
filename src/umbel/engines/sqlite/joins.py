"""Counting joins, inside whatever transaction settles or publishes.

A part counts once, by its place and task. The settlement that completes a join claims it
(``state`` 0 to 1) in the same transaction, so exactly one does.
"""

from __future__ import annotations

from collections.abc import Sequence

from umbel.engines.sqlite.database import Database
from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening, JoinPart

COUNTING, CLAIMED, CLOSED = 0, 1, 2
# SQLite's largest integer: parts without a place come last.
NOWHERE = 2**63 - 1


def open_joins(database: Database, openings: Sequence[JoinOpening], now: float) -> None:
    """Say how many parts complete each join."""
    for opening in openings:
        database.run("open_join", opening.group_id, opening.size, now)


def grow_joins(database: Database, growths: Sequence[JoinGrowth], now: float) -> None:
    """Wait for more parts."""
    for growth in growths:
        database.run("grow_join", growth.group_id, growth.by, now)


def count_part(database: Database, part: JoinPart, now: float) -> bool:
    """Count a part, if the join is not closed and has not seen it; whether it was new."""
    database.run("touch_join", part.group_id, now)
    (state,) = database.run("join_state", part.group_id).fetchone()
    if state == CLOSED:
        return False
    place = NOWHERE if part.position is None else part.position
    added = database.run("add_part", part.group_id, place, part.task_id, part.part).rowcount
    if added:
        database.run("count_part", part.group_id)
    return bool(added)


def claim(database: Database, group_id: str) -> bool:
    """Claim a join if it is complete and nobody has."""
    return database.run("claim_join", group_id).rowcount == 1


def close_joins(database: Database, closings: Sequence[JoinClosing], now: float) -> None:
    """Nobody is to claim these again."""
    for closing in closings:
        database.run("close_join", now, closing.group_id)
        database.run("forget_parts", closing.group_id)
