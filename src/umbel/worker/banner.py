"""What a worker shows when it starts, in Celery's form.

On SQLite the address is the absolute path of the file, because "which file?" is the first question
when nothing happens.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from umbel.model.version import VERSION

_FLOWER = (
    r" -------------- ",
    r"---  \ | /  ----",
    r"-- --  *  -- ---",
    r"-   * \|/ *   --",
    r"-    \ | /    --",
    r"-     \|/     --",
    r"-      |      --",
    r"-      |      --",
    r"--     |     ---",
    r"---    |    ----",
    r" -------------- ",
)


_EVENTS_OFF = "OFF (enable -E to monitor tasks in this worker)"


class Facts(NamedTuple):
    """What the banner says."""

    node: str
    app: str
    transport: str  # without passwords
    results: str
    concurrency: str
    pool: str
    queues: tuple[str, ...]  # as ``queue_line`` gives them
    tasks: tuple[str, ...] = ()  # empty: not listed
    events: bool = False  # task events are sent


def queue_line(name: str, exchange: str, kind: str, key: str) -> str:
    """One queue, as Celery lists it."""
    return f".> {name:<16} exchange={exchange}({kind}) key={key}"


def text(facts: Facts, now: datetime) -> str:
    """The whole banner."""
    lines = [
        f"{facts.node} v{VERSION} (umbel)",
        "",
        f"{platform.platform()} {now.replace(microsecond=0, tzinfo=None)}",
        "",
        "[config]",
        f".> app:         {facts.app}",
        f".> transport:   {facts.transport}",
        f".> results:     {facts.results}",
        f".> concurrency: {facts.concurrency} ({facts.pool})",
        f".> task events: {'ON' if facts.events else _EVENTS_OFF}",
        "",
        "[queues]",
        *facts.queues,
    ]
    drawn = [
        f"{_FLOWER[place] if place < len(_FLOWER) else '':<16} {line}".rstrip()
        for place, line in enumerate(lines)
    ]
    return "\n".join([" ", *drawn, "", *_task_lines(facts.tasks)]) + "\n"


def _task_lines(tasks: Iterable[str]) -> list[str]:
    names = [f"  . {name}" for name in sorted(tasks)]
    return ["[tasks]", *names, ""] if names else []
