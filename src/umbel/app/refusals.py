"""The parts of a Celery app that umbel does not have yet, and what to use meanwhile."""

from __future__ import annotations

from typing import Any

from umbel.model.errors import NotBuiltYet

_KOMBU = "umbel has connections of its own, one a thread; use send_task, or a Redis client of yours"
_BEAT = "schedules are not built yet; let cron run `umbel -A APP call TASK`"

REFUSED = {
    "amqp": "use task_queues and app.routing.queues",
    "default_producer": _KOMBU,
    "pool": _KOMBU,
    "producer_pool": _KOMBU,
    "producer_or_acquire": _KOMBU,
    "Beat": _BEAT,
    "WorkController": "start workers with app.worker_main() or `umbel worker`",
    "Worker": "start workers with app.worker_main() or `umbel worker`",
}


class NotBuiltAttribute(NotBuiltYet, AttributeError):
    """Also an ``AttributeError``, so that ``hasattr`` says what is true."""


def refusal(name: str) -> NotBuiltAttribute:
    """The error for a part that is missing."""
    return NotBuiltAttribute(f"app.{name}: {REFUSED[name]}")


def refuse_parts(**parts: Any) -> None:
    """Raise ``NotBuiltYet`` for a part of an app that is given to its constructor."""
    for name, part in parts.items():
        if part is None:
            continue
        if (
            name == "loader"
            and isinstance(part, str)
            and part.rpartition(":")[2].lower()
            in (
                "app",
                "default",
                "apploader",
                "loader",
            )
        ):
            continue
        raise NotBuiltYet(
            f"Celery({name}=...) is not built yet: parts of an app can't be exchanged; use"
            " settings, signals, or a subclass of the app"
        )
