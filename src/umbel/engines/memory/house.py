"""The state behind one ``memory://`` name: where each message is, and every step between places.

Theory of operation. All connections of the process that name it share one house, and each of its
methods is one step under one lock. Nothing here waits, opens or reads a clock that it was not
given, so ten thousand histories can be played in a moment; and what a step does is the same as the
transaction of that name does on SQLite. Whatever can be refused is refused before the first change.
"""

from __future__ import annotations

import heapq
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import NamedTuple

from umbel.engines.memory.entries import Entry
from umbel.engines.memory.joins import Joins
from umbel.engines.memory.notices import Notices
from umbel.engines.placing import Steps, is_bound
from umbel.model.clock import unix_s
from umbel.model.errors import LeaseLost, QueueNotFound
from umbel.model.history import WITH_ITS_WORKER, with_death
from umbel.model.join import JOIN_TASK, JoinOpening
from umbel.model.lease import Lease, Loss
from umbel.model.message import Message
from umbel.model.record import Document
from umbel.model.settlement import Fate, Settlement
from umbel.ports.broker import Depth, Held, SweepPolicy, Swept
from umbel.ports.bus import Notice


class Buried(NamedTuple):
    """A message that will not run."""

    entry: Entry
    cause: str
    died: float


class _Consumer:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.held: dict[int, Entry] = {}


class House:
    """Messages, consumers, records and joins of one name."""

    def __init__(self, clock: Callable[[], float] = unix_s) -> None:
        self.now = clock
        self.lock = threading.RLock()
        # Called, without the lock, after a step that somebody may wait for.
        self.listeners: set[Callable[[], None]] = set()
        self.dead: dict[int, Buried] = {}  # by number, the oldest first
        self.revoked: dict[str, tuple[int, float]] = {}  # task id: epoch, and until when
        self.epoch = 0  # of the last revocation
        self.joins = Joins()
        self.notices = Notices()
        self.bindings: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
        self.records: dict[str, tuple[str, bytes, float | None]] = {}
        self.groups: dict[str, tuple[bytes, float | None]] = {}
        self._deaths = count(1)
        self._places = count(1)
        # For all consumers: one that was lost and enlists again must not meet its old tokens.
        self._tokens = count(1)
        self._ready: dict[tuple[str, int], list[Entry]] = defaultdict(list)
        self._due: list[tuple[float, int, Entry]] = []
        self._lane: list[Entry] = []
        self._consumers: dict[str, _Consumer] = {}
        self._swept: float | None = None

    def tell(self) -> None:
        """Something changed that somebody may wait for."""
        for listener in tuple(self.listeners):
            listener()

    # - Arriving

    def publish(
        self, messages: Sequence[Message], openings: Sequence[JoinOpening], steps: Steps
    ) -> None:
        """Store messages and open joins."""
        placed = [
            (queue, message)
            for message in messages
            if not message.is_fanout
            for queue in self._queues_of(message, is_strict=True)
        ]
        self._say(messages)
        for claim in self.joins.open(openings):
            self._claim(claim, steps)
        self._arrive(placed, steps)

    def follow(self, messages: Iterable[Message], steps: Steps) -> None:
        """Store what a settlement sends; what leads nowhere is a dead letter."""
        placed = []
        messages = tuple(messages)
        self._say(messages)
        for message in messages:
            if message.is_fanout:
                continue
            queues = self._queues_of(message, is_strict=False)
            placed += [(queue, message) for queue in queues]
            if not queues:
                self._bury(Entry(message, "", 0, 0), _unroutable(message))
        self._arrive(placed, steps)

    def _say(self, messages: Iterable[Message]) -> None:
        said = [Notice(m.exchange, m.routing_key, m.raw) for m in messages if m.is_fanout]
        if said:
            self.notices.say(said)

    def _arrive(self, placed: Iterable[tuple[str, Message]], steps: Steps) -> None:
        for queue, message in placed:
            entry = Entry(message, queue, steps.of(message.priority), next(self._places))
            if message.due is not None and message.due > self.now():
                heapq.heappush(self._due, (message.due, entry.place, entry))
            else:
                heapq.heappush(self._ready[queue, entry.step], entry)

    def _claim(self, claim: Message, steps: Steps) -> None:
        entry = Entry(claim, claim.queue, steps.of(claim.priority), next(self._places))
        entry.is_of_lane = True
        self._lane.append(entry)

    def _queues_of(self, message: Message, *, is_strict: bool) -> list[str]:
        if message.queue or not message.exchange:
            return [message.queue]
        bound = {
            queue
            for kind, key, queue in self.bindings[message.exchange]
            if is_bound(kind, key, message.routing_key)
        }
        if not bound and is_strict:
            raise QueueNotFound(_unroutable(message))
        return sorted(bound)

    # - Consumers

    def enlist(self, consumer: str, lease_s: float) -> None:
        """Make known, or renew."""
        deadline = self.now() + lease_s
        self._consumers.setdefault(consumer, _Consumer(deadline)).deadline = deadline

    def renew(self, consumers: Iterable[str], lease_s: float) -> list[str]:
        """Move deadlines; gives who is not enlisted."""
        lost = []
        for name in consumers:
            consumer = self._consumers.get(name)
            if consumer is None:
                lost.append(name)
            else:
                consumer.deadline = self.now() + lease_s
        return lost

    def enlisted(self, name: str) -> _Consumer:
        """The fence. Raises ``LeaseLost``."""
        consumer = self._consumers.get(name)
        if consumer is None:
            raise LeaseLost(
                f"{name} is not enlisted: a sweep gave it up, and what it held runs elsewhere"
            )
        return consumer

    def retire(self, name: str) -> int:
        """Give back, and forget."""
        consumer = self._consumers.pop(name, None)
        if consumer is None:
            return 0
        return self._return_rest(consumer, None)

    def release(self, name: str, tokens: Iterable[int]) -> int:
        """Give back what has not begun."""
        consumer = self._consumers.get(name)
        released = 0
        for token in tokens if consumer is not None else ():
            entry = consumer.held.get(token) if consumer is not None else None
            if consumer is not None and entry is not None and not entry.begun:
                del consumer.held[token]
                self._go_home(entry)
                released += 1
        return released

    def workers(self) -> list[str]:
        """Who has consumers whose lease has not passed."""
        alive = [name for name, one in self._consumers.items() if one.deadline > self.now()]
        return sorted({_worker_of(name) for name in alive})

    def revoke(self, task_ids: Sequence[str], ttl_s: float) -> list[str]:
        """Remember ids; gives those that are leased."""
        self.epoch += 1
        until = self.now() + ttl_s
        self.revoked.update((task_id, (self.epoch, until)) for task_id in task_ids)
        wanted = set(task_ids)
        held = {e.message.id for one in self._consumers.values() for e in one.held.values()}
        return sorted(wanted & held)

    # - Settling

    def settle(
        self, consumer: _Consumer, settlement: Settlement, steps: Steps, *, keeps_results: bool
    ) -> bool:
        """The message, then everything that goes with it; False where the lease is lost."""
        entry = consumer.held.get(settlement.token)
        if entry is None:
            return False
        if settlement.fate is Fate.BEGUN:
            entry.begun = True
        else:
            del consumer.held[settlement.token]
            self._dispose(entry, settlement)
        self.follow(settlement.messages, steps)
        if keeps_results:
            self.put(settlement.documents)
            claims = self.joins.open(settlement.opens)
            self.joins.grow(settlement.grows)
            claims += self.joins.count(settlement.parts)
            for claim in claims:
                self._claim(claim, steps)
            self.joins.close(settlement.closes)
        return True

    def _dispose(self, entry: Entry, settlement: Settlement) -> None:
        match settlement.fate:
            case Fate.REQUEUE:
                entry.is_of_lane = False
                entry.place = next(self._places)
                self._go_home(entry)
            case Fate.RETURN:
                entry.begun = False
                self._go_home(entry)
            case Fate.PARK:
                heapq.heappush(self._due, (settlement.due or 0.0, entry.place, entry))
            case Fate.DEAD:
                self._bury(entry, settlement.cause)
            case _:
                pass

    def _bury(self, entry: Entry, cause: str) -> None:
        self.dead[next(self._deaths)] = Buried(entry, cause, self.now())

    def revive(self, number: int) -> bool:
        """Put a dead letter back, as if never delivered; False where it has no queue."""
        entry = self.dead[number].entry
        if not entry.queue:
            return False
        del self.dead[number]
        fresh = Entry(entry.message, entry.queue, entry.step, next(self._places))
        if entry.message.task == JOIN_TASK:
            fresh.is_of_lane = True
            self._lane.append(fresh)
        else:
            heapq.heappush(self._ready[fresh.queue, fresh.step], fresh)
        return True

    def _go_home(self, entry: Entry) -> None:
        entry.redelivered = True
        if entry.is_of_lane:
            self._lane.append(entry)
        else:
            heapq.heappush(self._ready[entry.queue, entry.step], entry)

    def put(self, documents: Iterable[Document]) -> None:
        """Store records; a SUCCESS is never overwritten."""
        for task_id, status, data, ttl_s in documents:
            there = self.records.get(task_id)
            if there is None or there[0] != "SUCCESS":
                self.records[task_id] = (status, data, self.now() + ttl_s if ttl_s else None)

    # - Leasing

    def claim(self, name: str, queues: Sequence[str], limit: int, steps: Steps) -> list[Lease]:
        """Verdicts, then what was lost with a process, then what is ready; a suspect alone."""
        consumer = self.enlisted(name)
        self.fire_due()
        entries = self._from_lane(queues, limit)
        alone = None if entries else self._suspect(_worker_of(name), queues)
        if alone is not None:
            self._lane.remove(alone)
            entries = [alone]
        else:
            entries += self._take_ready(queues, limit - len(entries), steps)
        leases = []
        for entry in entries:
            token = next(self._tokens)
            consumer.held[token] = entry
            leases.append(entry.leased(token))
        return leases

    def _from_lane(self, queues: Sequence[str], limit: int) -> list[Entry]:
        mine = sorted(entry for entry in self._lane if entry.queue in queues)
        judged = [entry for entry in mine if entry.verdict is not None]
        taken = (judged + [entry for entry in mine if entry.is_lost])[:limit]
        for entry in taken:
            self._lane.remove(entry)
        return taken

    def _suspect(self, worker: str, queues: Sequence[str]) -> Entry | None:
        is_taken = any(
            entry.is_suspect_twice
            for name, consumer in self._consumers.items()
            if _worker_of(name) == worker
            for entry in consumer.held.values()
        )
        found = [
            entry
            for entry in self._lane
            if entry.queue in queues
            and entry.is_suspect
            and not (is_taken and entry.is_suspect_twice)
        ]
        return min(found, default=None)

    def _take_ready(self, queues: Sequence[str], limit: int, steps: Steps) -> list[Entry]:
        taken: list[Entry] = []
        for step in range(steps.number):
            for queue in queues:
                ready = self._ready[queue, step]
                while ready and len(taken) < limit:
                    taken.append(heapq.heappop(ready))
        return taken

    def has_work(self, name: str, queues: Sequence[str], steps: Steps) -> bool:
        """Whether a claim would find anything."""
        if self._due and self._due[0][0] <= self.now():
            return True
        if any(self._ready[queue, step] for queue in queues for step in range(steps.number)):
            return True
        if any(
            entry.queue in queues and (entry.verdict is not None or entry.is_lost)
            for entry in self._lane
        ):
            return True
        return self._suspect(_worker_of(name), queues) is not None

    # - The lost

    def recover(self, name: str, losses: Iterable[Loss], policy: SweepPolicy) -> int:
        """Take over from a dead process."""
        consumer = self._consumers.pop(name, None)
        if consumer is None:
            return 0
        moved = 0
        for loss in losses:
            entry = consumer.held.get(loss.token)
            if entry is None:
                continue
            if entry.verdict is not None:
                entry.tries += loss.counted
            else:
                entry.deliveries += loss.counted
                entry.verdict = _judged(entry, loss, policy)
            if entry.verdict is not None or loss.counted:
                entry.history = with_death(entry.history, self.now(), name, loss.how)
                del consumer.held[loss.token]
                entry.is_of_lane = True
                self._go_home(entry)
                moved += 1
        return moved + self._return_rest(consumer, policy.begun)

    def _return_rest(self, consumer: _Consumer, begun_verdict: bytes | None) -> int:
        for entry in consumer.held.values():
            if entry.begun:
                entry.is_of_lane = True
                entry.verdict = entry.verdict or begun_verdict
            self._go_home(entry)
        return len(consumer.held)

    def sweep(self, policy: SweepPolicy) -> Swept:
        """Give up consumers whose lease has passed, and move what is due."""
        now = self.now()
        last, self._swept = self._swept, now
        given_up: list[str] = []
        if last is None or not now - 2 * policy.interval_s <= last <= now:
            for consumer in self._consumers.values():
                consumer.deadline = now + policy.lease_s
        else:
            given_up = [name for name, c in self._consumers.items() if c.deadline <= now]
        moved = sum(self._give_up(name, policy) for name in given_up)
        for entry in self._lane:
            if entry.begun and entry.verdict is None:
                # Its consumer retired.
                entry.verdict = policy.begun
        for task_id in [name for name, (_, until) in self.revoked.items() if until <= now]:
            del self.revoked[task_id]
        self.fire_due()
        next_due_s = self._due[0][0] - now if self._due else None
        return Swept(tuple(given_up), moved, next_due_s)

    def _give_up(self, name: str, policy: SweepPolicy) -> int:
        consumer = self._consumers.pop(name)
        for entry in consumer.held.values():
            # The first loss is not counted: most of it only stood beside the culprit.
            entry.deliveries += entry.losses > 0
            entry.losses += 1
            entry.tries += entry.verdict is not None
            entry.history = with_death(entry.history, self.now(), name, WITH_ITS_WORKER)
            entry.is_of_lane = True
            if entry.verdict is None and entry.begun:
                entry.verdict = policy.begun
            is_poison = entry.losses > 1 and entry.deliveries + 1 >= policy.max_deliveries
            if entry.verdict is None and is_poison:
                entry.verdict = policy.poison
            self._go_home(entry)
        return len(consumer.held)

    def fire_due(self) -> None:
        """Move what is due to its queue, in order of time."""
        now = self.now()
        while self._due and self._due[0][0] <= now:
            entry = heapq.heappop(self._due)[2]
            entry.place = next(self._places)
            if entry.is_of_lane:
                self._lane.append(entry)
            else:
                heapq.heappush(self._ready[entry.queue, entry.step], entry)

    def next_due(self) -> float | None:
        """When the next message is due."""
        return self._due[0][0] if self._due else None

    # - Looking

    def depth(self, queue: str) -> Depth:
        """How many messages a queue has."""
        return Depth(
            ready=sum(len(ready) for (name, _), ready in self._ready.items() if name == queue),
            due=sum(entry.queue == queue for _, _, entry in self._due),
            leased=sum(
                entry.queue == queue
                for consumer in self._consumers.values()
                for entry in consumer.held.values()
            ),
            lane=sum(entry.queue == queue for entry in self._lane),
        )

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """The next ready envelopes."""
        found = sorted(
            (step, entry)
            for (name, step), ready in self._ready.items()
            if name == queue
            for entry in ready
        )
        return [entry.message.raw for _, entry in found[:limit]]

    def leased(self, consumers: Sequence[str]) -> list[Held]:
        """What consumers hold."""
        return [
            Held(name, token, entry.message.raw, entry.deliveries, entry.begun)
            for name in consumers
            if name in self._consumers
            for token, entry in sorted(self._consumers[name].held.items())
        ]

    def due(self, queue: str, limit: int) -> list[tuple[float, bytes]]:
        """The next due messages of a queue."""
        of_queue = (each for each in self._due if each[2].queue == queue)
        return [(at, entry.message.raw) for at, _, entry in heapq.nsmallest(limit, of_queue)]

    def purge(self, queue: str) -> int:
        """Delete what is ready or due."""
        deleted = 0
        for (name, _), ready in self._ready.items():
            if name == queue:
                deleted += len(ready)
                ready.clear()
        kept = [due for due in self._due if due[2].queue != queue]
        deleted += len(self._due) - len(kept)
        heapq.heapify(kept)
        self._due = kept
        return deleted


def _judged(entry: Entry, loss: Loss, policy: SweepPolicy) -> bytes | None:
    if loss.verdict is not None:
        return loss.verdict
    if entry.begun:
        return policy.begun
    # The first loss with a whole worker is not counted, but it may have been a run.
    if loss.counted and entry.deliveries + min(entry.losses, 1) >= policy.max_deliveries:
        return policy.poison
    return None


def _worker_of(consumer: str) -> str:
    return consumer.rsplit(".", 2)[0]


def _unroutable(message: Message) -> str:
    return (
        f"no queue is bound to exchange {message.exchange!r} for the routing key "
        f"{message.routing_key!r}; declare one in task_queues"
    )
