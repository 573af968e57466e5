"""The worker's duties at the broker: the heartbeat, the sweep, and what is owed for the dead.

Pure in time: clocks are arguments, and nothing here waits. Whoever owns the loop (the supervisor's
``poll``, the thread of an in-process worker) calls ``tend`` at ``next_at``.

A broker that is away is an *outage*: said once at its begin and once at its end, tried again with
back-off and jitter. What was to be recovered or released meanwhile is owed, in order, and done
first when the broker is back; if this process ends before, leases run out and another worker's
sweep does the same.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, assert_never

from umbel.model.clock import monotonic_s, unix_s
from umbel.model.errors import OperationalError
from umbel.model.lease import Loss
from umbel.ports.broker import Broker, SweepPolicy
from umbel.ports.store import Store

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
# After an outage everybody has a new lease, and only when that has passed are the dead recovered:
# with the default lease of 6 s, what is lost in an outage runs again within 9 s of its end.
LONGEST_PAUSE_S = 2.0
# Expired records: a small batch a minute, at once again while there are more.
EXPIRY_INTERVAL_S = 60.0
EXPIRY_BATCH = 500
# The soonest repetition of a sweep whose next message is due right now.
_SHORTEST_WAIT_S = 0.002


class Recovery(NamedTuple):
    """A dead consumer that is to be recovered."""

    consumer: str
    losses: tuple[Loss, ...]


class Release(NamedTuple):
    """Unstarted messages that go back to their queue."""

    consumer: str
    tokens: tuple[int, ...]


class Declaration(NamedTuple):
    """How named exchanges reach the queues of this worker."""

    bindings: tuple[tuple[str, str, str, str], ...]


Debt = Recovery | Release | Declaration


class Outage:
    """Whether the broker is away, since when, and when to try again."""

    def __init__(self, url: str, now: Callable[[], float], jitter: Callable[[], float]) -> None:
        self.retry_at_s = 0.0
        self._url = url
        self._now = now
        self._jitter = jitter
        self._since_s: float | None = None
        self._pause_s = FIRST_PAUSE_S

    @property
    def is_on(self) -> bool:
        """The last attempt failed."""
        return self._since_s is not None

    @property
    def lasted_s(self) -> float | None:
        """For how long; None where it is not."""
        return None if self._since_s is None else self._now() - self._since_s

    def failed(self, error: Exception) -> None:
        """An attempt failed."""
        if self._since_s is None:
            self._since_s = self._now()
            logger.warning(
                "Connection to broker %s lost: %s. Trying again until it is back; "
                "what runs goes on.",
                self._url,
                error,
                extra={"event": "broker-lost"},
            )
        # Between half and all of the pause, so that workers do not come back in step.
        self.retry_at_s = self._now() + self._pause_s * (0.5 + self._jitter() / 2)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def ended(self) -> None:
        """An attempt succeeded."""
        if self._since_s is not None:
            logger.warning(
                "Connection to broker %s is back after %.1f s.",
                self._url,
                self._now() - self._since_s,
                extra={"event": "broker-back"},
            )
        self._since_s = None
        self._pause_s = FIRST_PAUSE_S


class Upkeep:
    """Heartbeat, sweep and debts of one worker at one broker."""

    def __init__(
        self,
        broker: Broker,
        policy: SweepPolicy,
        beat_s: float,
        *,
        store: Store | None = None,
        now: Callable[[], float] = monotonic_s,
        wall: Callable[[], float] = unix_s,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._broker = broker
        self._store = store
        self._policy = policy
        self._beat_s = beat_s
        self._now = now
        self._wall = wall
        self._owed: deque[Debt] = deque()
        self._alive: set[str] = set()
        # Consumers that a sweep gave up while their processes live, until somebody asks.
        self._given_up: set[str] = set()
        self._beat_at_s = self._sweep_at_s = now()
        self._expiry_at_s = now() + EXPIRY_INTERVAL_S * jitter()
        self._due_at_s: float | None = None
        self.outage = Outage(broker.url, now, jitter)

    @property
    def is_owing(self) -> bool:
        """Whether something is still to be done for the dead."""
        return bool(self._owed)

    def next_at(self) -> float:
        """When ``tend`` has something to do (monotonic seconds)."""
        if self.outage.is_on:
            return self.outage.retry_at_s
        if self._owed:
            return self._now()
        at_s = min(self._beat_at_s, self._sweep_at_s)
        if self._due_at_s is not None:
            at_s = min(at_s, self._due_at_s)
        return at_s if self._store is None else min(at_s, self._expiry_at_s)

    def tend(self, consumers: Sequence[str]) -> None:
        """Do what is due now; ``consumers`` are those that live."""
        now = self._now()
        if self.outage.is_on and now < self.outage.retry_at_s:
            return
        if now >= self._beat_at_s and not self.beat(consumers):
            return
        if not self._pay():
            return
        is_due = self._due_at_s is not None and now >= self._due_at_s
        # An outage that nothing else has ended by now is asked after by a sweep.
        is_due = is_due or now >= self._sweep_at_s or self.outage.is_on
        if is_due and not self.sweep():
            return
        if self._store is not None and now >= self._expiry_at_s:
            self._expire(self._store)

    def note_due(self, due_unix_s: float) -> None:
        """A message is due then: sweep at that time."""
        at_s = self._now() + max(due_unix_s - self._wall(), 0.0)
        if self._due_at_s is None or at_s < self._due_at_s:
            self._due_at_s = at_s

    def recover(self, consumer: str, losses: Sequence[Loss]) -> None:
        """A consumer's process is dead: give back what it held, now or when the broker is back."""
        self._alive.discard(consumer)
        # What was owed for its unstarted messages is part of the recovery.
        self._owed = deque(
            debt
            for debt in self._owed
            if not isinstance(debt, Release) or debt.consumer != consumer
        )
        self._owe(Recovery(consumer, tuple(losses)))

    def release(self, consumer: str, tokens: Sequence[int]) -> None:
        """Give unstarted messages back, now or when the broker is back."""
        self._owe(Release(consumer, tuple(tokens)))

    def bind(self, bindings: Sequence[tuple[str, str, str, str]]) -> None:
        """Let exchanges reach queues, now or when the broker is back."""
        if bindings:
            self._owe(Declaration(tuple(bindings)))

    def beat(self, consumers: Sequence[str]) -> bool:
        """Renew the leases of who lives; False where the broker is away."""
        lost: list[str] = []

        def renew() -> None:
            lost.extend(self._broker.renew(consumers, self._policy.lease_s))

        # Where nobody lives nothing is asked, and no answer is none that ends an outage.
        if consumers and not self._attempt(renew):
            return False
        self._beat_at_s = self._now() + self._beat_s
        # One that was never seen enlisted is about to enlist; one that was has been given up.
        given_up = self._alive.intersection(lost)
        self._given_up |= given_up
        if given_up:
            logger.warning(
                "%d consumers of this worker were given up by a sweep, because their heartbeat "
                "did not reach the broker for %.1f s; what they hold runs elsewhere: %s",
                len(given_up),
                self._policy.lease_s,
                ", ".join(sorted(given_up)),
                extra={"event": "consumers-given-up"},
            )
        self._alive = set(consumers).difference(lost)
        return True

    def newly_given_up(self) -> set[str]:
        """Consumers that were given up since the last call: what they run, runs elsewhere too."""
        given_up, self._given_up = self._given_up, set()
        return given_up

    def sweep(self) -> bool:
        """Recover from workers that are gone, and move what is due; False if the broker is away."""

        def sweep() -> None:
            swept = self._broker.sweep(self._policy)
            if swept.next_due_s is not None:
                self._due_at_s = self._now() + max(swept.next_due_s, _SHORTEST_WAIT_S)
            if swept.consumers:
                logger.warning(
                    "Took over from %d lost consumers: %d messages are back (%s)",
                    len(swept.consumers),
                    swept.messages,
                    ", ".join(swept.consumers),
                    extra={"event": "consumers-recovered"},
                )

        noted_s, self._due_at_s = self._due_at_s, None
        if not self._attempt(sweep):
            self._due_at_s = noted_s
            return False
        if noted_s is not None and noted_s > self._now():
            # A child may have noted a message that it is only about to park.
            self._due_at_s = min(noted_s, self._due_at_s or noted_s)
        self._sweep_at_s = self._now() + self._policy.interval_s
        return True

    def _owe(self, debt: Debt) -> None:
        self._owed.append(debt)
        if not self.outage.is_on:
            self._pay()

    def _pay(self) -> bool:
        while self._owed:
            debt = self._owed[0]
            if not self._attempt(partial(self._settle_debt, debt)):
                return False
            self._owed.popleft()
        return True

    def _settle_debt(self, debt: Debt) -> None:
        match debt:
            case Release(consumer, tokens):
                self._broker.release(consumer, tokens)
            case Recovery(consumer, losses):
                self._broker.recover(consumer, losses, self._policy)
            case Declaration(bindings):
                for exchange, kind, queue, routing_key in bindings:
                    self._broker.bind(exchange, kind, queue, routing_key)
            case _:
                assert_never(debt)

    def _expire(self, store: Store) -> None:
        # Results may be on a server of their own, whose trouble is no outage of the broker.
        deleted = 0
        try:
            deleted = store.expire(EXPIRY_BATCH)
        except OperationalError as error:
            logger.warning("Expired results can't be deleted now: %s", error)
        except Exception:  # noqa: BLE001 - the top of a service's loop: it must go on
            logger.exception("Expired results can't be deleted now")
        self._expiry_at_s = self._now() + (
            EXPIRY_INTERVAL_S if deleted < EXPIRY_BATCH else _SHORTEST_WAIT_S * 100
        )

    def _attempt(self, action: Callable[[], None]) -> bool:
        try:
            action()
        except OperationalError as error:
            self.outage.failed(error)
            return False
        except Exception as error:  # noqa: BLE001 - the top of a service's loop: it must go on
            if not self.outage.is_on:
                logger.exception("The broker's engine failed; it is tried again")
            self.outage.failed(error)
            return False
        self.outage.ended()
        return True
