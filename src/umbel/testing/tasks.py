"""The task that a worker for tests answers first, so that a test does not wait for a dead one."""

from __future__ import annotations

from typing import Any

from umbel.app.shared import shared_task


def pong() -> str:
    """Say ``pong``."""
    return "pong"


ping: Any = shared_task(name="celery.ping")(pong)
