"""The commands that workers know, and how users add their own.

Celery's are listed here with what they take, so that the command line can turn words into
arguments and say what is missing. A function decorated with ``@control_command`` (it changes
something) or ``@inspect_command`` (it looks) becomes one more: it is called as ``function(state,
**arguments)`` in the process of a worker that holds the app, and what it returns is the answer.
https://docs.celeryq.dev/en/stable/userguide/workers.html#writing-your-own-remote-control-commands
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

INSPECT = "inspect"
CONTROL = "control"


class Spec(NamedTuple):
    """What a command takes: by name on the wire, by position on the command line."""

    name: str
    kind: str
    help: str
    args: tuple[tuple[str, Callable[[str], Any]], ...] = ()
    required: int = 0  # so many words must be given
    variadic: str | None = None  # all further words, as a list under this name
    signature: str = ""
    timeout_s: float = 1.0


def _spec(name: str, kind: str, help_: str, *args: Any, **more: Any) -> tuple[str, Spec]:
    return name, Spec(name, kind, help_, args, **more)


_TEXT_QUEUE = ("queue", str)
COMMANDS: dict[str, Spec] = dict(
    [
        _spec("active", INSPECT, "What runs now."),
        _spec("active_queues", INSPECT, "The queues that a worker consumes."),
        _spec("clock", INSPECT, "The logical clock of a worker."),
        _spec("conf", INSPECT, "The settings of a worker.", ("with_defaults", bool)),
        _spec("ping", INSPECT, "Who is there."),
        _spec("query_task", INSPECT, "Where tasks are.", variadic="ids", signature="ID [ID ...]"),
        _spec(
            "registered",
            INSPECT,
            "The tasks that a worker knows, with attributes.",
            variadic="taskinfoitems",
            signature="[ATTRIBUTE ...]",
        ),
        _spec("report", INSPECT, "What a bug report should say of a worker."),
        _spec("reserved", INSPECT, "What a worker has taken and not begun."),
        _spec("revoked", INSPECT, "The ids of tasks that must not run."),
        _spec("scheduled", INSPECT, "What waits for its time in the queues of a worker."),
        _spec("stats", INSPECT, "Numbers about a worker and its processes."),
        _spec(
            "add_consumer",
            CONTROL,
            "Consume one more queue.",
            _TEXT_QUEUE,
            ("exchange", str),
            ("exchange_type", str),
            ("routing_key", str),
            required=1,
            signature="QUEUE [EXCHANGE [TYPE [ROUTING_KEY]]]",
        ),
        _spec(
            "autoscale",
            CONTROL,
            "Change the bounds of the autoscaler.",
            ("max", int),
            ("min", int),
            required=2,
            signature="MAX MIN",
        ),
        _spec(
            "cancel_consumer",
            CONTROL,
            "Consume a queue no more.",
            _TEXT_QUEUE,
            required=1,
            signature="QUEUE",
        ),
        _spec("disable_events", CONTROL, "Send no task events."),
        _spec("enable_events", CONTROL, "Send task events."),
        _spec("heartbeat", CONTROL, "Send a heartbeat event now."),
        _spec("pool_grow", CONTROL, "Start more processes.", ("n", int), signature="[N=1]"),
        _spec("pool_restart", CONTROL, "Import the app anew and replace all processes."),
        _spec("pool_shrink", CONTROL, "Keep fewer processes.", ("n", int), signature="[N=1]"),
        _spec(
            "rate_limit",
            CONTROL,
            "Change the rate limit of a task.",
            ("task_name", str),
            ("rate_limit", str),
            required=2,
            signature="TASK RATE",
        ),
        _spec(
            "revoke",
            CONTROL,
            "Let tasks not run.",
            variadic="task_id",
            required=1,
            signature="ID [ID ...]",
        ),
        _spec(
            "revoke_by_stamped_headers",
            CONTROL,
            "Let tasks with these stamps not run.",
            variadic="headers",
            required=1,
            signature="NAME=VALUE [NAME=VALUE ...]",
        ),
        _spec("shutdown", CONTROL, "Let workers finish what runs, and end."),
        _spec(
            "terminate",
            CONTROL,
            "End tasks that run, and let them not run again.",
            ("signal", str),
            variadic="task_id",
            required=2,
            signature="SIGNAL ID [ID ...]",
        ),
        _spec(
            "time_limit",
            CONTROL,
            "Change the time limits of a task.",
            ("task_name", str),
            ("soft", float),
            ("hard", float),
            required=2,
            signature="TASK SOFT_SECONDS [HARD_SECONDS]",
        ),
    ]
)


class Panel:
    """The commands that users have added, under Celery's name for the place."""

    data: dict[str, Callable[..., Any]] = {}
    meta: dict[str, Spec] = {}

    @classmethod
    def register(cls, *args: Any, **options: Any) -> Any:
        """Decorate a function; bare, or with the options of ``control_command``."""
        if args:
            return cls.add(args[0], CONTROL, **options)
        kind = options.pop("type", CONTROL)
        return lambda function: cls.add(function, kind, **options)

    @classmethod
    def add(
        cls,
        function: Function,
        kind: str,
        *,
        name: str | None = None,
        alias: str | None = None,
        visible: bool = True,
        default_timeout: float = 1.0,
        help: str | None = None,  # noqa: A002 - Celery's name
        signature: str | None = None,
        args: Sequence[tuple[str, Callable[[str], Any]]] | None = None,
        variadic: str | None = None,
    ) -> Function:
        """One more command; an ``alias`` is a second name for it."""
        called = name or function.__name__
        first_line = (help or function.__doc__ or "").strip().partition("\n")[0]
        spec = Spec(
            called,
            kind,
            first_line if visible else "",
            tuple(args or ()),
            variadic=variadic,
            signature=signature or "",
            timeout_s=default_timeout,
        )
        for one in (called, alias):
            if one:
                cls.data[one] = function
                cls.meta[one] = spec
        return function


def control_command(function: Function | None = None, **options: Any) -> Any:
    """Let a function be called on workers by ``app.control.broadcast`` and ``umbel control``."""
    if function is not None:
        return Panel.add(function, CONTROL)
    return Panel.register(type=CONTROL, **options)


def inspect_command(function: Function | None = None, **options: Any) -> Any:
    """The same for what only looks, and ``umbel inspect``."""
    if function is not None:
        return Panel.add(function, INSPECT)
    return Panel.register(type=INSPECT, **options)


def specs(kind: str) -> Mapping[str, Spec]:
    """All commands of a kind, those of users included."""
    every = {**COMMANDS, **Panel.meta}
    return {name: spec for name, spec in sorted(every.items()) if spec.kind == kind}
