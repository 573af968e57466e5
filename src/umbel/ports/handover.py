"""What an engine must offer to go back to Celery: to put what only umbel sees where all see it.

Theory of operation. On a broker that is shared with Celery, umbel keeps some messages where
Celery's workers do not look: those that are due later, those that were lost with a process, those
that somebody has decided upon. ``hand_over`` puts the first two back into the queues, as they were
sent. The third must not run, and a completed join is no message of Celery's: both are left, and
told.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class HandedOver(NamedTuple):
    """What became of one queue."""

    queue: str
    due: int = 0  # put back; each still has its eta
    lost: int = 0  # put back; they were lost with a process
    verdicts: int = 0  # left: they only have to be settled, by an umbel worker
    joins: int = 0  # left: chords whose body an umbel worker has to send


class Handover(Protocol):
    """What waits at a broker where Celery's workers do not look."""

    def queues(self) -> list[str]:
        """The queues that something waits for there."""
        ...

    def hand_over(self, queue: str) -> HandedOver:
        """Put what waits there back into the queue: nothing is lost, and nothing is there twice,
        wherever this is interrupted. What was lost is served next, the rest last.

        From then on, until an umbel worker sweeps, what umbel's producers send with an eta goes to
        the queue at once, as Celery does it.
        """
        ...
