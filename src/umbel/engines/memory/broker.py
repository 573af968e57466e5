"""The broker door of a house: each method is one step under its lock, then a word to who waits."""

from __future__ import annotations

from collections.abc import Sequence

from umbel.engines.memory.bell import Bell
from umbel.engines.memory.bus import MemoryBus
from umbel.engines.memory.graveyard import MemoryGraveyard
from umbel.engines.memory.house import House
from umbel.engines.memory.revocations import MemoryRevocations
from umbel.engines.never_ahead import NeverAhead
from umbel.engines.placing import Steps
from umbel.model.clock import monotonic_s
from umbel.model.join import JoinOpening
from umbel.model.lease import Lease, Loss
from umbel.model.message import Message
from umbel.model.settlement import Settlement
from umbel.ports.broker import Depth, Held, SweepPolicy, Swept


class MemoryBroker(NeverAhead):
    """See ``umbel.ports.broker.Broker`` for what each method promises."""

    ordered_ids = False
    handover = None  # nobody else reads this process's memory

    def __init__(self, url: str, house: House, steps: Steps, *, keeps_results: bool) -> None:
        self.url = url
        self.graveyard = MemoryGraveyard(house)
        self.revocations = MemoryRevocations(house)
        self.bus = MemoryBus(house)
        self._house = house
        self._steps = steps
        self._keeps_results = keeps_results
        self._bell = Bell(house)
        self._consumer = ""  # that leases here; waiting looks through its eyes

    def publish(self, messages: Sequence[Message], openings: Sequence[JoinOpening] = ()) -> None:
        """Store messages and open joins."""
        if openings and not self._keeps_results:
            raise ValueError(
                f"joins can't be opened at {self.url}: its results are kept elsewhere; open them "
                f"at the result store"
            )
        with self._house.lock:
            self._house.publish(messages, openings, self._steps)
        self._house.tell()

    def bind(self, exchange: str, kind: str, queue: str, routing_key: str) -> None:
        """Remember a binding."""
        with self._house.lock:
            self._house.bindings[exchange].add((kind, routing_key, queue))

    def enlist(self, consumer: str, lease_s: float) -> None:
        """Make a consumer known."""
        with self._house.lock:
            self._house.enlist(consumer, lease_s)

    def renew(self, consumers: Sequence[str], lease_s: float) -> list[str]:
        """Move deadlines; gives who is not enlisted."""
        with self._house.lock:
            return self._house.renew(consumers, lease_s)

    def retire(self, consumer: str) -> int:
        """Give back, and forget."""
        with self._house.lock:
            given_back = self._house.retire(consumer)
        self._house.tell()
        return given_back

    def cycle(
        self,
        consumer: str,
        settlements: Sequence[Settlement],
        queues: Sequence[str],
        limit: int,
        *,
        waits: bool = False,
    ) -> tuple[list[bool], list[Lease]]:
        """Settle and lease."""
        self._consumer = consumer
        with self._house.lock:
            held = self._house.enlisted(consumer)
            settled = [
                self._house.settle(held, settlement, self._steps, keeps_results=self._keeps_results)
                for settlement in settlements
            ]
            leases = self._house.claim(consumer, queues, limit, self._steps) if limit > 0 else []
            if leases:
                self.revocations.epoch = self._house.epoch
        if settlements:
            self._house.tell()
        return settled, leases

    def release(self, consumer: str, tokens: Sequence[int]) -> int:
        """Give back what has not begun."""
        with self._house.lock:
            released = self._house.release(consumer, tokens)
        self._house.tell()
        return released

    def recover(self, consumer: str, losses: Sequence[Loss], policy: SweepPolicy) -> int:
        """Take over from a dead process."""
        with self._house.lock:
            moved = self._house.recover(consumer, losses, policy)
        self._house.tell()
        return moved

    def sweep(self, policy: SweepPolicy) -> Swept:
        """Give up who has no lease, and fire what is due."""
        with self._house.lock:
            swept = self._house.sweep(policy)
        self._house.tell()
        return swept

    def wait(self, queues: Sequence[str], timeout_s: float, wake_fd: int | None) -> bool:
        """Sleep until there is work, the descriptor is readable, or the time is up."""
        deadline = monotonic_s() + timeout_s
        with self._bell:
            while True:
                with self._house.lock:
                    if self._house.has_work(self._consumer, queues, self._steps):
                        return True
                    due = self._house.next_due()
                left_s = deadline - monotonic_s()
                if left_s <= 0:
                    return False
                if due is not None:
                    left_s = min(left_s, due - self._house.now())
                if self._bell.sleep(left_s, wake_fd):
                    return False

    def workers(self) -> list[str]:
        """Who works here."""
        with self._house.lock:
            return self._house.workers()

    def depth(self, queue: str) -> Depth:
        """How many messages a queue has."""
        with self._house.lock:
            return self._house.depth(queue)

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """The next ready envelopes."""
        with self._house.lock:
            return self._house.peek(queue, limit)

    def leased(self, consumers: Sequence[str]) -> list[Held]:
        """What consumers hold."""
        with self._house.lock:
            return self._house.leased(consumers)

    def due(self, queue: str, limit: int) -> list[tuple[float, bytes]]:
        """The next due messages."""
        with self._house.lock:
            return self._house.due(queue, limit)

    def purge(self, queue: str) -> int:
        """Delete what is ready or due."""
        with self._house.lock:
            return self._house.purge(queue)

    def close(self) -> None:
        """Let go of the bell; the house stays, for the other connections."""
        self._bell.close()
        self.bus.close()
