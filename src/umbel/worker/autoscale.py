"""Autoscaling: as many children as there is work for, between two bounds.

Children are added at once when more messages wait than children are free, and leave when fewer were
needed for half a minute (``AUTOSCALE_KEEPALIVE``). A child that is to leave finishes what it runs.
Part of the supervisor's loop, which asks the broker how much waits only while no child is free.
https://docs.celeryq.dev/en/stable/userguide/workers.html#autoscaling
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence

from umbel.model.clock import monotonic_s
from umbel.model.errors import OperationalError
from umbel.ports.broker import Broker
from umbel.worker.seats import Seat, Seats
from umbel.worker.slots import LANES

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
# Between a child's birth and its first claim others may take what it was born for.
_FIRST_LOOK_S = 0.2


def keepalive_s() -> float:
    """How long a child must not have been needed before it leaves."""
    return float(os.environ.get("AUTOSCALE_KEEPALIVE", "30"))


class Autoscaler:
    """Sets the number of seats. ``set_bounds`` and a changed ``seats.target`` may widen it."""

    def __init__(
        self,
        seats: Seats,
        broker: Broker,
        queues: Callable[[], Sequence[str]],
        bounds: tuple[int, int],
        *,
        keepalive_s: float,
        now: Callable[[], float] = monotonic_s,
    ) -> None:
        self.most, self.least = bounds
        self._seats = seats
        self._broker = broker
        self._queues = queues
        self._keepalive_s = keepalive_s
        self._now = now
        self._look_at_s = now() + _FIRST_LOOK_S
        # How many were needed lately: (seconds, number).
        self._needed: deque[tuple[float, int]] = deque()
        self._done: dict[int, int] = {}

    def set_bounds(self, most: int | None, least: int | None) -> tuple[int, int]:
        """Change one or both; gives what holds. Raises ``ValueError`` where they cross."""
        new_most = self.most if most is None else most
        new_least = self.least if least is None else least
        if not 0 <= new_least <= new_most <= LANES or not new_most:
            raise ValueError(
                f"autoscale between {new_least} and {new_most} children: wanted 0 <= min <= max, "
                f"and a max of 1 to {LANES}"
            )
        self.most, self.least = new_most, new_least
        self._set_target(min(max(self._seats.target, new_least), new_most))
        return new_most, new_least

    def keep(self) -> float:
        """Add or remove children if it is time; gives when to look again (monotonic seconds)."""
        now = self._now()
        if now >= self._look_at_s:
            self._look_at_s = now + LOOK_INTERVAL_S
            self._heed_others()
            self._adapt(now)
        return self._look_at_s

    def _heed_others(self) -> None:
        # pool_grow and pool_shrink set the target themselves, and are not undone.
        self.most = max(self.most, self._seats.target)
        self.least = min(self.least, self._seats.target)

    def _adapt(self, now: float) -> None:
        target = self._seats.target
        busy = sum([self._is_busy(seat) for seat in self._seats])
        needed = busy + (self._waiting() if busy >= target else 0)
        self._needed.append((now, needed))
        while self._needed[0][0] < now - self._keepalive_s:
            self._needed.popleft()
        if needed > target:
            self._set_target(min(needed, self.most))
        elif self._needed[0][0] <= now - self._keepalive_s + LOOK_INTERVAL_S:
            most_needed = max(number for _, number in self._needed)
            self._set_target(min(max(most_needed, self.least), target))

    def _is_busy(self, seat: Seat) -> bool:
        """Whether it runs something, or has run something since the last look."""
        done, before = seat.slot.done, self._done.get(seat.slot.index, 0)
        self._done[seat.slot.index] = done
        return seat.is_alive and (done != before or bool(seat.slot.running()))

    def _waiting(self) -> int:
        waiting = 0
        try:
            for queue in self._queues():
                depth = self._broker.depth(queue)
                waiting += depth.ready + depth.lane
        except OperationalError as error:
            # The upkeep tells of it; as long as nothing is known, nothing changes.
            logger.debug("the broker can't say how much waits: %s", error)
        return waiting

    def _set_target(self, target: int) -> None:
        before = self._seats.target
        if target == before:
            return
        self._seats.target = target
        logger.info(
            "Scaling %s %d processes.",
            "up" if target > before else "down",
            abs(target - before),
            extra={"event": "autoscale", "processes": target},
        )
