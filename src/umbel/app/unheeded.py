"""What an app asks for and does not get, for the lines that a worker says at its start.

Settings of parts that umbel does not have are known, so that a program written for Celery loads;
but who sets one relies on it. Only what was set by the user counts, and only where umbel does not
do as it says anyway: ``worker_enable_remote_control = False`` asks for what happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from umbel.app.settings import SETTINGS, Setting
from umbel.app.support import ACCEPTED, LATER, REFUSED


def unheeded(app: Any) -> list[str]:
    """What the app's settings ask for in vain, each with its reason: somebody may miss it."""
    found = [
        f"{setting.name} ({setting.note or 'not built yet'})"
        for setting, value in _set(app.conf, LATER, REFUSED)
        if value
    ]
    for program, steps in app.steps.items():
        if steps:
            found.append(f"app.steps[{program!r}] (there are no bootsteps; use signals)")
    for command, options in app.user_options.items():
        if options:
            found.append(f"app.user_options[{command!r}] (read environment variables instead)")
    method = app.conf.worker_pool_start_method
    if method not in ("fork", None):
        found.append(f"worker_pool_start_method {method!r} (children are forked)")
    return found


def needless(app: Any) -> list[str]:
    """Settings that tune what umbel does not have, each with its reason: nobody misses them."""
    return [f"{setting.name} ({setting.note})" for setting, _ in _set(app.conf, ACCEPTED)]


def _set(conf: Any, *supports: str) -> Iterator[tuple[Setting, Any]]:
    for setting in SETTINGS.values():
        if setting.support in supports and conf.is_set(setting.name):
            value = conf[setting.name]
            if value not in (setting.default, *setting.granted):
                yield setting, value
