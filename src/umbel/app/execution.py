"""One attempt at a task, in this process: from a Request and its arguments to an Outcome.

The worker and eager mode share it. It does no I/O but what the user's code does, and nothing for
hooks and signals that nobody uses. What ``retry``, ``replace`` and ``add_to_chord`` ask for is
found on the Request and in the exception that they raise; carrying it out is the business of whom
this room answers. What hooks and receivers raise is logged and does not change the outcome, except
``before_start``, which belongs to the task.
"""

from __future__ import annotations

import logging
import random
import traceback as tracebacks
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Any

from umbel.app import signals, wrapping
from umbel.model import states
from umbel.model.clock import monotonic_s
from umbel.model.errors import (
    Ignore,
    Reject,
    Retry,
)
from umbel.model.outcome import (
    Failed,
    Ignored,
    Outcome,
    Rejected,
    Replaced,
    Retried,
    Succeeded,
)
from umbel.model.request import Request, running

logger = logging.getLogger(__name__)

# What the death of its process means for a task, where that is not umbel's default.
RUNS_AGAIN_AFTER_TIMEOUT = 1  # acks_on_timeout is off
FAILS_WHEN_LOST = 2  # reject_on_worker_lost is off, explicitly

_HOOKS = ("before_start", "on_success", "on_failure", "on_retry", "after_return")


class ExceptionInfo:
    """What hooks and signals are given of an error, under Celery's names."""

    def __init__(self, error: BaseException, text: str, internal: bool = False) -> None:
        self.exception = error
        self.type = type(error)
        self.tb: TracebackType | None = error.__traceback__
        self.traceback = text
        self.internal = internal

    @property
    def exc_info(self) -> tuple[Any, ...]:
        """As ``sys.exc_info()`` gives it."""
        return self.type, self.exception, self.tb

    def __str__(self) -> str:
        return self.traceback

    def __repr__(self) -> str:
        return f"<ExceptionInfo: {self.exception!r}>"


class Plan:
    """What must be known to run a task, worked out once."""

    __slots__ = (
        "after_return", "autoretry_for", "before_start", "dont_autoretry_for", "ignore_result",
        "interval_ns", "is_at_most_once", "is_failure_settled", "manners", "name", "number",
        "on_failure", "on_retry", "on_success", "resultrepr_maxsize", "run", "sends_events",
        "soft_time_limit", "store_errors_even_if_ignored", "task", "throws", "time_limit", "tracer",
        "track_started",
    )  # fmt: skip

    before_start: Callable[..., Any] | None
    on_success: Callable[..., Any] | None
    on_failure: Callable[..., Any] | None
    on_retry: Callable[..., Any] | None
    after_return: Callable[..., Any] | None

    def __init__(self, task: Any, *, is_wrapped: bool = True) -> None:
        self.task = task
        self.name: str = task.name
        # First: who wraps the tracer may replace the task's own functions too.
        self.tracer = wrapping.tracer_of(task) if is_wrapped else None
        # A task class may put something around its run; then it is called from outside.
        self.run = task.run if not task.overrides("__call__") else task
        # None where the hook is Task's own, which does nothing.
        for hook in _HOOKS:
            setattr(self, hook, getattr(task, hook) if task.overrides(hook) else None)
        self.autoretry_for: tuple[type[BaseException], ...] = tuple(task.autoretry_for or ())
        self.dont_autoretry_for = tuple(task.dont_autoretry_for or ())
        self.throws = tuple(task.throws or ())
        self.ignore_result = bool(task.ignore_result)
        self.store_errors_even_if_ignored = bool(task.store_errors_even_if_ignored)
        self.track_started = bool(task.track_started)
        self.sends_events = bool(task.send_events)
        self.time_limit: float | None = task.time_limit
        self.soft_time_limit: float | None = task.soft_time_limit
        self.resultrepr_maxsize = int(task.resultrepr_maxsize)
        # Said explicitly, on the task or the app; the default settles late.
        self.is_at_most_once = task.acks_late is False
        # A failure is final, and its message is done with; else it becomes a dead letter.
        self.is_failure_settled = self.is_at_most_once or _said(
            task.acks_on_failure, task.acks_on_failure_or_timeout
        )
        is_timeout_settled = self.is_at_most_once or _said(
            task.acks_on_timeout, task.acks_on_failure_or_timeout
        )
        is_lost_final = task.reject_on_worker_lost is False and not task.retry_on_worker_lost
        # What its supervisor is to know if the process dies of it; 0 for almost all.
        self.manners = (0 if is_timeout_settled else RUNS_AGAIN_AFTER_TIMEOUT) | (
            FAILS_WHEN_LOST if is_lost_final else 0
        )
        # From one start to the next, in the whole worker; 0: no rate limit. A worker sets it.
        self.interval_ns = 0
        # By which a worker counts what it runs.
        self.number = 0


def _said(own: Any, common: Any) -> bool:
    return bool(common if own is None else own)


def execute(plan: Plan, request: Request, args: Any, kwargs: Any) -> Outcome:
    """Run the task once. ``request`` is the running one while it does."""
    if plan.tracer is not None:
        return wrapping.traced(plan.tracer, request, args, kwargs)
    token = running.set((*running.get(), request))
    try:
        if signals.task_prerun.receivers:
            signals.task_prerun.send(
                sender=plan.task, task_id=request.id, task=plan.task, args=args, kwargs=kwargs
            )
        started = monotonic_s()
        outcome = _attempt(plan, request, args, kwargs)
        _tell(plan, request, args, kwargs, outcome, monotonic_s() - started)
        return outcome
    finally:
        running.reset(token)


def _attempt(plan: Plan, request: Request, args: Any, kwargs: Any) -> Outcome:
    try:
        if plan.before_start is not None:
            plan.before_start(request.id, args, kwargs)
        try:
            value = plan.run(*args, **kwargs)
        except plan.autoretry_for as error:
            if isinstance(error, (*plan.dont_autoretry_for, Retry, Ignore, Reject)):
                raise
            raise _autoretry(plan.task, request, error)  # noqa: B904 - chained by retry()
        if request.replaced_by is not None:
            return Replaced(tuple(request.replaced_by))
        return Succeeded(value)
    except Retry as error:
        return _retried(error)
    except Ignore:
        if request.replaced_by is not None:
            return Replaced(tuple(request.replaced_by))
        return Ignored()
    except Reject as error:
        return Rejected(error.reason, error.requeue)
    except BaseException as error:  # noqa: BLE001 - the border to user code
        # SystemExit too, CancelledError, KeyboardInterrupt: what a task raises ends the task, not
        # the worker. A worker's children hear no Ctrl-C; who runs a task in his own process does.
        if request.is_eager and isinstance(error, KeyboardInterrupt):
            raise
        return Failed(error, traceback_of(error))


def _retried(error: Retry) -> Outcome:
    call = getattr(error, "call", None)
    if call is None:
        # Raised by hand, not by Task.retry: there is nothing that could be sent.
        return Failed(error, traceback_of(error))
    return Retried(call, error.exc, traceback_of(error), str(error))


def traceback_of(error: BaseException) -> str:
    """The traceback as text, from the user's code on."""
    trace = error.__traceback__
    # Our own frames say nothing to a user: they are the outermost ones.
    while trace is not None and trace.tb_frame.f_globals.get("__name__") == __name__:
        trace = trace.tb_next
    return "".join(tracebacks.format_exception(type(error), error, trace))


# - Automatic retries


def _autoretry(task: Any, request: Request, error: BaseException) -> BaseException:
    """Raises what ``Task.retry`` raises: a Retry, or the error when there were enough."""
    options = dict(task.retry_kwargs or {})
    if task.retry_backoff:
        options["countdown"] = backoff(
            factor=max(1, int(task.retry_backoff)),
            retries=request.retries or 0,
            maximum=task.retry_backoff_max,
            full_jitter=task.retry_jitter,
        )
    found: BaseException = task.retry(exc=error, **options)
    return found


def backoff(factor: int, retries: int, maximum: float, full_jitter: bool = False) -> float:
    """Seconds to wait before the next retry: ``factor * 2 ** retries``, bounded, jittered."""
    # Beyond 2 ** 62 only the maximum counts, and Python would compute the power exactly.
    countdown: float = min(maximum, factor * 2 ** min(retries, 62))
    if full_jitter:
        countdown = random.randrange(int(countdown) + 1)
    return max(0, countdown)


# - Telling hooks and receivers


def _tell(
    plan: Plan, request: Request, args: Any, kwargs: Any, outcome: Outcome, runtime_s: float
) -> None:
    state, value = states.IGNORED, None
    if type(outcome) is Succeeded:
        state, value = states.SUCCESS, outcome.value
        if plan.on_success is not None:
            _call(request, plan.on_success, value, request.id, args, kwargs)
        if signals.task_success.receivers:
            signals.task_success.send(sender=plan.task, result=value, runtime=runtime_s)
        if plan.after_return is not None:
            _call(request, plan.after_return, state, value, request.id, args, kwargs, None)
    elif type(outcome) is Failed:
        state, value = states.FAILURE, outcome.error
        tell_failure(plan, request, args, kwargs, outcome)
    elif type(outcome) is Retried:
        state, value = states.RETRY, outcome.error
        _tell_retry(plan, request, args, kwargs, outcome)
    elif type(outcome) is Rejected:
        state, value = states.REJECTED, outcome.reason
    if signals.task_postrun.receivers:
        # Receivers take down what task_prerun has set up; what follows the task belongs inside.
        request._context = copy_context()
        signals.task_postrun.send(
            sender=plan.task,
            task_id=request.id,
            task=plan.task,
            args=args,
            kwargs=kwargs,
            retval=value,
            state=state,
        )


def tell_failure(plan: Plan, request: Request, args: Any, kwargs: Any, outcome: Failed) -> None:
    """Hooks and signal of a failure; also for one that came from outside of the task."""
    if not (plan.on_failure or plan.after_return or signals.task_failure.receivers):
        return
    error = outcome.error
    info = ExceptionInfo(error, outcome.traceback, outcome.internal)
    if plan.on_failure is not None:
        _call(request, plan.on_failure, error, request.id, args, kwargs, info)
    signals.task_failure.send(
        sender=plan.task,
        task_id=request.id,
        exception=error,
        args=args,
        kwargs=kwargs,
        traceback=error.__traceback__,
        einfo=info,
    )
    if plan.after_return is not None:
        _call(request, plan.after_return, states.FAILURE, error, request.id, args, kwargs, info)


def _tell_retry(plan: Plan, request: Request, args: Any, kwargs: Any, outcome: Retried) -> None:
    if plan.on_retry is None and not signals.task_retry.receivers:
        return
    options = outcome.call.options
    when = options.get("eta") or options.get("countdown")
    reason = Retry(outcome.message, exc=outcome.error, when=when)
    info = ExceptionInfo(reason, outcome.traceback)
    if plan.on_retry is not None:
        _call(request, plan.on_retry, outcome.error, request.id, args, kwargs, info)
    signals.task_retry.send(sender=plan.task, request=request, reason=reason, einfo=info)


def _call(request: Request, hook: Callable[..., Any], *facts: Any) -> None:
    try:
        hook(*facts)
    except Exception:
        # User code: the outcome stands. Who runs a task eagerly, as tests do, wants to see it.
        if request.is_eager:
            raise
        logger.exception("hook %s of task %s[%s] raised", hook, request.task, request.id)
