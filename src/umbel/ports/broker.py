"""What an engine must offer to carry messages: publish, lease, renew, settle, release, recover.

Theory of operation. A message is in exactly one place: *ready* in its queue, *due* in the due set,
*leased* by a consumer, in the *lane* of messages that were lost with a process (again to be run,
with their count of deliveries, or with a verdict), or *dead*. Each method below is one atomic step
of the engine (one script, one transaction), so that a crash before or after it leaves a message in
one of these places, never between two.

A consumer is a process that runs tasks, named ``<worker>.<slot>.<epoch>``. It enlists itself; the
worker's supervisor renews it. A consumer that is no longer enlisted (a sweep gave it up) may
neither lease nor settle: ``cycle`` raises ``LeaseLost`` before it changes anything.

Each promise names its case in ``umbel.testing.conformance`` in brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from umbel.model.join import JoinOpening
from umbel.model.lease import Lease, Loss
from umbel.model.message import Message
from umbel.model.settlement import Settlement
from umbel.ports.bus import Bus
from umbel.ports.graveyard import Graveyard
from umbel.ports.handover import Handover
from umbel.ports.revocations import Revocations


class SweepPolicy(NamedTuple):
    """How a sweep judges."""

    lease_s: float  # how long a consumer lives after its last renewal
    interval_s: float  # how often sweeps come; one that is late by two gives everybody a new lease
    max_deliveries: int  # runs that may end with the death of the process
    poison: bytes  # the verdict for a message that has used them up
    begun: bytes  # the verdict for a message that had begun and must not begin again (Fate.BEGUN)


class Swept(NamedTuple):
    """What a sweep did."""

    consumers: tuple[str, ...] = ()  # given up
    messages: int = 0  # back in their queues or lanes
    next_due_s: float | None = None  # seconds until the next due message


class Depth(NamedTuple):
    """How many messages of a queue are where. Leased counts all consumers."""

    ready: int
    due: int
    leased: int
    lane: int


class Held(NamedTuple):
    """A message that a consumer has leased, as somebody else sees it."""

    consumer: str
    token: int
    raw: bytes
    deliveries: int
    begun: bool  # acknowledged before it ran: it must not begin again (Fate.BEGUN)


class Broker(Protocol):
    """One connection to a broker, used by one thread of one process.

    After a fork the child's first call opens a connection of its own; the parent's is abandoned,
    never closed. Raises ``OperationalError``, naming the URL without its password, within a bounded
    time when the server can't be reached.
    """

    url: str  # without the password
    ordered_ids: bool  # ids of tasks are best ordered by time (``ids.new_ordered_id``)

    @property
    def graveyard(self) -> Graveyard:
        """Its dead letters, over this connection."""
        ...

    @property
    def revocations(self) -> Revocations:
        """Tasks that must not run, over this connection."""
        ...

    @property
    def handover(self) -> Handover | None:
        """How to go back to Celery; None where only umbel reads this broker."""
        ...

    @property
    def bus(self) -> Bus:
        """Its notices, over this connection; a listener opens one of its own."""
        ...

    def publish(self, messages: Sequence[Message], openings: Sequence[JoinOpening] = ()) -> None:
        """Store messages, and open joins before any of them can be leased, in one step.

        Returns after the server has them [published_is_stored]; all or none
        [publish_is_all_or_nothing]. Messages of one queue and priority are leased in the order of
        publication [order_is_kept]. Priority p is served by the engine's numbering
        [priorities_are_served_in_order]. A message with ``due`` is not leased earlier
        [due_messages_wait]. Openings need the store to be on the same server: the engine that was
        opened without a store refuses them with ``ValueError``.
        A fanout (``is_fanout``) is said in the same step to who listens to its exchange on the bus,
        and stored nowhere [a_fanout_reaches_who_listens]; so are those of a settlement.
        Raises ``PublishOutcomeUnknown`` where the connection was lost after sending and the
        reconnect can't tell.
        """
        ...

    def enlist(self, consumer: str, lease_s: float) -> None:
        """Make a consumer known, alive for ``lease_s`` from now. Idempotent."""
        ...

    def renew(self, consumers: Sequence[str], lease_s: float) -> list[str]:
        """Let consumers live for ``lease_s`` from now, by the server's clock.

        Gives the names of those that are not enlisted (given up by a sweep); they are not revived
        [a_lost_consumer_is_not_revived].
        """
        ...

    def workers(self) -> list[str]:
        """The workers that have live consumers, by the part of the names that they share.

        One whose lease has passed is not among them [only_live_workers_are_named].
        """
        ...

    def retire(self, consumer: str) -> int:
        """Give back all that a consumer holds, uncounted and in order, and forget it."""
        ...

    def cycle(
        self,
        consumer: str,
        settlements: Sequence[Settlement],
        queues: Sequence[str],
        limit: int,
        *,
        waits: bool = False,
    ) -> tuple[list[bool], list[Lease]]:
        """Settle what ended and lease up to ``limit`` messages of ``queues``, in one round trip.

        One answer per settlement: False where the lease was lost or settled already, and then none
        of its effects happened [a_lost_lease_changes_nothing], [settling_twice_changes_nothing].
        Each settlement is one atomic step: fate, documents, messages, joins [settle_is_atomic].
        A SUCCESS document is never overwritten [success_is_final]. A part that completes its join
        makes ``part.claim()`` a lease of this consumer, once, whatever is delivered twice
        [a_join_completes_once]; it is among the leases that this or a later call returns.

        Leases come in this order: verdicts; messages that were lost with a process; then by
        priority and queue. A message that was lost with a whole worker is given alone
        [suspects_come_alone]. ``limit`` 0 settles only.
        ``waits`` says that where nothing is found ``wait`` is called next. Then the broker may
        lease the next message to this consumer as it is published, and end the wait; the next
        claim gives it, without asking the server where the wait was told of it
        [a_waiter_is_given_a_message_once].
        Raises ``LeaseLost`` where the consumer is not enlisted [a_lost_consumer_may_not_lease].
        """
        ...

    def run_ahead(
        self, consumer: str, settlement: Settlement, queues: Sequence[str]
    ) -> Lease | None:
        """Begin a cycle that settles this, and leases its one message to the same consumer.

        Gives the lease that the message is about to have, before the server has answered; nothing
        but ``confirm`` may be asked then. None where the engine, or this settlement, does not
        allow that, and then nothing was begun. Call it only where no other copy of what is settled
        can have been sent.
        """
        ...

    def confirm(self) -> bool:
        """Wait for the answer to ``run_ahead``: whether the settlement counted, and its message is
        leased [what_runs_ahead_is_confirmed]. If not, none of its effects happened or are to
        happen; what was leased otherwise comes with the next claim.

        Raises ``LeaseLost`` as ``cycle`` does, and ``OperationalError``, after which it may be
        called again.
        """
        ...

    def release(self, consumer: str, tokens: Sequence[int]) -> int:
        """Give leases back to the consuming end, in order, uncounted. Gives how many were held.

        [released_messages_keep_their_order]
        """
        ...

    def recover(self, consumer: str, losses: Sequence[Loss], policy: SweepPolicy) -> int:
        """Take over from a consumer whose process is known to be dead, and forget it.

        A message in ``losses`` counts a delivery and goes to the lane (with its verdict, or with
        ``policy.poison`` once ``max_deliveries`` is reached) [a_death_counts_for_what_ran]; all
        others go back to the consuming end, uncounted [bystanders_are_not_counted]. A message that
        had begun at most once (``Fate.BEGUN``) goes to the lane with ``policy.begun`` instead, here
        and in ``sweep`` [what_had_begun_is_not_run_again].

        A death that counts is a line of the message's history, as each loss in ``sweep`` is; a dead
        letter keeps them [a_death_is_told_in_the_history]. A message that has a verdict already was
        not run, so it counts a try instead, here and in ``sweep`` [a_verdict_counts_its_tries].
        """
        ...

    def sweep(self, policy: SweepPolicy) -> Swept:
        """Give up consumers whose lease has passed, and move due messages to their queues.

        By the server's clock. The messages of a consumer that was given up go to the lane as
        suspects; a second such loss counts a delivery [a_lease_not_renewed_runs_again]. A sweep
        that finds the last one more than two intervals ago, or in the future, gives every consumer
        a new lease and recovers nobody [a_late_sweep_recovers_nobody]. Due messages move in order
        of their time [due_messages_fire_once].
        """
        ...

    def wait(self, queues: Sequence[str], timeout_s: float, wake_fd: int | None) -> bool:
        """Block until ``queues`` may have messages, ``wake_fd`` is readable, or the time is up.

        True where messages may be there. No polling: an idle waiter burns no measurable CPU. Call
        it only right after a ``cycle`` of the same queues that returned no lease
        [a_publish_wakes_a_waiter].
        """
        ...

    def bind(self, exchange: str, kind: str, queue: str, routing_key: str) -> None:
        """Let messages published to a named exchange reach a queue (kinds direct and topic)."""
        ...

    def depth(self, queue: str) -> Depth:
        """How many messages a queue has."""
        ...

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """The next ready envelopes of a queue, not leased."""
        ...

    def leased(self, consumers: Sequence[str]) -> list[Held]:
        """What consumers hold, in order of their names as given, then of tokens; those that are
        not enlisted hold nothing [what_is_leased_can_be_seen]."""
        ...

    def due(self, queue: str, limit: int) -> list[tuple[float, bytes]]:
        """The next due messages of a queue: (unix seconds, envelope), the earliest first
        [what_is_due_can_be_seen]."""
        ...

    def purge(self, queue: str) -> int:
        """Delete the ready and due messages of a queue; gives how many."""
        ...

    def close(self) -> None:
        """End the connection. Closing twice, or in a forked child, is legal."""
        ...
