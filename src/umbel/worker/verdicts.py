"""Outcomes that somebody else decided: the supervisor that killed, the sweep that gave up.

A verdict is stored with the lease in the broker; the next child that claims carries it out, with
every consequence (record, error callbacks, chain, chord), without running the task. It is a small
JSON object, so that a person can read it in the broker:
``{"kind": "TimeLimitExceeded", "text": "...", "args": [60.0], "dead": false}``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from umbel.model.errors import TaskRevokedError, TimeLimitExceeded, WorkerLostError
from umbel.model.history import deaths
from umbel.model.outcome import Failed, Outcome, Revoked

WORKER_LOST = "WorkerLost"
TIME_LIMIT = "TimeLimitExceeded"
TERMINATED = "Terminated"
KINDS = (WORKER_LOST, TIME_LIMIT, TERMINATED)


def encode(kind: str, text: str = "", args: Sequence[Any] = (), *, dead: bool = False) -> bytes:
    """The bytes of a verdict. ``dead``: the message goes to the dead letters as well."""
    if kind not in KINDS:
        raise ValueError(f"verdict kind {kind!r}; wanted one of {', '.join(KINDS)}")
    return json.dumps({"kind": kind, "text": text, "args": list(args), "dead": dead}).encode()


def poison(max_deliveries: int) -> bytes:
    """The verdict for a message whose process died each time that it ran."""
    return encode(
        WORKER_LOST,
        f"its process died {max_deliveries} times while it ran (task_max_deliveries)",
        dead=True,
    )


def begun() -> bytes:
    """The verdict for a task that had begun and was asked to run at most once."""
    return encode(WORKER_LOST, "its process was lost after it had begun, and acks_late is False")


def outcome_of(verdict: bytes, history: str = "") -> tuple[Outcome, str]:
    """The outcome to carry out, and the cause if the message is to be a dead letter (else "").

    ``history``: the deaths of the message, which a lost worker's error tells one by one.
    """
    found = json.loads(verdict)
    kind, text, args = found["kind"], found["text"], found["args"]
    cause = f"{kind}: {text}" if found["dead"] else ""
    if kind == TIME_LIMIT:
        limit: BaseException = TimeLimitExceeded(*args)
        return Failed(limit, _no_frames(limit), internal=True), cause
    if kind == TERMINATED:
        return Revoked("terminated", text or None), cause
    told = "; ".join(str(death) for death in deaths(history))
    lost = WorkerLostError(f"{text}: {told}" if told else text)
    return Failed(lost, _no_frames(lost), internal=True), cause


def cause_of_tries(cause: str, tries: int) -> str:
    """Why a verdict that kills who carries it out ends among the dead letters."""
    said = f"carrying its outcome out killed {tries} processes, so no user code was called for it"
    return f"{cause}; {said}" if cause else said


def _no_frames(error: BaseException) -> str:
    # The frames died with their process; Celery's readers expect a text all the same.
    return f"{type(error).__name__}: {error}\n"


def revoked_error(reason: str) -> TaskRevokedError:
    """The exception that a REVOKED record holds."""
    return TaskRevokedError(reason)
