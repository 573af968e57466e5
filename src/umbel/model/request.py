"""One attempt at a task, as the code of the task sees it: ``self.request``.

Mutable, because Celery's users change it (``self.request.chain = None``). The attributes are those
of Celery's task request; the names of the message headers are a part of them, so that a request is
filled by one dictionary update.

The request that runs now lives in a context variable, so that threads, and later coroutines, each
see their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import Context, ContextVar
from typing import Any

from umbel.model.call import Call, SignatureDict
from umbel.model.join import JoinGrowth, JoinOpening


class Request:
    """One attempt. Unset attributes read as their defaults here."""

    # What stands in the message.
    id: str | None = None
    task: str | None = None
    args: Any = None
    kwargs: Any = None
    lang: str | None = None
    shadow: str | None = None
    eta: str | None = None
    expires: Any = None
    group: str | None = None
    group_index: int | None = None
    retries: int = 0
    timelimit: Any = None  # [hard, soft], seconds
    root_id: str | None = None
    parent_id: str | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    origin: str | None = None
    ignore_result: bool | None = False
    replaced_task_nesting: int = 0
    stamped_headers: Any = None
    stamps: Any = None
    headers: Any = None  # the sender's own headers, or None
    properties: Any = None
    reply_to: str | None = None
    correlation_id: str | None = None
    delivery_info: Any = None
    # What stands in the body beside the arguments.
    callbacks: Any = None
    errbacks: Any = None
    chord: Any = None
    # What this process adds.
    hostname: str | None = None
    is_eager: bool = False
    called_directly: bool = True
    logfile: Any = None
    loglevel: Any = None
    taskset: str | None = None
    utc: bool | None = None
    _came_by: str | None = None  # the queue; delivery_info says what the sender has said
    _children: list[Any] | None = None
    _protected: int = 0
    # How the attempt ended, and where: for what others have wrapped around it, and for headers that
    # they give to what follows from it.
    _outcome: Any = None
    _context: Context | None = None
    _handed_on: Any = None
    # The next three belong to the settlement of this attempt.
    replaced_by: list[Call | JoinOpening] | None = None
    added_sends: list[Call | JoinOpening] | None = None
    added_growth: list[JoinGrowth] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__.update(*args, **kwargs)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set attributes from a mapping, as ``dict.update`` does."""
        self.__dict__.update(*args, **kwargs)

    def clear(self) -> None:
        """Forget everything that was set."""
        self.__dict__.clear()

    def get(self, key: str, default: Any = None) -> Any:
        """The attribute, or the default."""
        return getattr(self, key, default)

    def __repr__(self) -> str:
        return f"<Context: {self.__dict__!r}>"

    @property
    def chain(self) -> Any:
        """Remaining steps, reversed: the next one is the last. A list that the task may change."""
        steps = self.__dict__.get("chain")
        if steps is None or type(steps) is list:
            return steps
        steps = self.__dict__["chain"] = list(steps)
        return steps

    @chain.setter
    def chain(self, steps: Any) -> None:
        self.__dict__["chain"] = steps

    @property
    def unread_chain(self) -> Sequence[SignatureDict] | None:
        """The same for who only hands it on; as it was read, perhaps not decoded."""
        return self.__dict__.get("chain")

    @property
    def children(self) -> list[Any]:
        """Results of what this attempt has sent, in order."""
        if self._children is None:
            self._children = []
        return self._children

    @property
    def time_limit(self) -> float | None:
        """The hard limit of this attempt, in seconds."""
        return self.timelimit[0] if self.timelimit else None

    @property
    def soft_time_limit(self) -> float | None:
        """The soft limit of this attempt, in seconds."""
        return self.timelimit[1] if self.timelimit else None

    @property
    def group_id(self) -> str | None:
        """The id of the group that the task is a member of."""
        return self.group

    def as_execution_options(self) -> Mapping[str, Any]:
        """What a new message for the same task takes over from this attempt."""
        limits = self.timelimit or (None, None)
        return {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.unread_chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "soft_time_limit": limits[1],
            "time_limit": limits[0],
            "headers": self.headers,
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": self.replaced_task_nesting,
            "origin": self.origin,
        }


# The attempt that runs here, innermost last: a task may call or apply another one.
running: ContextVar[tuple[Request, ...]] = ContextVar("umbel_running_requests", default=())


def current_request() -> Request | None:
    """The request of the task that runs here, or None outside of tasks."""
    stack = running.get()
    return stack[-1] if stack else None
