"""How many messages a child claims at once, and which of them are short enough to queue up.

A batch saves round trips (the knee is at 8 to 16 messages) and makes others wait behind whatever in
it is slow. So the size follows the recent run times, and a batch is cut behind the first task
that is not known to be short; what is behind goes back before that task starts.
Measured by ``bench/fairness.py``: without the cut and the supervisor's give-back every short task
behind a long one waits for all of it.
"""

from __future__ import annotations

MOST = 64
# What one batch may take, in seconds, by the estimates.
BUDGET_S = 0.010
# A task is short if it is expected to take less than this.
SHORT_S = 0.002
# Weight of the newest run in the moving average of a task's run time.
NEWEST = 0.25


class Pace:
    """Recent run times by task name, and the batch size that follows from them."""

    __slots__ = ("_estimates", "_limit", "_most")

    def __init__(self, most: int = MOST) -> None:
        self._estimates: dict[str, float] = {}
        self._limit = 1
        self._most = max(1, min(most, MOST))

    @property
    def limit(self) -> int:
        """How many messages to claim next."""
        return self._limit

    def is_short(self, task: str) -> bool:
        """Whether the task ran before and is expected to end soon."""
        return self._estimates.get(task, BUDGET_S) < SHORT_S

    def ran(self, task: str, seconds: float) -> None:
        """Note one run."""
        old = self._estimates.get(task)
        self._estimates[task] = seconds if old is None else old + NEWEST * (seconds - old)

    def adapt(self, ran: int, seconds: float) -> None:
        """Set the next batch size from the batch that ended: at most double it, halve at once."""
        if ran:
            fitting = int(BUDGET_S * ran / seconds) if seconds > 0 else self._most
            self._limit = max(1, min(self._most, fitting, self._limit * 2))
