"""The broker in the file: each method of the door is one transaction, then a word to the sleepers.

A crash inside a transaction leaves the file as it was before; one between the commit and the word
costs a sleeper half a second (``wakeup.py``). The transactions are made of the steps in
``messages``, ``claiming``, ``settling``, ``joins`` and ``recovery``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress

from umbel.engines.never_ahead import NeverAhead
from umbel.engines.placing import Steps
from umbel.engines.sqlite import claiming, recovery
from umbel.engines.sqlite.bus import SqliteBus, forget_old
from umbel.engines.sqlite.connection import Connection
from umbel.engines.sqlite.graveyard import SqliteGraveyard
from umbel.engines.sqlite.joins import Joins
from umbel.engines.sqlite.liveness import Liveness
from umbel.engines.sqlite.location import Location
from umbel.engines.sqlite.messages import Arrivals
from umbel.engines.sqlite.queries import SQL
from umbel.engines.sqlite.revocations import SqliteRevocations
from umbel.engines.sqlite.settling import Settler
from umbel.engines.sqlite.wakeup import POLL_S, Board, Seat, sleep
from umbel.model.clock import monotonic_s, unix_s
from umbel.model.errors import LeaseLost
from umbel.model.join import JoinOpening
from umbel.model.lease import Lease, Loss
from umbel.model.message import Message
from umbel.model.settlement import Settlement
from umbel.ports.broker import Depth, Held, SweepPolicy, Swept


class SqliteBroker(NeverAhead):
    """See ``umbel.ports.broker.Broker`` for what each method promises."""

    # Random ids as keys of 300,000 records cost 3.2 times as much.
    ordered_ids = True
    handover = None  # nobody else reads this file

    def __init__(
        self,
        location: Location,
        steps: Steps,
        *,
        keeps_results: bool,
        clock: Callable[[], float] = unix_s,
    ) -> None:
        self.url = location.url
        self._keeps_results = keeps_results
        self._steps = steps
        self._clock = clock
        self._connection = Connection(location)
        self._board = Board(location.path)
        self.graveyard = SqliteGraveyard(self._connection, self._board)
        self._liveness = Liveness(location.path)
        self.revocations = SqliteRevocations(self._connection, clock)
        self.bus = SqliteBus(self._connection, self._board, clock)
        self._seat: Seat | None = None
        # The worker that consumes here: a suspect that its siblings keep it from is no work.
        self._worker = ""
        self._turn = 0  # of the queues that share a step

    # - Sending

    def publish(self, messages: Sequence[Message], openings: Sequence[JoinOpening] = ()) -> None:
        """Store messages and open joins, in one durable transaction."""
        if openings and not self._keeps_results:
            raise ValueError(
                f"joins can't be opened at {self.url}: its results are kept elsewhere; open them "
                f"at the result store"
            )
        if not messages and not openings:
            return
        now = self._clock()
        with self._connection.writing(durably=True) as sql:
            arrivals = Arrivals(sql, self._steps, now)
            for claim in Joins(sql, now).open(openings):
                arrivals.claim(claim)
            arrivals.publish(messages)
        self._tell(arrivals, (), ())

    def bind(self, exchange: str, kind: str, queue: str, routing_key: str) -> None:
        """Remember a binding."""
        with self._connection.writing(durably=True) as sql:
            sql.execute(SQL["bind"], (exchange, kind, routing_key, queue))

    # - Consumers

    def enlist(self, consumer: str, lease_s: float) -> None:
        """Hold the worker's lock, then make the consumer known."""
        self._worker = worker_of(consumer)
        self._liveness.hold(self._worker)
        facts = {
            "name": consumer,
            "worker": self._worker,
            "deadline": self._clock() + lease_s,
        }
        with self._connection.writing() as sql:
            sql.execute(SQL["enlist"], facts)

    def renew(self, consumers: Sequence[str], lease_s: float) -> list[str]:
        """Move deadlines; gives who is not enlisted."""
        deadline = self._clock() + lease_s
        for consumer in consumers:
            # The supervisor's lock: it outlives the children, and recovers them itself.
            self._liveness.hold(worker_of(consumer))
        lost = []
        with self._connection.writing() as sql:
            for consumer in consumers:
                facts = {"name": consumer, "deadline": deadline}
                if sql.execute(SQL["renew"], facts).rowcount == 0:
                    lost.append(consumer)
        return lost

    def retire(self, consumer: str) -> int:
        """Give back, and forget."""
        with self._connection.writing() as sql:
            holder = claiming.find(sql, consumer)
            if holder is None:
                return 0
            arrivals = Arrivals(sql, self._steps, self._clock())
            recovery.note_queues(sql, holder.id, arrivals)
            given_back = recovery.return_rest(sql, holder.id, None)
            sql.execute(SQL["forget_consumer"], (holder.id,))
        self._board.tell_messages(arrivals.queues)
        return given_back

    # - Leases

    def cycle(
        self,
        consumer: str,
        settlements: Sequence[Settlement],
        queues: Sequence[str],
        limit: int,
        *,
        waits: bool = False,
    ) -> tuple[list[bool], list[Lease]]:
        """Settle and lease in one transaction; where there is nothing to write, in none."""
        self._worker = worker_of(consumer)
        if not settlements and not (limit and self._has_work(queues)):
            with self._connection.reading() as sql:
                if claiming.find(sql, consumer) is None:
                    raise _lost(consumer)
            return [], []
        now = self._clock()
        with self._connection.writing() as sql:
            holder = claiming.find(sql, consumer)
            if holder is None:
                raise _lost(consumer)
            arrivals = Arrivals(sql, self._steps, now)
            settler = Settler(sql, holder, arrivals, now, keeps_results=self._keeps_results)
            settled = settler.settle(settlements)
            leases: list[Lease] = []
            if limit > 0:
                if sql.execute(SQL["has_due"], (now,)).fetchone()[0]:
                    recovery.fire_due(sql, now, arrivals)
                leases = claiming.claim(
                    sql, holder, self._in_turn(queues), limit, self._steps.number
                )
            if leases:
                (self.revocations.epoch,) = sql.execute(SQL["revocation_epoch"]).fetchone()
        self._tell(arrivals, settler.stored, leases)
        return settled, leases

    def release(self, consumer: str, tokens: Sequence[int]) -> int:
        """Give back what has not begun."""
        released = 0
        with self._connection.writing() as sql:
            holder = claiming.find(sql, consumer)
            if holder is None:
                return 0
            arrivals = Arrivals(sql, self._steps, self._clock())
            for token in tokens:
                lease = {"owner": holder.id, "token": token}
                row = sql.execute(SQL["queue_of_lease"], lease).fetchone()
                if sql.execute(SQL["release"], (holder.id, token)).rowcount:
                    arrivals.returned(row[0])
                    released += 1
        self._board.tell_messages(arrivals.queues)
        return released

    def workers(self) -> list[str]:
        """Who works here: by lease, and by lock, which is gone with the worker."""
        with self._connection.reading() as sql:
            rows = sql.execute(SQL["consumers"]).fetchall()
        now = self._clock()
        leased = {worker for _, _, worker, deadline in rows if deadline > now}
        dead = self._liveness.dead(leased)
        self._liveness.bury(dead, is_done=False)
        return sorted(leased.difference(dead))

    # - The lost

    def recover(self, consumer: str, losses: Sequence[Loss], policy: SweepPolicy) -> int:
        """Take over from a dead process of this worker."""
        with self._connection.writing() as sql:
            holder = claiming.find(sql, consumer)
            if holder is None:
                return 0
            now = self._clock()
            arrivals = Arrivals(sql, self._steps, now)
            recovery.note_queues(sql, holder.id, arrivals)
            moved = recovery.count_losses(sql, (holder.id, consumer), losses, policy, now)
            moved += recovery.return_rest(sql, holder.id, policy.begun)
            sql.execute(SQL["forget_consumer"], (holder.id,))
        self._board.tell_messages(arrivals.queues)
        return moved

    def sweep(self, policy: SweepPolicy) -> Swept:
        """Give up who has no lease or whose worker holds no lock; fire what is due."""
        now = self._clock()
        dead: dict[str, int] = {}
        is_done = False
        try:
            with self._connection.writing() as sql:
                rows = sql.execute(SQL["consumers"]).fetchall()
                dead = self._liveness.dead({worker for _, _, worker, _ in rows})
                is_late = self._is_late(sql, policy, now)
                if is_late:
                    sql.execute(SQL["renew_all"], (now + policy.lease_s,))
                given_up = [
                    (owner, name)
                    for owner, name, worker, deadline in rows
                    if worker in dead or (deadline <= now and not is_late)
                ]
                arrivals = Arrivals(sql, self._steps, now)
                moved = self._give_up(sql, given_up, policy, arrivals, now)
                sql.execute(SQL["judge_begun_late"], (policy.begun,))
                sql.execute(SQL["forget_revoked"], (now,))
                forget_old(sql, now)
                while recovery.fire_due(sql, now, arrivals):
                    pass
                next_due = sql.execute(SQL["next_due"]).fetchone()[0]
                sql.execute(SQL["note_sweep"], (now,))
            is_done = True
        finally:
            self._liveness.bury(dead, is_done=is_done)
        self._board.tell_messages(arrivals.queues)
        self._liveness.tidy({worker for _, _, worker, _ in rows})
        return Swept(
            consumers=tuple(name for _, name in given_up),
            messages=moved,
            next_due_s=None if next_due is None else max(0.0, next_due - self._clock()),
        )

    def _give_up(
        self,
        sql: sqlite3.Connection,
        consumers: Sequence[tuple[int, str]],
        policy: SweepPolicy,
        arrivals: Arrivals,
        now: float,
    ) -> int:
        moved = 0
        for owner, name in consumers:
            recovery.note_queues(sql, owner, arrivals)
            moved += recovery.give_up(sql, (owner, name), policy, now)
            sql.execute(SQL["forget_consumer"], (owner,))
        return moved

    def _is_late(self, sql: sqlite3.Connection, policy: SweepPolicy, now: float) -> bool:
        row = sql.execute(SQL["last_sweep"]).fetchone()
        return row is None or not now - 2 * policy.interval_s <= row[0] <= now

    # - Waiting

    def wait(self, queues: Sequence[str], timeout_s: float, wake_fd: int | None) -> bool:
        """Arm the seat, look, sleep; again until there is work or the time is up."""
        deadline = monotonic_s() + timeout_s
        seat = self._seated()
        try:
            while True:
                if seat is not None:
                    seat.sleep_for_messages(queues)
                if self._has_work(queues):
                    return True
                left_s = min(deadline - monotonic_s(), self._until_due())
                if deadline <= monotonic_s():
                    return False
                is_told, is_woken = sleep(seat, wake_fd, min(left_s, POLL_S))
                if is_told and seat is not None:
                    seat.drained()
                if is_woken:
                    return self._has_work(queues)
        finally:
            if seat is not None:
                seat.disarm()

    def _has_work(self, queues: Sequence[str]) -> bool:
        facts = {"queues": json.dumps(list(queues)), "worker": self._worker, "now": self._clock()}
        with self._connection.reading() as sql:
            return bool(sql.execute(SQL["has_work"], facts).fetchone()[0])

    def _until_due(self) -> float:
        with self._connection.reading() as sql:
            due = sql.execute(SQL["next_due"]).fetchone()[0]
        return float("inf") if due is None else max(0.0, due - self._clock())

    def _seated(self) -> Seat | None:
        if self._seat is not None and not self._seat.is_valid:
            self._seat.close()
            self._seat = None
        if self._seat is None:
            self._seat = self._board.sit()
        return self._seat

    # - Looking

    def depth(self, queue: str) -> Depth:
        """Counted, not estimated: 65 ms at a million messages."""
        with self._connection.reading() as sql:
            ready, due, leased, lane = sql.execute(SQL["depth"], {"queue": queue}).fetchone()
        return Depth(ready=ready, due=due, leased=leased, lane=lane)

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """Envelopes, in the order in which they are leased."""
        with self._connection.reading() as sql:
            return [raw for (raw,) in sql.execute(SQL["peek"], (queue, limit))]

    def leased(self, consumers: Sequence[str]) -> list[Held]:
        """What consumers hold."""
        found: list[Held] = []
        with self._connection.reading() as sql:
            for name in consumers:
                holder = claiming.find(sql, name)
                if holder is not None:
                    rows = sql.execute(SQL["held_by"], (holder.id,))
                    found += [
                        Held(name, token, raw, deliveries, begun != 0)
                        for token, raw, deliveries, begun in rows
                    ]
        return found

    def due(self, queue: str, limit: int) -> list[tuple[float, bytes]]:
        """What waits for its time, the earliest first."""
        with self._connection.reading() as sql:
            return list(sql.execute(SQL["due_of_queue"], (queue, limit)))

    def purge(self, queue: str) -> int:
        """Delete what is ready or due."""
        with self._connection.writing() as sql:
            ready = sql.execute(SQL["purge_ready"], (queue,)).rowcount
            return ready + sql.execute(SQL["purge_due"], (queue,)).rowcount

    def close(self) -> None:
        """Leave the board, let go of the locks, close the file."""
        if self._seat is not None:
            with suppress(OSError):
                self._seat.close()
            self._seat = None
        self.bus.close()
        self._board.close()
        self._connection.close()
        self._liveness.close()

    # - Within this room

    def _in_turn(self, queues: Sequence[str]) -> Sequence[str]:
        """The queues, another one first each time: none waits for ever behind a busy one."""
        if len(queues) < 2:
            return queues
        self._turn = (self._turn + 1) % len(queues)
        return [*queues[self._turn :], *queues[: self._turn]]

    def _tell(self, arrivals: Arrivals, stored: Sequence[str], leases: Sequence[Lease]) -> None:
        if arrivals.queues:
            # What this consumer has just leased itself needs nobody else.
            for lease in leases:
                arrivals.queues[lease.queue] -= 1
            self._board.tell_messages(+arrivals.queues)
        if arrivals.exchanges:
            self._board.tell_listeners(arrivals.exchanges)
        if stored:
            self._board.tell_records(stored)


def worker_of(consumer: str) -> str:
    """``<worker>.<slot>.<epoch>`` without slot and epoch."""
    return consumer.rsplit(".", 2)[0]


def _lost(consumer: str) -> LeaseLost:
    return LeaseLost(
        f"{consumer} is not enlisted: a sweep gave it up, and what it held runs elsewhere"
    )
