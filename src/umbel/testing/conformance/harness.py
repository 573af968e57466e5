"""What a conformance case needs of an engine under test, and short words for the values it sends.

An engine with a clock of its own (a server) leaves ``now`` and ``advance`` as they are: time really
passes. One whose clock can be given overrides both, and the cases take no time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import count

from umbel.model.clock import monotonic_s, unix_s
from umbel.model.join import JOIN_TASK, JoinPart
from umbel.model.lease import Lease
from umbel.model.message import Message
from umbel.model.record import Document
from umbel.model.settlement import Settlement
from umbel.ports.broker import Broker, SweepPolicy
from umbel.ports.bus import Listener, Notice
from umbel.ports.engine import Pair
from umbel.ports.store import Store

POISON = b'{"kind": "WorkerLost", "text": "poison", "args": []}'
BEGUN = b'{"kind": "WorkerLost", "text": "begun", "args": []}'

_numbers = count(1)


class Connected:
    """A pair of which both halves are there."""

    def __init__(self, pair: Pair) -> None:
        assert pair.broker is not None, "the harness gave no broker"
        assert pair.store is not None, "the harness gave no store"
        self.pair = pair
        self.broker: Broker = pair.broker
        self.store: Store = pair.store

    def close(self) -> None:
        """End both connections."""
        self.broker.close()
        self.store.close()


class Harness:
    """An engine under test: one server, file or name, empty at the beginning of each case."""

    # The lease and the interval of sweeps in the cases. Long enough for a loaded machine where time
    # really passes: a sweep that comes later than two intervals recovers nobody.
    lease_s = 1.0
    interval_s = 0.5

    def __init__(self) -> None:
        self._opened: list[Connected] = []

    def connect(self, *, is_atomic: bool) -> Pair:
        """New connections. Not atomic: the broker is not told of the store (another server)."""
        raise NotImplementedError

    def now(self) -> float:
        """Unix seconds, by the engine's clock."""
        return unix_s()

    def advance(self, seconds: float) -> None:
        """Let time pass for the engine."""
        threading.Event().wait(seconds)

    def open(self) -> Connected:
        """A pair that settles atomically, closed at the end of the case."""
        return self._keep(self.connect(is_atomic=True))

    def open_apart(self) -> Connected:
        """A broker and a store that do not know each other."""
        return self._keep(self.connect(is_atomic=False))

    def close(self) -> None:
        """Close what was opened; the fixture calls it last."""
        while self._opened:
            self._opened.pop().close()

    @property
    def policy(self) -> SweepPolicy:
        """How the cases sweep."""
        return SweepPolicy(
            lease_s=self.lease_s,
            interval_s=self.interval_s,
            max_deliveries=5,
            poison=POISON,
            begun=BEGUN,
        )

    def sweep_for(
        self, seconds: float, broker: Broker, renewed: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """Sweep at the usual interval, as a living worker does; gives who was given up."""
        given_up: list[str] = []
        step_s = self.interval_s / 2
        until = self.now() + seconds
        while True:
            if renewed:
                broker.renew(renewed, self.lease_s)
            given_up += broker.sweep(self.policy).consumers
            if self.now() >= until:
                return tuple(given_up)
            self.advance(step_s)

    def lose(self, consumer: str, broker: Broker, renewed: Sequence[str] = ()) -> None:
        """Let a consumer's lease pass, while sweeps come regularly."""
        given_up = self.sweep_for(self.lease_s + 2 * self.interval_s, broker, renewed)
        assert consumer in given_up

    def _keep(self, pair: Pair) -> Connected:
        connected = Connected(pair)
        self._opened.append(connected)
        return connected


def message(
    name: str = "m", queue: str = "q", *, priority: int = 0, due: float | None = None
) -> Message:
    """A message whose envelope is its name."""
    number = next(_numbers)
    return Message(
        id=f"id-{name}-{number}",
        task="tasks.any",
        queue=queue,
        priority=priority,
        tag=f"tag-{name}-{number}",
        raw=name.encode(),
        due=due,
    )


def messages(names: str, queue: str = "q", *, priority: int = 0) -> list[Message]:
    """One message per word."""
    return [message(name, queue, priority=priority) for name in names.split()]


def document(
    task_id: str, status: str = "SUCCESS", data: bytes = b"{}", ttl_s: float | None = 3600.0
) -> Document:
    """A record."""
    return Document(task_id, status, data, ttl_s)


def part(group_id: str, position: int | None, task_id: str | None = None) -> JoinPart:
    """The part of one member; its claim goes to the queue ``joins``."""
    task_id = task_id or f"member-{position}"
    number = next(_numbers)
    claim = Message(
        id=f"join-{group_id}-{number}",
        task=JOIN_TASK,
        queue="q",
        priority=0,
        tag=f"tag-{group_id}-{number}",
        raw=f"join {group_id}".encode(),
    )
    return JoinPart(
        group_id=group_id,
        task_id=task_id,
        position=position,
        part=f"part-{position}".encode(),
        claim=lambda: claim,
    )


def names(leases: Sequence[Lease]) -> str:
    """The envelopes of leases, in order, as words."""
    return " ".join(lease.raw.decode() for lease in leases)


def lease(
    broker: Broker, consumer: str, limit: int = 10, queues: Sequence[str] = ("q",)
) -> list[Lease]:
    """Claim, and settle nothing."""
    return broker.cycle(consumer, (), queues, limit)[1]


def drain(broker: Broker, consumer: str, queues: Sequence[str] = ("q",)) -> list[Lease]:
    """Lease and settle until the queues are empty; a join that completes is among them."""
    found: list[Lease] = []
    batch = lease(broker, consumer, 10, queues)
    while batch:
        found += batch
        batch = broker.cycle(consumer, [Settlement(held.token) for held in batch], queues, 10)[1]
    return found


def settle(broker: Broker, consumer: str, *settlements: Settlement) -> list[bool]:
    """Settle, and claim nothing."""
    return broker.cycle(consumer, settlements, ("q",), 0)[0]


def heard(listener: Listener, number: int, within_s: float = 10.0) -> list[Notice]:
    """So many notices, or what came within a bounded time."""
    found: list[Notice] = []
    limit = monotonic_s() + within_s
    while len(found) < number and monotonic_s() < limit:
        found += listener.arrived(limit - monotonic_s())
    return found


def eventually(is_so: Callable[[], bool], within_s: float = 10.0) -> bool:
    """Whether something becomes so within a bounded time."""
    limit = monotonic_s() + within_s
    while not is_so():
        if monotonic_s() > limit:
            return False
        threading.Event().wait(0.005)
    return True
