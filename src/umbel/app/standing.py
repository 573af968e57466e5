"""What Celery's task has for those who reach into it.

``Task.request_stack`` holds the attempts of one task that run here, innermost last. Celery keeps a
stack per task; umbel keeps one per thread or coroutine, of all tasks, and this is a view of it, for
tests and libraries that push a request of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.model.refused import Refused
from umbel.model.request import Request, running


class RequestStack:
    """The requests of one task."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def stack(self) -> list[Request]:
        """All of them, innermost last."""
        return [request for request in running.get() if request.task == self._name]

    @property
    def top(self) -> Request | None:
        """The innermost, or None."""
        return next(reversed(self.stack), None)

    def push(self, request: Any) -> None:
        """Let ``task.request`` give this one: a request, or a dictionary of its attributes."""
        if isinstance(request, Mapping):
            request = Request(request)
        request.task = self._name
        running.set((*running.get(), request))

    def pop(self) -> Request | None:
        """Undo the last ``push``; None where there is nothing."""
        top = self.top
        if top is not None:
            running.set(tuple(each for each in running.get() if each is not top))
        return top

    def __len__(self) -> int:
        return len(self.stack)


class Absent:
    """What of Celery's task is not here."""

    Request = Refused("signals and the task's own hooks see what its requests saw")
    Strategy = Refused("signals and the task's own hooks see what its strategies saw")
    start_strategy = Refused("signals and the task's own hooks see what its strategies saw")
    from_config = Refused("set the attributes, or task_annotations")
    annotate = Refused("set task_annotations; they hold once the app is finalized")
    add_around = Refused("wrap the function, or name a base class with base=")
