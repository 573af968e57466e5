"""The parts of a Celery app that umbel does not have yet, and what to use meanwhile."""

from __future__ import annotations

from typing import Any

from umbel.model.errors import NotBuiltYet
from umbel.model.refused import NotBuiltAttribute

_SETTINGS = "use on_configure, config_from_object or add_defaults"
_BEAT = "schedules are not built yet; let cron run `umbel -A APP call TASK`"

REFUSED = {
    "Beat": _BEAT,
    "WorkController": "start workers with app.worker_main() or `umbel worker`",
    "Worker": "start workers with app.worker_main() or `umbel worker`",
    "annotations": "set task_annotations; tasks have them once the app is finalized",
    "config_from_cmdline": "use config_from_object, or app.conf.update",
    "create_task_cls": "app.Task is the base of the app's tasks",
    "prepare_config": _SETTINGS,
    "type_checker": "typing=False, of the app or of a task, switches the check off",
}

# What a subclass of the app would set in vain.
_NOT_EXCHANGED = {
    "Pickler": "an app is not pickled; tasks and results find it by name",
    "amqp_cls": "use task_queues and task_routes",
    "annotations": "set task_annotations",
    "backend_cls": "set result_backend",
    "builtin_fixups": "give Celery(fixups=[...])",
    "control_cls": "commands of your own are @control_command and @inspect_command",
    "create_task_cls": "set task_cls",
    "events_cls": "set worker_send_task_events, or use app.events.Receiver",
    "loader_cls": _SETTINGS,
    "log_cls": "use the signals setup_logging and after_setup_logger",
    "prepare_config": _SETTINGS,
    "registry_cls": "give Celery(tasks=...)",
    "type_checker": "typing=False, of the app or of a task, switches the check off",
}


def refusal(name: str) -> NotBuiltAttribute:
    """The error for a part that is missing."""
    instead = REFUSED.get(name) or _NOT_EXCHANGED[name]
    return NotBuiltAttribute(f"app.{name}: {instead}")


def is_refused(name: str) -> bool:
    """Whether an app of Celery has such a part, and umbel's has not."""
    return name in REFUSED or name in _NOT_EXCHANGED


def refuse_overrides(kind: type) -> None:
    """Raise ``NotBuiltYet`` for a subclass of the app that says what nobody would look at."""
    for name, instead in _NOT_EXCHANGED.items():
        if name in vars(kind):
            raise NotBuiltYet(f"{kind.__qualname__}.{name}: parts can't be exchanged; {instead}")


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
