"""Writes the tables of docs/moving-from-celery.md from those that the program itself reads.

Standard output gets the whole page: what stands between two markers, ``<!-- table: NAME -->`` and
``<!-- end -->``, is written anew, and the rest is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

from umbel.app.options import call_options, task_options
from umbel.app.settings import SETTINGS
from umbel.app.support import ACCEPTED, DIFFERS, LATER, REFUSED, WORKS
from umbel.cli.options import RefusedOption
from umbel.cli.work import worker

PAGE = Path(__file__).resolve().parents[1] / "docs" / "moving-from-celery.md"
_SECTION = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Row(NamedTuple):
    """What is said of a name."""

    name: str
    support: str
    note: str = ""


def page(text: str) -> str:
    """The page, with its tables written anew."""
    return _SECTION.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def settings() -> str:
    """Settings; those of backends that umbel does not have are told by their beginnings."""
    rows = [row for row in SETTINGS.values() if "result backend" not in row.note]
    foreign = {row.name.partition("_")[0] for row in SETTINGS.values() if row not in rows}
    told = [Row(f"{name}_*", REFUSED, "a result backend that umbel does not have")
            for name in sorted(foreign)]  # fmt: skip
    return _tables(
        [*(Row(row.name, row.support, row.note) for row in rows), *told],
        {
            DIFFERS: "differently",
            ACCEPTED: "nothing to tune; a worker names it at its start (INFO)",
            LATER: "not built yet; a worker names it at its start (WARNING)",
            REFUSED: "refused; a worker names it at its start (WARNING)",
        },
    )


def calls() -> str:
    """Options of ``apply_async``."""
    return _tables(
        [Row(*row) for row in call_options().values()],
        {DIFFERS: "differently", REFUSED: "refused with `NotBuiltYet`"},
    )


def tasks() -> str:
    """Attributes of tasks, and options of ``@app.task``."""
    return _tables(
        [Row(*row) for row in task_options().values()],
        {DIFFERS: "differently", REFUSED: "refused with `NotBuiltYet`"},
    )


def worker_options() -> str:
    """Options of the command ``worker``: as the command itself declares them."""
    rows = []
    for option in worker.params:
        name = ", ".join(getattr(option, "opts", ()))
        if isinstance(option, RefusedOption):
            rows.append(Row(name, REFUSED, option.instead))
        elif getattr(option, "hidden", False):
            rows.append(Row(name, DIFFERS, getattr(option, "help", "") or ""))
        else:
            rows.append(Row(name, WORKS))
    return _tables(rows, {DIFFERS: "differently", REFUSED: "refused with exit code 1"})


def _tables(rows: Iterable[Row], titles: dict[str, str]) -> str:
    """The names that simply work, and a table for each other kind."""
    rows = list(rows)
    works = ", ".join(f"`{row.name}`" for row in rows if row.support == WORKS)
    parts = [fill(f"As in Celery: {works}.", 100, break_on_hyphens=False) + "\n"]
    for support, title in titles.items():
        told = [row for row in rows if row.support == support]
        if told:
            parts.append(f"| {title} | |\n| --- | --- |")
            parts.append("\n".join(f"| `{row.name}` | {row.note} |" for row in told) + "\n")
    return "\n".join(parts)


TABLES: dict[str, Callable[[], Any]] = {
    "settings": settings,
    "calls": calls,
    "tasks": tasks,
    "worker": worker_options,
}

if __name__ == "__main__":
    print(page(PAGE.read_text()), end="")
