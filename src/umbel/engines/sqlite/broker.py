"""The broker door on one SQLite file.

Theory of operation: ``schema.sql`` says where a message can be. Each method is one
``BEGIN IMMEDIATE`` transaction, and in each the guard (is this consumer enlisted, does it own this
row) stands before what it guards. A crash anywhere leaves the last committed state. A lease's token
is the row's id.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from umbel.engines.sqlite import joins
from umbel.engines.sqlite.bindings import queues_for
from umbel.engines.sqlite.doorbell import CALLER, WORKER, Ear
from umbel.engines.sqlite.liveness import worker_of
from umbel.engines.sqlite.place import Place
from umbel.model.clock import monotonic_s
from umbel.model.errors import LeaseLost, OperationalError
from umbel.model.join import JoinOpening
from umbel.model.lease import Lease, Loss
from umbel.model.message import Message
from umbel.model.settlement import Fate, Settlement
from umbel.ports.broker import Depth, SweepPolicy, Swept

STEPS = (0, 3, 6, 9)
# How often a waiter looks by itself whether the file has changed: the backstop for lost rings.
LOOK_S = 1.0
# Most due messages that one sweep moves; the rest follows at once.
FIRE_AT_ONCE = 1000


class SqliteBroker:
    """Messages in a file (or in memory)."""

    ordered_ids = True

    def __init__(self, place: Place, *, keeps_results: bool) -> None:
        self.url = place.url
        self._place = place
        self._database = place.database
        self._keeps_results = keeps_results
        self._ear: Ear | None = None
        self._seen_version = -1

    # Sending.

    def publish(self, messages: Sequence[Message], openings: Sequence[JoinOpening] = ()) -> None:
        """See ``ports.broker``."""
        if openings and not self._keeps_results:
            raise ValueError("joins can't be opened here: results are kept elsewhere")
        self._database.sync(is_wanted=True)
        with self._database.transaction():
            joins.open_joins(self._database, openings, self._place.now())
            self._insert(messages)
        self._place.bell.ring(WORKER)

    def bind(self, exchange: str, kind: str, queue: str, routing_key: str) -> None:
        """See ``ports.broker``."""
        if kind not in ("direct", "topic"):
            raise OperationalError(
                f"exchange {exchange!r} is of kind {kind!r}; {self.url} has direct and topic ones"
            )
        with self._database.transaction():
            self._database.run("bind", exchange, kind, queue, routing_key)

    def _insert(self, messages: Sequence[Message]) -> None:
        rows = []
        for message in messages:
            for queue in self._queues_of(message):
                rows.append((queue, step_of(message.priority), message.raw, message.due))
        self._database.run_many("publish", rows)

    def _queues_of(self, message: Message) -> Sequence[str]:
        if message.queue:
            return (message.queue,)
        bindings = self._database.run("bindings", message.exchange).fetchall()
        found = queues_for(message.routing_key, bindings)
        if not found:
            raise OperationalError(
                f"exchange {message.exchange!r} leads to no queue for routing key "
                f"{message.routing_key!r}; declare the queue in task_queues"
            )
        return found

    # Consumers.

    def enlist(self, consumer: str, lease_s: float) -> None:
        """See ``ports.broker``."""
        self._place.liveness.arrive(worker_of(consumer))
        # What a settlement loses to a power cut it loses whole, and the task runs again.
        self._database.sync(is_wanted=False)
        with self._database.transaction():
            deadline = self._place.now() + lease_s
            self._database.run("enlist", consumer, worker_of(consumer), deadline)

    def renew(self, consumers: Sequence[str], lease_s: float) -> list[str]:
        """See ``ports.broker``."""
        for worker in {worker_of(consumer) for consumer in consumers}:
            self._place.liveness.arrive(worker)
        if self._place.liveness.is_by_lock:
            # The kernel keeps the lease: an idle worker writes nothing.
            with self._database.reading():
                return [name for name in consumers if not self._is_enlisted(name)]
        with self._database.transaction():
            deadline = self._place.now() + lease_s
            return [
                name
                for name in consumers
                if self._database.run("renew", deadline, name).rowcount == 0
            ]

    def retire(self, consumer: str) -> int:
        """See ``ports.broker``."""
        with self._database.transaction():
            held = self._database.run("give_back_all", consumer).rowcount
            self._database.run("forget_consumer", consumer)
        if held:
            self._place.bell.ring(WORKER)
        return held

    def _is_enlisted(self, consumer: str) -> bool:
        return self._database.run("is_enlisted", consumer).fetchone() is not None

    # The hot path.

    def cycle(
        self,
        consumer: str,
        settlements: Sequence[Settlement],
        queues: Sequence[str],
        limit: int,
    ) -> tuple[list[bool], list[Lease]]:
        """See ``ports.broker``."""
        claimed: list[Lease] = []
        settled: list[bool] = []
        with self._database.transaction():
            if not self._is_enlisted(consumer):
                raise LeaseLost(f"{consumer} was given up: its lease had passed")
            if settlements:
                settled = self._settle(consumer, settlements, claimed)
            if limit > len(claimed):
                claimed += self._lease(consumer, queues, limit - len(claimed))
        if settlements:
            self._ring_for(settlements)
        return settled, claimed

    def _settle(
        self, consumer: str, settlements: Sequence[Settlement], claimed: list[Lease]
    ) -> list[bool]:
        database = self._database
        now = self._place.now()
        plain = [s for s in settlements if _is_plain(s)]
        held: set[int] = set()
        if plain:
            tokens = json.dumps([s.token for s in plain])
            held = {row[0] for row in database.run("finish_many", consumer, tokens)}
            database.run_many(
                "put_record",
                [
                    (d.task_id, d.status, d.data, now + d.ttl_s if d.ttl_s else None)
                    for s in plain
                    if s.token in held
                    for d in s.documents
                ],
            )
        settled = []
        for settlement in settlements:
            if _is_plain(settlement):
                settled.append(settlement.token in held)
                held.discard(settlement.token)  # the same token twice: the second is refused
            else:
                settled.append(self._settle_one(consumer, settlement, now, claimed))
        return settled

    def _settle_one(
        self, consumer: str, settlement: Settlement, now: float, claimed: list[Lease]
    ) -> bool:
        database = self._database
        token = settlement.token
        if not self._end(consumer, settlement, now):
            return False
        if settlement.documents:
            database.run_many(
                "put_record",
                [
                    (d.task_id, d.status, d.data, now + d.ttl_s if d.ttl_s else None)
                    for d in settlement.documents
                ],
            )
        self._insert(settlement.messages)
        joins.grow_joins(database, settlement.grows, now)
        joins.open_joins(database, settlement.opens, now)
        for part in settlement.parts:
            if joins.count_part(database, part, now) and joins.claim(database, part.group_id):
                message = part.claim
                row = database.run(
                    "lease_join",
                    message.queue,
                    step_of(message.priority),
                    message.raw,
                    consumer,
                ).lastrowid
                claimed.append(Lease(row or token, message.queue, message.raw))
        joins.close_joins(database, settlement.closes, now)
        return True

    def _end(self, consumer: str, settlement: Settlement, now: float) -> bool:
        """Do what the fate says; False where the lease is not held."""
        run, token = self._database.run, settlement.token
        match settlement.fate:
            case Fate.DONE:
                return run("finish", token, consumer).rowcount == 1
            case Fate.REQUEUE:
                if run("requeue", token, consumer).rowcount != 1:
                    return False
                return run("finish", token, consumer).rowcount == 1
            case Fate.PARK:
                return run("park", settlement.due, token, consumer).rowcount == 1
            case Fate.RETURN:
                return run("give_back", token, consumer).rowcount == 1
            case Fate.BEGUN:
                return run("mark_begun", token, consumer).rowcount == 1
            case Fate.DEAD:
                if run("bury", settlement.cause, now, token, consumer).rowcount != 1:
                    return False
                return run("finish", token, consumer).rowcount == 1

    def _ring_for(self, settlements: Sequence[Settlement]) -> None:
        if any(s.documents for s in settlements):
            self._place.bell.ring(CALLER)
        if any(s.messages or s.fate in (Fate.REQUEUE, Fate.RETURN) for s in settlements):
            self._place.bell.ring(WORKER)

    def _lease(self, consumer: str, queues: Sequence[str], limit: int) -> list[Lease]:
        run = self._database.run
        lane = {row[0] for row in run("lane_queues")}
        leases: list[Lease] = []
        for queue in queues:
            if queue not in lane or len(leases) >= limit:
                continue
            leases += _leases(run("lease_verdicts", consumer, queue, limit - len(leases)))
        if leases:
            return leases
        for queue in queues:
            if queue in lane:
                suspect = _leases(run("lease_suspect", consumer, queue, worker_of(consumer)))
                if suspect:
                    return suspect
        if len(queues) == 1:
            return _leases(run("lease_ready", consumer, queues[0], limit))
        for step in STEPS:
            for queue in queues:
                if len(leases) < limit:
                    leases += _leases(
                        run("lease_ready_of_step", consumer, queue, step, limit - len(leases))
                    )
        return leases

    # What supervisors do.

    def release(self, consumer: str, tokens: Sequence[int]) -> int:
        """See ``ports.broker``."""
        held = 0
        with self._database.transaction():
            for token in tokens:
                held += self._database.run("give_back", token, consumer).rowcount
        if held:
            self._place.bell.ring(WORKER)
        return held

    def recover(self, consumer: str, losses: Sequence[Loss], policy: SweepPolicy) -> int:
        """See ``ports.broker``."""
        by_token = {loss.token: loss for loss in losses}
        with self._database.transaction():
            held = self._database.run("owned", consumer).fetchall()
            for token, deliveries, lost, begun in held:
                loss = by_token.get(token)
                if loss is None:
                    self._database.run("give_back", token, consumer)
                    continue
                count = deliveries + (1 if loss.counted else 0)
                verdict = loss.verdict
                if verdict is None and begun:
                    verdict = policy.begun
                if verdict is None and loss.counted and runs(count, lost) >= policy.max_deliveries:
                    verdict = policy.poison
                if verdict is None and not loss.counted:
                    self._database.run("give_back", token, consumer)
                else:
                    self._database.run("to_lane", count, lost, verdict, token, consumer)
            self._database.run("forget_consumer", consumer)
        self._place.bell.ring(WORKER)
        return len(held)

    def sweep(self, policy: SweepPolicy) -> Swept:
        """See ``ports.broker``."""
        now = self._place.now()
        with self._database.reading():
            given_up = self._given_up(policy, now)
            next_due = self._database.run("next_due").fetchone()[0]
        messages = 0
        if given_up:
            with self._database.transaction():
                for consumer in given_up:
                    messages += self._give_up(consumer, policy)
        if next_due is not None and next_due <= now:
            with self._database.transaction():
                fired = self._database.run("fire_due", now, FIRE_AT_ONCE).rowcount
                self._database.run("forget_fired", now, FIRE_AT_ONCE)
                next_due = self._database.run("next_due").fetchone()[0]
            messages += max(fired, 0)
        if messages:
            self._place.bell.ring(WORKER)
        soon = None if next_due is None else max(0.0, next_due - now)
        return Swept(tuple(given_up), messages, soon)

    def _given_up(self, policy: SweepPolicy, now: float) -> list[str]:
        """Consumers whose worker is dead, unless it was the sweep that was away."""
        rows = self._database.run("all_consumers").fetchall()
        liveness = self._place.liveness
        if not liveness.is_by_lock and self._was_away(policy, now):
            with self._database.transaction():
                self._database.run("extend_all", now + policy.lease_s)
            return []
        dead: dict[tuple[str, float], bool] = {}
        for _, worker, deadline in rows:
            key = (worker, 0.0 if liveness.is_by_lock else deadline)
            if key not in dead:
                dead[key] = liveness.is_dead(worker, deadline, now)
        return [
            name
            for name, worker, deadline in rows
            if dead[worker, 0.0 if liveness.is_by_lock else deadline]
        ]

    def _was_away(self, policy: SweepPolicy, now: float) -> bool:
        row = self._database.run("get_fact", "swept").fetchone()
        with self._database.transaction():
            self._database.run("put_fact", "swept", now)
        return row is None or not row[0] <= now <= row[0] + 2 * policy.interval_s

    def _give_up(self, consumer: str, policy: SweepPolicy) -> int:
        held = self._database.run("owned", consumer).fetchall()
        for token, deliveries, lost, begun in held:
            # The first loss is nobody's fault: many were leased, one may have been to blame.
            count = deliveries + (1 if lost else 0)
            verdict = policy.begun if begun else None
            if verdict is None and runs(count, lost + 1) >= policy.max_deliveries:
                verdict = policy.poison
            self._database.run("to_lane", count, lost + 1, verdict, token, consumer)
        self._database.run("forget_consumer", consumer)
        return len(held)

    # Waiting and looking.

    def wait(self, queues: Sequence[str], timeout_s: float, wake_fd: int | None) -> bool:
        """See ``ports.broker``."""
        if self._ear is None or self._ear.pid != os.getpid():
            # Whatever was published before this ear opened is found by one more look.
            self._ear = self._place.bell.ear(WORKER)
            with self._database.reading():
                self._seen_version = self._database.version()
            return True
        deadline = monotonic_s() + timeout_s
        while True:
            left_s = deadline - monotonic_s()
            rang, is_woken = self._ear.listen(min(LOOK_S, left_s), wake_fd)
            if rang:
                return True
            if is_woken or left_s <= LOOK_S:
                return False
            with self._database.reading():
                version = self._database.version()
            if version != self._seen_version:
                self._seen_version = version
                return True

    def depth(self, queue: str) -> Depth:
        """See ``ports.broker``."""
        with self._database.reading():
            return Depth(*self._database.run("depth", queue).fetchone())

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """See ``ports.broker``."""
        with self._database.reading():
            return [row[0] for row in self._database.run("peek", queue, limit)]

    def purge(self, queue: str) -> int:
        """See ``ports.broker``."""
        with self._database.transaction():
            return self._database.run("purge", queue).rowcount

    def close(self) -> None:
        """See ``ports.broker``."""
        if self._ear is not None:
            self._ear.close()
            self._ear = None
        self._place.bell.close()
        if not self._place.is_volatile:
            self._database.close()


def step_of(priority: int) -> int:
    """The priority step that a number belongs to: the largest one that is not above it."""
    return max((step for step in STEPS if step <= priority), default=0)


def runs(deliveries: int, losses: int) -> int:
    """How many runs a message has had: the counted ones, and the first loss, which is not."""
    return deliveries + (1 if losses else 0)


def _is_plain(settlement: Settlement) -> bool:
    return settlement.fate is Fate.DONE and not (
        settlement.messages
        or settlement.parts
        or settlement.opens
        or settlement.grows
        or settlement.closes
    )


def _leases(rows: object) -> list[Lease]:
    # RETURNING gives no order.
    found = sorted(rows, key=lambda row: (row[1], row[0]))  # type: ignore[call-overload]
    return [
        Lease(token, queue, raw, deliveries, bool(redelivered), verdict)
        for token, _step, queue, raw, deliveries, redelivered, verdict in found
    ]
