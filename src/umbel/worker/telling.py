"""What a child tells of its tasks while it works: received, started, and how they ended.

Events are written down as they happen, and said in one go: after each exchange with the broker,
when what they tell of has been settled, and before a task begins that is not known to be short, so
that a monitor sees it run. They are worth something to who watches and nothing to the work: where
they can't be said they are lost, which the log says once.

Writing is safe from the threads of a pool; saying is the business of the thread of the broker.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Mapping
from typing import Any

from umbel.events.emitter import utcoffset
from umbel.model.clock import monotonic_s, unix_ns
from umbel.model.errors import NotRegistered, Reject
from umbel.model.lamport import LamportClock
from umbel.model.outcome import Failed, Outcome, Rejected, Retried, Revoked, Succeeded
from umbel.model.request import Request
from umbel.ports.bus import Bus, Notice
from umbel.wire.event_notices import Pen, Speaker, group_key
from umbel.wire.preview import preview
from umbel.worker.intake import Decided, Job

logger = logging.getLogger(__name__)

_KEY = group_key("task")
# After a failure events are dropped for so long, so that a bus that hangs does not hold each batch.
_QUIET_S = 1.0
# The offset from UTC changes twice a year, and is looked at so often.
_OFFSET_S = 60.0
# Short tasks may run one after the other for so long before monitors hear of them.
_OLDEST_S = 0.5


class Telling:
    """The events of one child."""

    def __init__(self, bus: Bus, speaker: Speaker, clock: LamportClock) -> None:
        self._bus = bus
        self._speaker = speaker
        self._forward = clock.forward
        self._pen = Pen(speaker, utcoffset())
        self._offset_at_s = monotonic_s() + _OFFSET_S
        self._lines: list[str] = []
        # Something was written that is to be said before it is settled: after a retry's settlement
        # another process may run and tell of the next attempt, and a monitor that hears of the
        # retry later shows a task that is to run again for ever.
        self.is_pressing = False
        self._said_s = monotonic_s()
        self._quiet_until_s = 0.0
        self._is_told = False

    @property
    def is_old(self) -> bool:
        """Whether the last events were said long ago."""
        return monotonic_s() - self._said_s > _OLDEST_S

    def begins(self, job: Job) -> None:
        """A task is received, and starts now."""
        if not job.plan.sends_events:
            return
        facts = _facts_of(job.request)
        self._lines.append(self._pen.begun(self._forward(2) - 1, unix_ns(), facts))

    def received(self, request: Request) -> None:
        """A task was received, and waits for its time."""
        self._lines.append(self._pen.received(self._forward(), unix_ns(), _facts_of(request)))

    def ended(self, job: Job, outcome: Outcome, runtime_s: float) -> None:
        """A task has ended."""
        if not job.plan.sends_events:
            return
        if type(outcome) is Succeeded:
            result = preview(outcome.value, job.plan.resultrepr_maxsize)
            self._lines.append(
                self._pen.succeeded(
                    self._forward(), unix_ns(), job.request.id or "", result, int(runtime_s * 1e9)
                )
            )
        else:
            self._tell(job.request, outcome)

    def decided(self, decided: Decided) -> None:
        """A task has ended without running here."""
        self._tell(decided.request, decided.outcome)

    def flush(self) -> None:
        """Say what was written down."""
        if not self._lines:
            return
        # The list stays the same: a thread of the pool may be about to append to it.
        lines = self._lines[:]
        del self._lines[: len(lines)]
        self.is_pressing = False
        now = monotonic_s()
        self._said_s = now
        if now < self._quiet_until_s:
            return
        if now >= self._offset_at_s:
            self._offset_at_s = now + _OFFSET_S
            self._pen = Pen(self._speaker, utcoffset())
        try:
            self._bus.say([Notice(self._speaker.exchange, _KEY, self._pen.envelope(lines))])
        except Exception as error:  # noqa: BLE001 - nothing about an event may disturb the work
            self._quiet_until_s = monotonic_s() + _QUIET_S
            if not self._is_told:
                self._is_told = True
                logger.warning(
                    "Events of tasks are lost, because they can't be said: %s",
                    error,
                    extra={"event": "events-lost"},
                )
        else:
            self._is_told = False

    def _tell(self, request: Request, outcome: Outcome) -> None:
        if isinstance(outcome, Retried):
            self.is_pressing = True
        for kind, fields in _told(outcome):
            self._lines.append(
                self._pen.other(self._forward(), unix_ns(), kind, {"uuid": request.id, **fields})
            )


def _facts_of(request: Request) -> tuple[Any, ...]:
    args, kwargs = request.argsrepr, request.kwargsrepr
    return (
        request.id or "",
        request.shadow or request.task or "",
        args if type(args) is str else preview(request.args),
        kwargs if type(kwargs) is str else preview(request.kwargs),
        request.root_id,
        request.parent_id,
        request.retries,
        request.eta,
        request.expires,
    )


def _told(outcome: Outcome) -> list[tuple[str, Mapping[str, Any]]]:
    """The events of an outcome that is no success; none for one that Celery keeps quiet about."""
    fields: dict[str, Any]
    if isinstance(outcome, Failed):
        fields = {"exception": preview(outcome.error), "traceback": outcome.traceback}
        if isinstance(outcome.error, NotRegistered):
            # As Celery writes it of one that never was a task.
            fields = {"exception": f"NotRegistered({outcome.error})"}
        return [("task-failed", fields)]
    if isinstance(outcome, Retried):
        fields = {"exception": preview(outcome.error), "traceback": outcome.traceback}
        return [("task-retried", fields)]
    if isinstance(outcome, Rejected):
        rejected = ("task-rejected", {"requeue": outcome.requeue})
        if outcome.requeue:
            return [rejected]
        reason = preview(Reject(outcome.reason, outcome.requeue))
        return [("task-failed", {"exception": reason, "traceback": f"{reason}\n"}), rejected]
    if isinstance(outcome, Revoked):
        is_terminated = outcome.reason == "terminated"
        fields = {
            "terminated": is_terminated,
            "signum": _number_of(outcome.signal_name) if is_terminated else None,
            "expired": outcome.reason == "expired",
        }
        return [("task-revoked", fields)]
    return []


def _number_of(name: str | None) -> int | None:
    if not name:
        return None
    if name.isdecimal():
        return int(name)
    found: int | None = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
    return found
