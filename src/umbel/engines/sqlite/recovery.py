"""What becomes of the messages of consumers that are gone.

Everything here runs inside a transaction that somebody else began.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from umbel.engines.sqlite.messages import Arrivals
from umbel.engines.sqlite.queries import SQL
from umbel.model.history import MOST_BYTES, WITH_ITS_WORKER, with_death
from umbel.model.lease import Loss
from umbel.ports.broker import SweepPolicy

# Due messages that one sweep moves at most at a time; the rest follows in the next round.
FIRE_BATCH = 1000


def count_losses(
    sql: sqlite3.Connection,
    consumer: tuple[int, str],
    losses: Sequence[Loss],
    policy: SweepPolicy,
    now: float,
) -> int:
    """Move what ran in a process that died into the lane, counted and perhaps judged."""
    owner, name = consumer
    moved = 0
    for loss in losses:
        row = sql.execute(SQL["held"], (owner, loss.token)).fetchone()
        if row is None:
            continue
        message_id, deliveries, worker_losses, begun, verdict, tries, history = row
        if verdict is None:
            deliveries += loss.counted
            verdict = loss.verdict
        else:
            tries += loss.counted
        if verdict is None and begun:
            verdict = policy.begun
        if verdict is None and not loss.counted:
            # Nothing is held against it: it goes back with the bystanders.
            continue
        # The first loss with a whole worker is not counted, but it may have been a run.
        if verdict is None and deliveries + min(worker_losses, 1) >= policy.max_deliveries:
            verdict = policy.poison
        history = with_death(history, now, name, loss.how)
        facts = (deliveries, verdict, tries, history, message_id)
        moved += sql.execute(SQL["count_loss"], facts).rowcount
    return moved


def return_rest(sql: sqlite3.Connection, owner: int, begun_verdict: bytes | None) -> int:
    """Give back what had not begun, uncounted; what had begun is judged."""
    judged = sql.execute(SQL["judge_begun"], {"owner": owner, "verdict": begun_verdict}).rowcount
    return judged + sql.execute(SQL["return_all"], (owner,)).rowcount


def note_queues(sql: sqlite3.Connection, owner: int, arrivals: Arrivals) -> None:
    """Which queues get something back; before it is moved."""
    for queue, number in sql.execute(SQL["queues_of_owner"], (owner,)).fetchall():
        arrivals.returned(queue, number)


def give_up(
    sql: sqlite3.Connection, consumer: tuple[int, str], policy: SweepPolicy, now: float
) -> int:
    """Make suspects of everything that a lost worker's consumer held."""
    owner, name = consumer
    facts = {
        "owner": owner,
        "death": with_death("", now, name, WITH_ITS_WORKER),
        "most_bytes": MOST_BYTES,
        "begun": policy.begun,
        "poison": policy.poison,
        "max_deliveries": policy.max_deliveries,
    }
    return sql.execute(SQL["suspect_all"], facts).rowcount


def fire_due(sql: sqlite3.Connection, now: float, arrivals: Arrivals) -> bool:
    """Move due messages to their queues, in order of their time; True if more are due."""
    due = sql.execute(SQL["due"], (now, FIRE_BATCH)).fetchall()
    if not due:
        return False
    (last,) = sql.execute(SQL["last_id"]).fetchone()
    sql.executemany(SQL["fire"], [(last + place, row[0]) for place, row in enumerate(due, start=1)])
    for _, queue in due:
        arrivals.returned(queue)
    return len(due) == FIRE_BATCH
