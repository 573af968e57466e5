"""What a consumer is given: verdicts, then what was lost with a process, then what is ready.

Everything here runs inside a transaction that somebody else began, after the consumer was found to
be enlisted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from umbel.engines.sqlite.queries import SQL
from umbel.model.clock import monotonic_ns
from umbel.model.lease import Lease

# id, queue, raw, deliveries, redelivered
_Row = tuple[int, str, bytes, int, int]
# ... and verdict, tries, history
_LaneRow = tuple[int, str, bytes, int, int, bytes | None, int, str]


class Holder(NamedTuple):
    """An enlisted consumer."""

    id: int
    worker: str


def find(sql: sqlite3.Connection, consumer: str) -> Holder | None:
    """The consumer, or None where it is not enlisted (any more)."""
    row = sql.execute(SQL["consumer"], (consumer,)).fetchone()
    return None if row is None else Holder(*row)


def claim(
    sql: sqlite3.Connection, holder: Holder, queues: Sequence[str], limit: int, number_of_steps: int
) -> list[Lease]:
    """Lease up to ``limit`` messages of ``queues``; a suspect comes alone."""
    lost: list[_LaneRow] = []
    alone: list[_LaneRow] = []
    if sql.execute(SQL["has_lane"]).fetchone()[0]:
        lost = _lost(sql, queues, limit)
        if not lost:
            alone = _suspect(sql, holder, queues)
    if alone:
        return _leased(sql, holder, alone, [])
    return _leased(sql, holder, lost, _ready(sql, queues, limit - len(lost), number_of_steps))


def _leased(
    sql: sqlite3.Connection, holder: Holder, lost: list[_LaneRow], ready: list[_Row]
) -> list[Lease]:
    # Tokens are unique within the consumer, and grow, over all connections of its process: the
    # time since boot, in nanoseconds, of which a batch takes far fewer than its transaction lasts.
    first = monotonic_ns()
    ids = [row[0] for row in ready]
    if lost:
        ids = [row[0] for row in lost] + ids
    sql.executemany(
        SQL["lease"], [(holder.id, token, number) for token, number in enumerate(ids, first)]
    )
    leases = [
        Lease(token, row[1], row[2], row[3], row[4] != 0, row[5], row[6], row[7])
        for token, row in enumerate(lost, first)
    ]
    leases += [
        Lease(token, queue, raw, deliveries, redelivered != 0)
        for token, (_, queue, raw, deliveries, redelivered) in enumerate(ready, first + len(lost))
    ]
    return leases


def _lost(sql: sqlite3.Connection, queues: Sequence[str], limit: int) -> list[_LaneRow]:
    """Verdicts, then what was lost with its own process, and claims of joins."""
    rows: list[_LaneRow] = []
    for name in ("judged", "lost"):
        for queue in queues:
            if len(rows) < limit:
                facts = {"queue": queue, "limit": limit - len(rows)}
                rows += sql.execute(SQL[name], facts).fetchall()
    return rows


def _suspect(sql: sqlite3.Connection, holder: Holder, queues: Sequence[str]) -> list[_LaneRow]:
    """One message that was lost with a whole worker."""
    for queue in queues:
        facts = {"queue": queue, "worker": holder.worker}
        found: list[_LaneRow] = sql.execute(SQL["suspect"], facts).fetchall()
        if found:
            return found
    return []


def _ready(
    sql: sqlite3.Connection, queues: Sequence[str], limit: int, number_of_steps: int
) -> list[_Row]:
    """Step by step, and within a step queue by queue."""
    rows: list[_Row] = []
    for step in range(number_of_steps):
        for queue in queues:
            if len(rows) < limit:
                rows += sql.execute(SQL["ready"], (queue, step, limit - len(rows))).fetchall()
    return rows
