"""What umbel makes of the options of ``apply_async``, and of the attributes and options of tasks.

Which there are is known where they are read (``sending.py``, ``task.py``, ``making.py``); here
stands what is to be said of them. For ``docs/moving-from-celery.md`` and the tests that try each:
no program loads this room.
"""

from __future__ import annotations

from typing import NamedTuple

from umbel.app import making, sending
from umbel.app.support import DIFFERS, REFUSED, WORKS
from umbel.app.task import Task


class Option(NamedTuple):
    """A row of a table."""

    name: str
    support: str
    note: str = ""


_CALLS_THAT_DIFFER = {
    "connection": "one of `app.connection(URL)`; for calls of one task",
    "declare": "queues are bound to their exchanges; nothing else needs to be declared",
    "delivery_mode": "it is written, and every message is stored",
    "link": "a list, a signature or a dictionary; anything else is refused by the caller",
    "link_error": "as `link`",
    "priority": "0 to 9; what is beyond is taken for the nearest",
}

_DEAD_LETTER = "off: the message is kept in the dead letters"
_TASKS_THAT_DIFFER = {
    "acks_late": "results are settled late by default; an explicit False means at most once",
    "acks_on_failure": _DEAD_LETTER,
    "acks_on_failure_or_timeout": "off: as `acks_on_failure` and `acks_on_timeout`",
    "acks_on_timeout": "off: it runs again, up to `task_max_deliveries` times in all",
    "delivery_mode": "it is written, and every message is stored",
    "reject_on_worker_lost": "a lost task runs again, up to `task_max_deliveries` times; an"
    " explicit False fails it",
    "retry_on_worker_lost": "see `reject_on_worker_lost`",
    "request": "one per attempt, of the thread that runs it; `push_request` for tests",
}

# Methods of Celery's Task that its own parts call; a task of umbel has no such attribute.
INSIDE = ("add_around", "annotate", "start_strategy")
# Said to the decorator beside the attributes.
DECORATOR = (
    "base", "bind", "filter", "lazy", "pydantic", "pydantic_context", "pydantic_dump_kwargs",
    "pydantic_strict", "shared",
)  # fmt: skip
# umbel's own, for its own parts.
_OWN = frozenset(
    {"accepts_error_request", "check_arguments", "dumps_models", "overrides"}
    | {"overrides_apply_async"}
)


def call_options() -> dict[str, Option]:
    """The options of ``apply_async`` and ``send_task``."""
    return _table(sending.KNOWN, _CALLS_THAT_DIFFER, sending.REFUSED)


def task_options() -> dict[str, Option]:
    """The attributes of tasks, and the options of ``@app.task``."""
    public = {name for name in dir(Task) if name[0] != "_"} - _OWN
    refused = {
        **making.REFUSED_ATTRIBUTES,
        **dict.fromkeys(INSIDE, "an `AttributeError`: belongs to Celery's own parts"),
    }
    return _table(public.union(DECORATOR), _TASKS_THAT_DIFFER, refused)


def _table(
    known: frozenset[str] | set[str], differing: dict[str, str], refused: dict[str, str]
) -> dict[str, Option]:
    found = {name: Option(name, WORKS) for name in known}
    found.update((name, Option(name, DIFFERS, note)) for name, note in differing.items())
    found.update((name, Option(name, REFUSED, note)) for name, note in refused.items())
    return dict(sorted(found.items()))
