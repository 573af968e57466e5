"""From the death of a child to what it means: what is held against whom, and what the log says."""

from __future__ import annotations

import logging
import signal

from umbel.app.execution import FAILS_WHEN_LOST
from umbel.model.lease import Loss
from umbel.worker import verdicts
from umbel.worker.options import EXIT_RECYCLED
from umbel.worker.seats import Departure, Sentence

logger = logging.getLogger(__name__)


def losses_of(departure: Departure, *, is_our_stop: bool) -> list[Loss]:
    """What the dead child ran, as the broker is to take it.

    A sentenced task gets its verdict. What ran beside it, and what a stop of ours has ended, is
    not held against its task.
    """
    sentence = departure.sentence
    losses = []
    for ran in departure.ran:
        if ran.epoch != departure.epoch:
            # Of a lease that this child had lost already: it runs elsewhere.
            continue
        if sentence is not None and ran.token == sentence.running.token:
            how = f"pid {departure.pid}: killed: {sentence.reason}"
            losses.append(Loss(ran.token, sentence.verdict, how=how))
        else:
            how = f"pid {departure.pid}: {words(departure.code)}"
            is_counted = sentence is None and not is_our_stop
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
    if departure.sentence is not None:
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


def log_sentence(sentence: Sentence, name: str, pid: int) -> None:
    """A sentence was carried out."""
    logger.error(
        "%s: %s process %r pid:%d",
        sentence.reason,
        "killed" if sentence.is_kill else "signalled",
        name,
        pid,
        extra={"event": "task-ended-from-outside", "pid": pid},
    )


def words(code: int) -> str:
    """How a process ended, as Celery writes it."""
    if code >= 0:
        return f"exitcode {code}"
    try:
        return f"signal {-code} ({signal.Signals(-code).name})"
    except ValueError:
        return f"signal {-code}"
