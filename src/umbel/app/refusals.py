"""The parts of a Celery app that umbel does not have yet, and what to use meanwhile."""

from __future__ import annotations

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
    "add_periodic_task": _BEAT,
    "setup_security": "signed messages are not built yet; keep the broker to yourself (TLS, ACLs)",
    "WorkController": "start workers with app.worker_main() or `umbel worker`",
    "Worker": "start workers with app.worker_main() or `umbel worker`",
}


class NotBuiltAttribute(NotBuiltYet, AttributeError):
    """Also an ``AttributeError``, so that ``hasattr`` says what is true."""


def refusal(name: str) -> NotBuiltAttribute:
    """The error for a part that is missing."""
    return NotBuiltAttribute(f"app.{name}: {REFUSED[name]}")
