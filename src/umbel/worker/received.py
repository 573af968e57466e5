"""Messages as receivers of ``task_received`` and ``task_rejected`` know them from Celery.

Made only where somebody receives them.
https://docs.celeryq.dev/en/stable/userguide/signals.html#task-received
"""

from __future__ import annotations

from typing import Any

from umbel.app.execution import Plan
from umbel.model.lease import Lease
from umbel.model.request import Request


class ReceivedRequest:
    """A task that was received and is about to run, as Celery's ``worker.request.Request``.

    What the request of a task has (``root_id``, ``eta``, ``hostname``, ...) is found here too.
    """

    def __init__(self, request: Request, args: Any, kwargs: Any, plan: Plan) -> None:
        self.request = request
        self.task = plan.task
        self.app = plan.task.app
        self.name = self.task_name = self.type = plan.name
        self.id = self.task_id = request.id
        self.args = args
        self.kwargs = kwargs
        self.time_limits = request.timelimit or (None, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)

    @property
    def request_dict(self) -> dict[str, Any]:
        """The headers of the message."""
        return dict(self.request.__dict__)

    def info(self, safe: bool = False) -> dict[str, Any]:
        """The task as ``inspect`` shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "args": self.args,
            "kwargs": self.kwargs,
            "type": self.name,
            "hostname": self.request.hostname,
            "time_start": None,
            "acknowledged": False,
            "delivery_info": self.request.delivery_info,
            "worker_pid": None,
        }

    def __repr__(self) -> str:
        return f"<Request: {self.name}[{self.id}]>"


class RejectedMessage:
    """A message that is no task that could run: the envelope as it came."""

    def __init__(self, lease: Lease, request: Request | None = None) -> None:
        self.body = lease.raw
        self.headers: dict[str, Any] = {} if request is None else dict(request.__dict__)
        self.delivery_info = {
            "exchange": "",
            "routing_key": lease.queue,
            "redelivered": lease.redelivered,
        }
        self.properties: dict[str, Any] = {}
        self.payload: Any = lease.raw
