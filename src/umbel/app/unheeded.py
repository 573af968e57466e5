"""What an app asks for and does not get yet, for the one line that a worker says at its start.

Settings and task options of parts that are not built are known, so that a program written for
Celery loads; but who sets one relies on it. Only what was set by the user counts, and only where
umbel does not do as it says anyway: ``worker_send_task_events = False`` asks for nothing.
"""

from __future__ import annotations

from typing import Any

from umbel.app.settings import LATER, REFUSED, SETTINGS

# Values that ask for what umbel does, where it is not the default and not None or False or empty.
_AS_WE_DO = {
    "task_acks_on_failure": (True,),
    "task_acks_on_timeout": (True,),
}
# Values that ask for something, though they are False.
_MEANT = {
    "task_acks_on_failure_or_timeout": False,
    "task_acks_on_failure": False,
    "task_acks_on_timeout": False,
}
# Options of a task without effect, with the setting that they override and what it means.
_TASK_OPTIONS = {
    "acks_on_failure_or_timeout": "task_acks_on_failure_or_timeout",
    "acks_on_failure": "task_acks_on_failure",
    "acks_on_timeout": "task_acks_on_timeout",
}
_MOST_TASKS_NAMED = 3


def unheeded(app: Any) -> list[str]:
    """What the app's settings and tasks ask for in vain, each with its reason, if known."""
    return [*_settings(app.conf), *_task_options(app)]


def _settings(conf: Any) -> list[str]:
    found = []
    for setting in SETTINGS.values():
        if setting.support not in (LATER, REFUSED) or not conf.is_set(setting.name):
            continue
        value = conf[setting.name]
        if value != setting.default and _asks(setting.name, value):
            found.append(f"{setting.name} ({setting.note or 'not built yet'})")
    method = conf.worker_pool_start_method
    if method not in ("fork", None):
        found.append(f"worker_pool_start_method {method!r} (children are forked)")
    return found


def _asks(name: str, value: Any) -> bool:
    if value in _AS_WE_DO.get(name, ()):
        return False
    return bool(value) or (name in _MEANT and value is _MEANT[name])


def _task_options(app: Any) -> list[str]:
    found = []
    for option, setting in _TASK_OPTIONS.items():
        by_setting = app.conf[setting]
        names = [
            name
            for name, task in sorted(app.tasks.items())
            if (value := getattr(task, option, None)) != by_setting and _asks(setting, value)
        ]
        if names:
            shown = ", ".join(names[:_MOST_TASKS_NAMED])
            more = len(names) - _MOST_TASKS_NAMED
            found.append(f"{option} of {shown}{f' and {more} more' if more > 0 else ''}")
    return found
