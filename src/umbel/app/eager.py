"""Running a task here and now: ``Task.apply`` and ``task_always_eager``.

The same ``execute`` that workers use, without a message, a lease or a settlement. A retry runs
again at once, whatever its countdown.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from umbel.app.execution import Plan, execute
from umbel.model import ids, states
from umbel.model.errors import Reject
from umbel.model.outcome import Failed, Ignored, Rejected, Replaced, Retried, Revoked, Succeeded
from umbel.model.request import Request
from umbel.results.eager import EagerResult

logger = logging.getLogger(__name__)


def apply(
    task: Any,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    request: Request,
    *,
    throw: bool,
) -> EagerResult:
    """Run until it is no retry any more. ``throw``: an error is raised, not kept."""
    plan = Plan(task)
    while True:
        request.args, request.kwargs = args, kwargs
        outcome = execute(plan, request, args, kwargs)
        if not isinstance(outcome, Retried):
            break
        call = outcome.call
        args, kwargs = list(call.args), dict(call.kwargs)
        request = _again(request, call.options)
    match outcome:
        case Succeeded():
            value, state, trace = outcome.value, states.SUCCESS, None
        case Failed():
            value, state, trace = outcome.error, states.FAILURE, outcome.traceback
        case Rejected():
            value, state, trace = Reject(outcome.reason, outcome.requeue), states.REJECTED, None
        case Ignored() | Replaced() | Revoked():
            value, state, trace = None, states.IGNORED, None
    if state == states.SUCCESS:
        _pass_on(task, request, value)
    elif state == states.FAILURE:
        _call_errbacks(task, request, value, trace)
        if throw:
            raise value
    if task.store_eager_result and not plan.ignore_result and state in states.READY_STATES:
        task.app.archive.store_result(request.id, value, state, trace, request=request)
    return EagerResult(request.id or "", value, state, traceback=trace, name=task.name)


def eager_request(task: Any, task_id: str | None, options: Mapping[str, Any]) -> Request:
    """The request of a task that is applied here."""
    get = options.get
    request_id = task_id or ids.new_id()
    return Request(
        id=request_id,
        task=task.name,
        is_eager=True,
        called_directly=False,
        hostname=ids.hostname(),
        retries=get("retries") or 0,
        callbacks=get("link"),
        errbacks=get("link_error"),
        headers=get("headers"),
        logfile=get("logfile"),
        loglevel=get("loglevel"),
        root_id=get("root_id") or request_id,
        parent_id=get("parent_id"),
        group=get("group_id"),
        group_index=get("group_index"),
        chord=get("chord"),
        chain=get("chain"),
        ignore_result=get("ignore_result") or False,
        stamped_headers=get("stamped_headers"),
        stamps={name: get(name) for name in get("stamped_headers") or ()},
        delivery_info={
            "is_eager": True,
            "exchange": get("exchange"),
            "routing_key": get("routing_key"),
            "priority": get("priority"),
        },
    )


def _again(request: Request, options: Mapping[str, Any]) -> Request:
    following = Request(request.__dict__)
    following.retries = options["retries"]
    following._children = None
    return following


def _pass_on(task: Any, request: Request, value: Any) -> None:
    """Callbacks and the rest of a chain, as the settlement of a worker would send them."""
    app = task.app
    known = {"root_id": request.root_id, "parent_id": request.id}
    for callback in request.callbacks or ():
        app.signature(callback).apply_async((value,), **known)
    if request.chain:
        *later, step = request.chain
        app.signature(step).apply_async((value,), chain=later or None, **known)


def _call_errbacks(task: Any, request: Request, error: Any, trace: str | None) -> None:
    app = task.app
    for errback in request.errbacks or ():
        signature = app.signature(errback)
        registered = app.tasks.get(signature["task"])
        if registered is not None and registered.accepts_error_request:
            registered(request, error, trace)
        elif registered is not None:
            signature.apply((request.id,))
        else:
            signature.apply_async((request.id,))
