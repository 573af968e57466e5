"""The worker's log lines about tasks, in Celery's forms, so that existing parsers read them.

``Task tasks.add[id] received``, ``Task tasks.add[id] succeeded in 0.001s: 4`` and their kin, under
Celery's logger names. Below their level they cost one comparison a task.
https://docs.celeryq.dev/en/stable/userguide/workers.html
"""

from __future__ import annotations

import logging
from typing import assert_never

from umbel.app import signals
from umbel.app.execution import ExceptionInfo, Plan, tell_failure, traceback_of
from umbel.model.errors import TimeLimitExceeded
from umbel.model.lease import Lease
from umbel.model.outcome import (
    Failed,
    Ignored,
    Outcome,
    Rejected,
    Replaced,
    Retried,
    Revoked,
    Succeeded,
)
from umbel.model.request import Request
from umbel.wire.preview import preview
from umbel.worker.intake import Decided, Job
from umbel.worker.received import ReceivedRequest, RejectedMessage

received_log = logging.getLogger("celery.worker.strategy")
ended_log = logging.getLogger("celery.app.trace")


def received(job: Job) -> None:
    """A task was taken on."""
    if signals.task_received.receivers:
        told = ReceivedRequest(job.request, job.args, job.kwargs, job.plan)
        signals.task_received.send(sender=None, request=told)
    if received_log.isEnabledFor(logging.INFO):
        request = job.request
        received_log.info(
            "Task %s[%s] received",
            request.shadow or request.task,
            request.id,
            extra={"event": "task-received", "task_id": request.id, "task_name": request.task},
        )


def rejected(lease: Lease, request: Request | None, error: BaseException | None) -> None:
    """A message that is no task, or can't be read, is a dead letter."""
    if signals.task_rejected.receivers:
        message = RejectedMessage(lease, request)
        signals.task_rejected.send(sender=None, message=message, exc=error)


def internal_error(job: Job, error: BaseException) -> None:
    """What is ours, or came with the message, failed around a task; not the task itself."""
    if signals.task_internal_error.receivers:
        signals.task_internal_error.send(
            sender=job.plan.task,
            task_id=job.request.id,
            args=job.args,
            kwargs=job.kwargs,
            request=job.request,
            exception=error,
            traceback=error.__traceback__,
            einfo=ExceptionInfo(error, traceback_of(error), internal=True),
        )


def outran(job: Job, soft_s: float) -> None:
    """A task ran longer than its soft limit, whatever it made of the exception."""
    request = job.request
    ended_log.warning(
        "Soft time limit (%ss) exceeded for %s[%s]",
        soft_s,
        request.shadow or request.task,
        request.id,
    )


def ended(job: Job, outcome: Outcome, runtime_s: float) -> None:
    """A task has ended, in whichever way."""
    if type(outcome) is Succeeded and not ended_log.isEnabledFor(logging.INFO):
        return
    request = job.request
    name = request.shadow or request.task
    extra = {"task_id": request.id, "task_name": request.task, "runtime": runtime_s}
    match outcome:
        case Succeeded():
            ended_log.info(
                "Task %s[%s] succeeded in %ss: %s",
                name,
                request.id,
                runtime_s,
                preview(outcome.value, job.plan.resultrepr_maxsize),
                extra={**extra, "event": "task-succeeded"},
            )
        case Failed():
            extra["event"] = "task-failed"
            if job.plan.throws and isinstance(outcome.error, job.plan.throws):
                ended_log.info(
                    "Task %s[%s] raised expected: %s",
                    name,
                    request.id,
                    preview(outcome.error),
                    extra=extra,
                )
            else:
                ended_log.error(
                    "Task %s[%s] raised unexpected: %s\n%s",
                    name,
                    request.id,
                    preview(outcome.error),
                    outcome.traceback,
                    extra=extra,
                )
        case Retried():
            extra["event"] = "task-retried"
            ended_log.info("Task %s[%s] retry: %s", name, request.id, outcome.message, extra=extra)
        case Rejected():
            extra["event"] = "task-rejected"
            ended_log.warning(
                "Task %s[%s] rejected: %s (requeue=%s)",
                name,
                request.id,
                outcome.reason,
                outcome.requeue,
                extra=extra,
            )
        case Ignored():
            ended_log.info("Task %s[%s] ignored", name, request.id, extra=extra)
        case Replaced():
            ended_log.info("Task %s[%s] replaced", name, request.id, extra=extra)
        case Revoked():
            ended_log.info("Task %s[%s] revoked: %s", name, request.id, outcome.reason, extra=extra)
        case _:
            assert_never(outcome)


def decided(decision: Decided, plan: Plan | None) -> None:
    """Something ended without running here: the log line, and the hooks and signals of the task."""
    request, outcome = decision.request, decision.outcome
    name = request.shadow or request.task
    if decision.is_quiet:
        # Hooks and receivers are user code, and some of it has killed who called it.
        pass
    elif isinstance(outcome, Revoked):
        signals.task_revoked.send(
            sender=None if plan is None else plan.task,
            request=request,
            terminated=outcome.reason == "terminated",
            signum=outcome.signal_name,
            expired=outcome.reason == "expired",
        )
    elif isinstance(outcome, Failed) and decision.is_refused:
        rejected(decision.lease, request, outcome.error)
    elif isinstance(outcome, Failed) and plan is not None:
        tell_failure(plan, request, request.args, request.kwargs, outcome)
    elif isinstance(outcome, Failed):
        signals.task_unknown.send(
            sender=None, message=request, exc=outcome.error, name=request.task, id=request.id
        )
    if isinstance(outcome, Failed) and isinstance(outcome.error, TimeLimitExceeded):
        limit_s = outcome.error.args[0] if outcome.error.args else None
        ended_log.error("Hard time limit (%ss) exceeded for %s[%s]", limit_s, name, request.id)
    elif isinstance(outcome, Failed):
        ended_log.error("Task %s[%s] failed: %s", name, request.id, preview(outcome.error))
    elif isinstance(outcome, Revoked):
        ended_log.info("Task %s[%s] revoked: %s", name, request.id, outcome.reason)
