"""``app.control``: what of Celery's remote control is built, which is to revoke.

Celery tells it to the workers that listen at that moment; here it is written down at the broker, so
that it also holds for workers that start later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from umbel.app.archive import TaskArchive
from umbel.model.errors import NotBuiltYet

_INSTEAD = {
    "inspect": "`umbel list queues` shows what waits and what runs",
    "ping": "`umbel list queues` shows what waits and what runs",
    "purge": "`umbel purge` deletes what waits in queues",
    "discard_all": "`umbel purge` deletes what waits in queues",
    "election": "there is nothing in its place",
    "terminate": "give the task a time limit",
    "revoke_by_stamped_headers": "revoke by ids",
    "shutdown": "stop a worker with SIGTERM",
    "pool_restart": "stop a worker with SIGTERM, and start it anew",
    **dict.fromkeys(("pool_grow", "pool_shrink", "autoscale"), "start it anew with another -c"),
    **dict.fromkeys(("add_consumer", "cancel_consumer"), "start it anew with other -Q"),
    **dict.fromkeys(("enable_events", "disable_events", "heartbeat"), "there are no events yet"),
    "rate_limit": "there are no rate limits yet",
    "time_limit": "set the limits of the task, or of the call",
    "broadcast": "use signals and the command line",
    "mailbox": "use signals and the command line",
}


class Control:
    """Remote control of workers."""

    def __init__(self, archive: TaskArchive) -> None:
        self._archive = archive

    def revoke(
        self,
        task_id: str | Sequence[str],
        destination: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Let a task, or several, not run; for 30 days, on all workers.

        ``destination`` (and what else Celery takes) has no meaning: no worker is asked.
        """
        ids = [task_id] if isinstance(task_id, str) else list(task_id)
        self._archive.revoke(ids, terminate=terminate, signal=signal)

    def __getattr__(self, name: str) -> Any:
        if name in _INSTEAD:
            raise NotBuiltControl(f"app.control.{name} is not built yet: {_INSTEAD[name]}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


class NotBuiltControl(NotBuiltYet, AttributeError):
    """Also an ``AttributeError``, so that ``hasattr`` says what is true."""
