"""What an app asks for and does not get yet, for the one line that a worker says at its start.

Settings of parts that are not built are known, so that a program written for Celery loads; but who
sets one relies on it. Only what was set by the user counts, and only where umbel does not do as it
says anyway: ``worker_send_task_events = False`` asks for nothing.
"""

from __future__ import annotations

from typing import Any

from umbel.app.settings import LATER, REFUSED, SETTINGS


def unheeded(app: Any) -> list[str]:
    """What the app's settings ask for in vain, each with its reason, if known."""
    conf = app.conf
    found = []
    for setting in SETTINGS.values():
        if setting.support not in (LATER, REFUSED) or not conf.is_set(setting.name):
            continue
        value = conf[setting.name]
        if value and value != setting.default:
            found.append(f"{setting.name} ({setting.note or 'not built yet'})")
    for program, steps in app.steps.items():
        if steps:
            found.append(f"app.steps[{program!r}] (there are no bootsteps; use signals)")
    for command, options in app.user_options.items():
        if options:
            found.append(f"app.user_options[{command!r}] (read environment variables instead)")
    method = conf.worker_pool_start_method
    if method not in ("fork", None):
        found.append(f"worker_pool_start_method {method!r} (children are forked)")
    return found
