"""``celery.contrib.abortable``: tasks that look now and then whether they are to stop.

The wish is a state, ABORTED, stored under the task's id by the caller and read by the task. It asks
for nothing of a worker, and the task decides what it does about it.
"""

from __future__ import annotations

from typing import Any

from umbel.app.task import Task
from umbel.results.handle import AsyncResult

ABORTED = "ABORTED"


class AbortableAsyncResult(AsyncResult):
    """A result whose task can be asked to stop."""

    def is_aborted(self) -> bool:
        """Whether the task was asked to stop."""
        return bool(self.state == ABORTED)

    def abort(self) -> Any:
        """Ask the task to stop; it does so when it next looks, if it looks."""
        return self.backend.store_result(self.id, None, ABORTED)


class AbortableTask(Task):
    """A base for tasks that call ``self.is_aborted()`` now and then."""

    abstract = True

    def AsyncResult(self, task_id: str, **_options: Any) -> AbortableAsyncResult:  # noqa: N802
        """The result of one of this task's calls."""
        return AbortableAsyncResult(task_id, app=self.app, task_name=self.name)

    def is_aborted(self, **kwargs: Any) -> bool:
        """Whether somebody asked this call to stop. Reads the result store."""
        task_id = kwargs.get("task_id") or self.request.id
        return task_id is not None and self.AsyncResult(task_id).is_aborted()
