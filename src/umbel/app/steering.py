"""What a running task may do about its own fate: retry, replace itself, grow its chord.

Inside a worker none of these publishes anything: what is to be sent is left on the request, or in
the Retry that is raised, and becomes part of the attempt's settlement, so that a crash can't do
it twice. In eager mode there is no settlement, and it happens here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from umbel.app.sending import check_options
from umbel.canvas.replacing import addition, replacement
from umbel.canvas.shapes import as_one_part
from umbel.model.call import Call
from umbel.model.errors import (
    Ignore,
    ImproperlyConfigured,
    MaxRetriesExceededError,
    Retry,
)
from umbel.model.queues import is_own_queue
from umbel.model.request import Request
from umbel.results.tuples import result_from_tuple


def retry(
    task: Any,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    exc: BaseException | None,
    *,
    throw: bool,
    eta: datetime | None,
    countdown: float | None,
    max_retries: Any,
    options: dict[str, Any],
) -> Retry:
    """Raise (or, with ``throw`` off, give) the Retry of a running task."""
    request: Request = task.request
    if request.called_directly:
        # There is no attempt to repeat: a function was called.
        _raise(exc or Retry("Task can be retried", None))
    check_options(options)
    retries = (request.retries or 0) + 1
    limit = task.max_retries if max_retries is None else max_retries
    if limit is not None and retries > limit:
        if exc is not None:
            _raise(exc)
        raise MaxRetriesExceededError(
            f"Can't retry {task.name}[{request.id}] args:{request.args} kwargs:{request.kwargs}",
            task_args=request.args,
            task_kwargs=request.kwargs,
        )
    if eta is None and countdown is None:
        countdown = task.default_retry_delay
    if isinstance(countdown, timedelta):
        countdown = countdown.total_seconds()
    options |= {"retries": retries, "eta": eta, "countdown": countdown}
    call = call_from_request(request, args, kwargs, options)
    found = Retry(exc=exc, when=eta if eta is not None else countdown, is_eager=request.is_eager)
    found.call = call  # type: ignore[attr-defined]  # read by execution, which makes a Retried of it
    if not throw and not request.is_eager:
        # The task goes on, and may even succeed; the next attempt is settled with this one.
        request.added_sends = [*(request.added_sends or ()), call]
    if throw:
        raise found from exc
    return found


def _raise(error: BaseException) -> None:
    # Inside of ``except``: the same error goes on as it is, another one keeps its cause.
    raise error


def call_from_request(
    request: Request,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> Call:
    """The same task again, with the same id, in the same place of its workflow."""
    kept = dict(request.as_execution_options())
    given = {name: value for name, value in options.items() if value is not None}
    merged = {**kept, **_place_of(request), **given}
    if "expires" in given or "queue" in given:
        merged = {**kept, **given}
    if request.stamped_headers:
        merged.setdefault("stamped_headers", list(request.stamped_headers))
        merged.setdefault("stamps", request.stamps)
    if request.ignore_result is not None:
        merged.setdefault("ignore_result", request.ignore_result)
    take = merged.pop
    return Call(
        task=request.task or "",
        # What was read is a list; monitors are shown a tuple, as of the first attempt.
        args=tuple(request.args or ()) if args is None else args,
        kwargs=request.kwargs if kwargs is None else kwargs,
        id=take("task_id") or "",
        root_id=take("root_id"),
        # As Celery has it: of a retry without a parent, its first attempt is the parent.
        parent_id=take("parent_id") or request.id,
        group_id=take("group_id"),
        group_index=take("group_index"),
        chord=take("chord"),
        chain=take("chain"),
        link=take("link"),
        link_error=take("link_error"),
        options={name: value for name, value in merged.items() if value is not None},
    )


def _place_of(request: Request) -> dict[str, Any]:
    """The queue that it came by, and its priority."""
    delivery = request.delivery_info or {}
    place: dict[str, Any] = {}
    priority = delivery.get("priority")
    if priority is None:
        priority = (request.properties or {}).get("priority")
    if priority is not None:
        place["priority"] = priority
    key = delivery.get("routing_key")
    if request._came_by is not None and is_own_queue(request._came_by):
        # Each worker tries its copy again by itself, else every retry would reach every worker.
        place["queue"] = request._came_by
    elif delivery.get("exchange"):
        place |= {"exchange": delivery["exchange"], "routing_key": key}
    elif key:
        place["queue"] = key
    return place


# - Replacing


def replace(task: Any, signature: Any) -> Any:
    """Put a signature in the place of the running task; raises ``Ignore`` in a worker."""
    if "chord" in signature["options"]:
        raise ImproperlyConfigured("a signature that replaces a task must not be part of a chord")
    if signature.get("subtask_type") == "chain" and not signature["kwargs"]["tasks"]:
        raise ImproperlyConfigured("a task can't be replaced with an empty chain")
    return task.on_replace(signature)


def carry_out_replacement(task: Any, signature: Any) -> Any:
    """What ``Task.on_replace`` does: run it here, or leave it to the settlement."""
    request: Request = task.request
    if request.is_eager:
        # A group's list of results stands for the one result of the task.
        return task.app.signature(as_one_part(signature)).apply().get()
    request.replaced_by = replacement(signature, request, new_id=task.app.new_id)
    raise Ignore("replaced by another task")


def grow_chord(task: Any, signature: Any, *, lazy: bool) -> Any:
    """Make a signature a further member of the chord of the running task."""
    request: Request = task.request
    sends, growth, nodes = addition(signature, request, new_id=task.app.new_id)
    request.added_growth = [*(request.added_growth or ()), growth]
    if lazy:
        # The caller sends it, when it likes; the join waits for it from now on.
        return signature.set(
            group_id=request.group, group_index=request.group_index, chord=request.chord
        )
    request.added_sends = [*(request.added_sends or ()), *sends]
    results = [result_from_tuple(node, task.app) for node in nodes]
    for result in results:
        task.app.add_to_trail(result)
    return results[0] if results else None
