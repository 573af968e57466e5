"""Measures the table of ``docs/guarantees.md``: what is lost, run twice and stuck under which blow.

    python scripts/guarantees.py                    all scenarios, all systems; prints the table
    python scripts/guarantees.py --only chord_kill  one of them
    python scripts/guarantees.py --missing          those that the page does not have yet
    python scripts/guarantees.py --write            and puts what was measured into the page

The same scenarios (``tests/reliability/scenarios.py``) run on umbel with SQLite, umbel with Redis
and Celery with Redis, each with default settings, two pool processes, and a Redis that writes each
command to its disk.
"""

import argparse
import os
import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELIABILITY = ROOT / "tests" / "reliability"
sys.path.insert(0, str(RELIABILITY))

from rig import Bench  # noqa: E402
from scenarios import EVERYWHERE, ON_REDIS, Scene  # noqa: E402

NAMES = {"sqlite": "umbel, SQLite", "redis": "umbel, Redis", "celery": "Celery, Redis"}
PAGE = ROOT / "docs" / "guarantees.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def measured(only, systems, known=()):
    """All rows, one after the other, less those that are known."""
    for scenario in (*EVERYWHERE, *ON_REDIS):
        name = scenario.__name__
        if only and name not in only:
            continue
        for system in systems:
            if system == "sqlite" and scenario in ON_REDIS:
                continue
            if (f"`{name}`", NAMES[system]) in known:
                continue
            with (
                tempfile.TemporaryDirectory(prefix="guarantees-") as folder,
                Bench(system, Path(folder) / "bench") as bench,
            ):
                scene = Scene(bench)
                try:
                    scenario(scene)
                except AssertionError as error:
                    scene.remark = f"did not come to its end: {error}"[:100]
                row = scene.row(name)
                # Celery's results speak to the server when they are collected.
                scene.results.clear()
                scene.flows.clear()
            print(row, file=sys.stderr, flush=True)
            yield row


HEAD = (
    *("scenario", "system", "accepted", "done", "lost", "held 1 h", "begun twice", "stuck"),
    *("back after", "remarks"),
)


def cells_of(row):
    """A row as text."""
    back = "" if row.recovered_s is None else f"{row.recovered_s:.1f} s"
    numbers = (row.accepted, row.run, row.lost, row.held, row.twice)
    remark = " ".join(row.remark.replace("|", "/").split())
    return (f"`{row.scenario}`", NAMES[row.system], *map(str, numbers), row.stuck, back, remark)


def table_of(table):
    """Cells as Markdown, each scenario named once."""
    lines = [line_of(HEAD), line_of(["---"] * 2 + ["---:"] * 5 + ["---"] * 3)]
    last = None
    for name, *rest in table:
        lines.append(line_of(["" if name == last else name, *rest]))
        last = name
    return "\n".join(lines)


def line_of(cells):
    """One line of a table."""
    return "| " + " | ".join(cells) + " |"


def known_of(page):
    """The cells of the page, by scenario and system."""
    known, last = {}, ""
    for line in page.partition(BEGIN)[2].partition(END)[0].splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if len(cells) == len(HEAD) and cells[1] in NAMES.values():
            last = cells[0] or last
            known[last, cells[1]] = (last, *cells[1:])
    return known


def merged(page, table):
    """The cells of the page, with those that were measured now in their place."""
    known = known_of(page) | {cells[:2]: cells for cells in table}
    order = [f"`{one.__name__}`" for one in (*EVERYWHERE, *ON_REDIS)]
    systems = list(NAMES.values())
    return sorted(known.values(), key=lambda row: (order.index(row[0]), systems.index(row[1])))


def page_part(table):
    """What stands between the marks on the page."""
    told = {cells[0] for cells in table}
    scenarios = [one for one in (*EVERYWHERE, *ON_REDIS) if f"`{one.__name__}`" in told]
    meanings = "\n".join(f"- `{one.__name__}`: {one.__doc__}." for one in scenarios)
    return (
        f"{BEGIN}\n\nWritten by `make guarantees` on {platform.system()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, Celery {version('celery')}. Default settings, two "
        f"pool processes, Redis with `appendonly yes` and `appendfsync always`.\n\n{meanings}\n\n"
        f"{table_of(table)}\n\n{END}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="*", help="names of scenarios")
    parser.add_argument("--systems", nargs="*", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--missing", action="store_true", help="only what the page has not yet")
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    given = parser.parse_args()
    known = known_of(PAGE.read_text()) if given.missing else ()
    rows = list(measured(given.only, given.systems, known))
    table = [cells_of(row) for row in rows]
    print(table_of(table))
    if given.write:
        page = PAGE.read_text()
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(before + page_part(merged(page, table)) + rest.partition(END)[2])
    if any(row.lost or row.held for row in rows if row.system != "celery"):
        raise SystemExit("umbel has lost something")


if __name__ == "__main__":
    main()
