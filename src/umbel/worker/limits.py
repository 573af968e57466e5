"""Time limits and terminations, from outside: nothing that a task does can outlast its hard limit.

The soft limit is a signal (SIGUSR1) to the child, once per task; a C loop or a task that catches
every exception does not hear it. In threads ``interrupting.py`` hands it on. The hard limit is a
SIGKILL, and in between lies a moment in which the task may end and the next one begin: so the child
is stopped first (SIGSTOP), and killed only if the same token still stands in its lane when the
kernel says that it stands still.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import NamedTuple

from umbel.app.execution import RUNS_AGAIN_AFTER_TIMEOUT
from umbel.model.clock import monotonic_ns
from umbel.worker import verdicts
from umbel.worker.seats import Seat, Sentence, Stage
from umbel.worker.slots import Running

# The kernel tells of a stop within microseconds.
_STOP_LIMIT_NS = 500_000_000


class Exceeded(NamedTuple):
    """A task that has outrun a limit."""

    seat: Seat
    running: Running

    @property
    def hard_limit_s(self) -> float:
        """The hard limit, as it was set."""
        return round((self.running.hard_ns - self.running.started_ns) / 1e9, 3)

    @property
    def soft_limit_s(self) -> float:
        """The soft limit, as it was set."""
        return round((self.running.soft_ns - self.running.started_ns) / 1e9, 3)


class Look(NamedTuple):
    """What a look at all lanes has found."""

    soft: list[Exceeded]
    hard: list[Exceeded]
    next_ns: int | None  # when the next limit passes, if nothing changes


def look(seats: Iterable[Seat], now_ns: int) -> Look:
    """Which tasks have outrun a limit, and when the next one may."""
    soft: list[Exceeded] = []
    hard: list[Exceeded] = []
    ahead: list[int] = []
    for seat in seats:
        if seat.stage is Stage.FROZEN:
            if seat.frozen_ns + _STOP_LIMIT_NS <= now_ns:
                # A SIGCONT from elsewhere has swallowed the stop.
                _stop(seat, now_ns)
            ahead.append(seat.frozen_ns + _STOP_LIMIT_NS)
        elif seat.stage in (Stage.TAKEN, Stage.LEAVING):
            for running in seat.slot.running():
                is_warned = (running.epoch, running.token) in seat.warned
                soft_ns = 0 if is_warned else running.soft_ns
                if 0 < running.hard_ns <= now_ns:
                    hard.append(Exceeded(seat, running))
                elif 0 < soft_ns <= now_ns:
                    soft.append(Exceeded(seat, running))
                ahead += [limit for limit in (soft_ns, running.hard_ns) if limit > now_ns]
    return Look(soft, hard, min(ahead, default=None))


def warn(exceeded: Exceeded) -> bool:
    """Signal the soft limit, once per token; False where the task has just ended."""
    seat, running = exceeded
    if not _still_runs(seat, running):
        return False
    run_still = {(now.epoch, now.token) for now in seat.slot.running()}
    seat.warned = seat.warned & run_still | {(running.epoch, running.token)}
    seat.send_signal(signal.SIGUSR1)
    return True


def hard_limit(exceeded: Exceeded) -> Sentence:
    """What follows of a hard limit that has passed."""
    limit_s = exceeded.hard_limit_s
    reason = f"Hard time limit ({limit_s}s) exceeded; the task"
    if exceeded.running.manners & RUNS_AGAIN_AFTER_TIMEOUT:
        return Sentence(exceeded.running, f"{reason} runs again")
    verdict = verdicts.encode(verdicts.TIME_LIMIT, args=[limit_s])
    return Sentence(exceeded.running, f"{reason} ends as FAILURE", verdict=verdict)


def termination(running: Running, task: str, signal_name: str) -> Sentence:
    """What follows of an operator's wish; SIGUSR1 asks for SoftTimeLimitExceeded only."""
    if signal_name == "SIGUSR1":
        return Sentence(running, f"Interrupting {task} (SIGUSR1)", is_kill=False)
    verdict = verdicts.encode(verdicts.TERMINATED, signal_name)
    reason = f"Terminating {task} ({signal_name}); it ends as REVOKED"
    return Sentence(running, reason, verdict=verdict)


def freeze(seat: Seat, sentence: Sentence) -> None:
    """Stop the child; ``convict`` decides when it stands still."""
    seat.sentence = sentence
    seat.stage_before = seat.stage
    seat.stage = Stage.FROZEN
    _stop(seat, monotonic_ns())


def _stop(seat: Seat, now_ns: int) -> None:
    seat.frozen_ns = now_ns
    seat.send_signal(signal.SIGSTOP)


def convict(seat: Seat) -> bool:
    """A frozen child stands still: carry its sentence out; False if it runs that no more."""
    sentence = seat.sentence
    is_due = sentence is not None and _still_runs(seat, sentence.running)
    if is_due and sentence is not None and sentence.is_kill:
        seat.send_signal(signal.SIGKILL)
        return True
    if is_due and sentence is not None:
        running = sentence.running
        seat.warned = {(running.epoch, running.token)}
        seat.slot.end_soft_limit(running.lane)
        seat.send_signal(signal.SIGUSR1)
    seat.sentence = None
    seat.stage = seat.stage_before
    seat.send_signal(signal.SIGCONT)
    return is_due


def _still_runs(seat: Seat, running: Running) -> bool:
    return any(
        now.token == running.token and now.epoch == running.epoch for now in seat.slot.running()
    )
