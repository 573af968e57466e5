"""Objects that exist for those who hook into Celery: monitoring, tracing, error trackers.

umbel itself uses none of them; each stands at the place where such a library looks for it.
"""

from __future__ import annotations

from typing import Any

from umbel.app.proxy import Proxy
from umbel.ports.current import current_app

# ``celery.registry.tasks``: what OpenTelemetry looks names up in.
tasks: Any = Proxy(lambda: current_app().tasks, name="tasks")
