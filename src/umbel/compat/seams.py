"""Objects that exist for those who hook into Celery: monitoring, tracing, error trackers.

umbel itself uses none of them; each stands at the place where such a library looks for it.
"""

from __future__ import annotations

from typing import Any

from umbel.app.proxy import Proxy
from umbel.model.errors import NotBuiltYet
from umbel.ports.current import current_app

# ``celery.registry.tasks``: what OpenTelemetry looks names up in.
tasks: Any = Proxy(lambda: current_app().tasks, name="tasks")


class ExceptionWithTraceback(Exception):  # noqa: N818 - billiard's name
    """billiard's way of carrying an error between processes; umbel makes none."""

    exc: BaseException
    tb: str


class Scheduler:
    """``celery.beat.Scheduler``: a class, so that Sentry can replace ``apply_entry``; not more."""

    def __init__(self, *_args: Any, **_options: Any) -> None:
        raise NotBuiltYet("celery.beat.Scheduler is not built yet: let Celery's own beat send")

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send what an entry of the schedule says."""
        raise NotBuiltYet("celery.beat.Scheduler is not built yet: let Celery's own beat send")
