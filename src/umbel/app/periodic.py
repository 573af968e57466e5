"""``app.add_periodic_task``: entries of ``beat_schedule`` that are made by code.

They may come before the settings can be read; then they wait until those are loaded.
https://docs.celeryq.dev/en/stable/userguide/periodic-tasks.html#entries
"""

from __future__ import annotations

from typing import Any


class PeriodicTasks:
    """The entries of one app that wait for its settings."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._waiting: dict[str, dict[str, Any]] = {}

    def add(
        self, schedule: Any, sig: Any, args: Any, kwargs: Any, name: str | None, options: Any
    ) -> str:
        """Add an entry; gives its key."""
        if isinstance(sig, dict):
            sig = self._app.signature(sig).clone(args, kwargs)
        else:
            sig = self._app.signature(sig.name, args, kwargs)
        key = name or repr(sig)
        self._waiting[key] = {
            "schedule": schedule,
            "task": sig["task"],
            "args": tuple(sig["args"]),
            "kwargs": dict(sig["kwargs"]),
            "options": {**sig["options"], **options},
        }
        if self._app.configured:
            self.settle()
        return key

    def settle(self) -> None:
        """The settings are loaded: write what waits into ``beat_schedule``."""
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            self._app.conf.beat_schedule = {**(self._app.conf.beat_schedule or {}), **waiting}
