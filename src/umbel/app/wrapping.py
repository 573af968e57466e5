"""Where libraries that watch Celery put their hands, and how what they wrap is called here.

Sentry, and who learned from it, replace three functions: ``celery.app.trace.build_tracer``, which
makes the function around a task's run; ``Task.apply_async``, to give a message headers; and
``kombu.Producer.publish``, to time the sending. umbel has no use for the first and the last, and
sends the steps of a workflow without the second. So each is looked at where a plan is made or a
message is sent: while nobody has replaced it, that is all that it costs. What a wrapper raises is
logged; it changes no outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any, NamedTuple

from umbel.app.task import Task
from umbel.model.call import Call
from umbel.model.errors import NotBuiltYet
from umbel.model.message import Message
from umbel.model.outcome import Failed, Outcome, Rejected, Retried, Succeeded
from umbel.model.request import Request

logger = logging.getLogger(__name__)

Tracer = Callable[..., Any]

_own_apply_async = Task.apply_async


# - Around a task's run


class trace_ok_t(NamedTuple):  # noqa: N801 - Celery's name
    """What a tracer gives."""

    retval: Any
    info: Any
    runtime: float
    retstr: str


def build_tracer(
    name: str,
    task: Any,
    loader: Any = None,
    hostname: str | None = None,
    store_errors: bool = True,
    Info: Any = None,  # noqa: N803 - Celery's name
    eager: bool = False,
    propagate: bool = False,
    app: Any = None,
    **_more: Any,
) -> Tracer:
    """A function ``(uuid, args, kwargs, request)`` that runs the task once.

    It exists to be wrapped: with a replacement of this function in its module, tasks are run
    through what that gives.
    """
    # Not at the top: that room asks this one.
    from umbel.app.execution import Plan, execute

    plan = Plan(task, is_wrapped=False)

    def trace_task(uuid: str, args: Any, kwargs: Any, request: Any = None) -> trace_ok_t:
        if not isinstance(request, Request):
            request = Request(request or {}, id=uuid, task=name, called_directly=False)
        outcome = execute(plan, request, args, kwargs)
        request._outcome = outcome
        request._context = request._context or copy_context()
        if Task.apply_async is not _own_apply_async and not request.is_eager:
            # Here, while what is wrapped around the run still goes on.
            request._handed_on = _given_headers(_next_step(request), (), {}, {})
        return _told(outcome)

    return trace_task


_own_build_tracer = build_tracer


def tracer_of(task: Any) -> Tracer | None:
    """What is to be called around the task's run; None where nobody wants to."""
    if build_tracer is _own_build_tracer:
        return None
    return build_tracer(task.name, task, task.app.loader, None, app=task.app)


def traced(tracer: Tracer, request: Request, args: Any, kwargs: Any) -> Outcome:
    """Run the task through a tracer, and give its outcome."""
    try:
        tracer(request.id, args, kwargs, request)
    except Exception:
        if request._outcome is None:
            raise
        # The wrapper's own trouble: the task has run, and that is what counts.
        logger.exception("what is wrapped around task %s[%s] raised", request.task, request.id)
    outcome, request._outcome = request._outcome, None
    if outcome is None:
        raise RuntimeError(f"what is wrapped around task {request.task} did not run it")
    found: Outcome = outcome
    return found


def _told(outcome: Outcome) -> trace_ok_t:
    if isinstance(outcome, Succeeded):
        return trace_ok_t(outcome.value, None, 0.0, repr(outcome.value))
    if isinstance(outcome, Failed | Retried):
        return trace_ok_t(outcome.error, None, 0.0, repr(outcome.error))
    reason = outcome.reason if isinstance(outcome, Rejected) else None
    return trace_ok_t(reason, None, 0.0, "")


def task_has_custom(task: Any, attr: str) -> bool:
    """Whether a task's class, or a base of it below ``Task``, defines this attribute."""
    for kind in type(task).__mro__:
        if kind is Task:
            return False
        if attr in vars(kind):
            return True
    return False


# - Headers for messages that are sent without a task's apply_async


class _Probe(Task[..., Any]):
    """A task that sends nothing: its ``apply_async`` ends with the options that arrive."""

    abstract = True

    def __init__(self, name: str) -> None:
        self.name = name
        self._app = SimpleNamespace(conf=SimpleNamespace(task_always_eager=True))

    def check_arguments(self, args: Any, kwargs: Any) -> None:
        return None

    def _apply_eagerly(self, args: Any, kwargs: Any, task_id: Any, **options: Any) -> Any:
        return options


def with_headers(calls: Iterable[Any]) -> Iterable[Any]:
    """The calls, each with the headers that a replaced ``Task.apply_async`` would give it.

    The steps of a workflow are sent together, and not through their tasks.
    """
    if Task.apply_async is _own_apply_async:
        return calls
    return (_with_headers(call) if isinstance(call, Call) else call for call in calls)


def _with_headers(call: Call) -> Call:
    own = dict(call.options.get("headers") or {})
    given = _given_headers(call.task, call.args, call.kwargs, own)
    return call if given is None else _laid_over(call, given)


def following(call: Call, request: Request) -> Call:
    """A call that follows an attempt, with the headers that were given for it while it ran."""
    given = request._handed_on
    if not given:
        return call
    own = dict(call.options.get("headers") or {})
    merged = {**own, **given}
    if isinstance(given.get("headers"), Mapping):
        # The receiver's ``request.headers`` is what stands under this name, where it is there.
        inner = own.pop("headers", None) or {}
        merged["headers"] = {**own, **inner, **given["headers"]}
    return _laid_over(call, merged)


def _laid_over(call: Call, headers: Mapping[str, Any]) -> Call:
    return call._replace(options={**call.options, "headers": headers})


def _given_headers(
    name: str, args: Any, kwargs: Any, own: dict[str, Any]
) -> Mapping[str, Any] | None:
    try:
        found: Any = _Probe(name).apply_async(args, kwargs, headers=own)
        given: Mapping[str, Any] = found["headers"]
    except Exception:
        # Somebody else's code: a message without its headers is better than none.
        logger.exception("what is wrapped around apply_async of task %s raised", name)
        return None
    return given


def _next_step(request: Request) -> str:
    steps = [*(request.callbacks or ()), *(request.chain or ())]
    return str(steps[-1]["task"]) if steps else str(request.task)


# - Around publishing


class Producer:
    """kombu's name for what publishes. Only ``publish`` is here, to be replaced."""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        raise NotBuiltYet(
            "kombu.Producer: umbel has no kombu connections; send tasks, or talk to the broker's"
            " own client"
        )

    def publish(self, body: Any, **_facts: Any) -> Any:
        """Send the message that this producer was made for."""
        return self._send()  # type: ignore[attr-defined] # set by publish_each


_own_publish = Producer.publish


def is_publishing_watched() -> bool:
    """Whether somebody has replaced ``Producer.publish``."""
    return Producer.publish is not _own_publish


def publish_each(messages: Iterable[Message], send: Callable[[Message], None], link: Any) -> None:
    """Send messages one by one, each through ``Producer.publish``."""
    # Not at the top: only who is watched takes messages apart again.
    from umbel.wire import envelope

    for message in messages:
        producer = Producer.__new__(Producer)
        producer.__dict__.update(_send=lambda message=message: send(message), connection=link)
        opened = envelope.decode(message.raw)
        where = opened.properties.get("delivery_info") or {}
        producer.publish(
            opened.body,
            headers=opened.headers,
            exchange=where.get("exchange"),
            routing_key=where.get("routing_key"),
            correlation_id=opened.properties.get("correlation_id"),
            content_type=opened.content_type,
            content_encoding=opened.content_encoding,
        )
