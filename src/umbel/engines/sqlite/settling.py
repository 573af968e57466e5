"""What becomes of leases: each settlement guarded first, then all of its effects.

Everything here runs inside a transaction that somebody else began, after the consumer was found to
be enlisted. The guard is the statement that moves the message: where it finds no row, the lease was
lost or settled, and nothing else of the settlement happens.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from umbel.engines.sqlite.claiming import Holder
from umbel.engines.sqlite.joins import Joins
from umbel.engines.sqlite.messages import Arrivals
from umbel.engines.sqlite.queries import SQL
from umbel.model.record import Document
from umbel.model.settlement import Fate, Settlement

_STATEMENTS = {
    Fate.DONE: SQL["settle_done"],
    Fate.REQUEUE: SQL["settle_requeue"],
    Fate.PARK: SQL["settle_park"],
    Fate.DEAD: SQL["settle_done"],
    Fate.RETURN: SQL["settle_return"],
    Fate.BEGUN: SQL["settle_begun"],
}


class Settler:
    """Settles the leases of one consumer, within one transaction."""

    def __init__(
        self,
        sql: sqlite3.Connection,
        holder: Holder,
        arrivals: Arrivals,
        now: float,
        *,
        keeps_results: bool,
    ) -> None:
        self._sql = sql
        self._holder = holder
        self._arrivals = arrivals
        self._now = now
        # False: results are elsewhere, or disabled; whoever settles has seen to them.
        self._keeps_results = keeps_results
        self._joins = Joins(sql, now)
        self.stored: list[str] = []  # task ids, to be told to who watches them

    def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """One answer per settlement."""
        return [self._settle(settlement) for settlement in settlements]

    def _settle(self, settlement: Settlement) -> bool:
        if not self._move(settlement):
            return False
        self._arrivals.follow(settlement.messages)
        if self._keeps_results:
            if settlement.documents:
                put(self._sql, settlement.documents, self._now)
                self.stored += [document.task_id for document in settlement.documents]
            self._advance_joins(settlement)
        return True

    def _move(self, settlement: Settlement) -> bool:
        """The message itself; False where the lease is not ours (any more)."""
        fate = settlement.fate
        lease: dict[str, object] = {"owner": self._holder.id, "token": settlement.token}
        facts = lease
        if fate is Fate.PARK:
            facts = {**lease, "due": settlement.due or 0.0}
        elif fate is Fate.DEAD:
            grave = {**lease, "now": self._now, "cause": settlement.cause}
            self._sql.execute(SQL["bury"], grave)
        elif fate is Fate.REQUEUE or fate is Fate.RETURN:
            self._note_return(lease)
        return self._sql.execute(_STATEMENTS[fate], facts).rowcount == 1

    def _note_return(self, lease: dict[str, object]) -> None:
        row = self._sql.execute(SQL["queue_of_lease"], lease).fetchone()
        if row is not None:
            self._arrivals.returned(row[0])

    def _advance_joins(self, settlement: Settlement) -> None:
        # Sizes and growths before parts: a join must not look complete in between.
        claims = self._joins.open(settlement.opens)
        self._joins.grow(settlement.grows)
        claims += self._joins.count(settlement.parts)
        for claim in claims:
            self._arrivals.claim(claim)
        self._joins.close(settlement.closes)


def put(sql: sqlite3.Connection, documents: Sequence[Document], now: float) -> None:
    """Store records; a SUCCESS is never overwritten."""
    sql.executemany(
        SQL["put_record"],
        [
            (task_id, status, now + ttl_s if ttl_s else None, data)
            for task_id, status, data, ttl_s in documents
        ],
    )
