"""From the death of a child to what it means: what is held against whom, and what the log says."""

from __future__ import annotations

import logging
import signal

from umbel.app.execution import FAILS_WHEN_LOST, RUNS_AGAIN_AFTER_TIMEOUT
from umbel.model.lease import Loss
from umbel.worker import verdicts
from umbel.worker.limits import Exceeded
from umbel.worker.options import EXIT_RECYCLED
from umbel.worker.seats import Departure

logger = logging.getLogger(__name__)


def losses_of(departure: Departure, *, is_our_stop: bool) -> list[Loss]:
    """What the dead child ran, as the broker is to take it.

    A condemned task gets its verdict. What ran beside it, and what a stop of ours has ended, is
    not held against its task.
    """
    condemned = departure.condemned
    losses = []
    for ran in departure.ran:
        if ran.epoch != departure.epoch:
            # Of a lease that this child had lost already: it runs elsewhere.
            continue
        if condemned is not None and ran.token == condemned.token:
            limit_s = Exceeded(departure.seat, condemned).hard_limit_s
            verdict = verdicts.encode(verdicts.TIME_LIMIT, args=[limit_s])
            how = f"pid {departure.pid}: killed for its hard time limit of {limit_s} s"
            runs_again = ran.manners & RUNS_AGAIN_AFTER_TIMEOUT
            losses.append(Loss(ran.token, None if runs_again else verdict, how=how))
        else:
            how = f"pid {departure.pid}: {words(departure.code)}"
            is_counted = condemned is None and not is_our_stop
            verdict = None
            if is_counted and ran.manners & FAILS_WHEN_LOST:
                lost = "its process was lost, and reject_on_worker_lost is False"
                verdict = verdicts.encode(verdicts.WORKER_LOST, lost)
            losses.append(Loss(ran.token, verdict, is_counted, how))
    return losses


def log_death(departure: Departure, name: str, *, is_our_stop: bool) -> None:
    """One line for the operator."""
    extra = {"event": "child-ended", "pid": departure.pid, "exit_code": departure.code}
    if departure.is_expected or is_our_stop:
        why = "used up, replaced" if departure.code == EXIT_RECYCLED else "stopped"
        logger.debug("Process %r pid:%d %s", name, departure.pid, why, extra=extra)
        return
    if departure.condemned is not None:
        return  # said when it was killed
    # Celery's words.
    logger.error(
        "Process %r pid:%d exited with %r%s",
        name,
        departure.pid,
        words(departure.code),
        "; the task that it ran counts one delivery more" if departure.ran else "",
        extra=extra,
    )


def log_kill(exceeded: Exceeded, name: str) -> None:
    """A hard limit has passed and its process was killed."""
    runs_again = exceeded.running.manners & RUNS_AGAIN_AFTER_TIMEOUT
    logger.error(
        "Hard time limit (%ss) exceeded: killed process %r pid:%d; the task %s",
        exceeded.hard_limit_s,
        name,
        exceeded.seat.pid,
        "runs again" if runs_again else "ends as FAILURE",
        extra={"event": "hard-time-limit", "pid": exceeded.seat.pid},
    )


def words(code: int) -> str:
    """How a process ended, as Celery writes it."""
    if code >= 0:
        return f"exitcode {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"
