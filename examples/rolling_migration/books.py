"""What was sent, what was done, and what is wrong between the two.

The producers' books say which pieces of work there must be, the journal which were done. What was
sent and not even begun is *lost*; what was begun and has not come to its end is *stuck*; where the
stored result is not the right one it is *wrong*; where a task with an eta ran before it, *early*.
"""

from __future__ import annotations

import bisect
import json
from collections import Counter
from typing import NamedTuple

from tasks import JOURNAL

FAULTS = ("lost", "twice", "stuck", "wrong", "early")


class Row(NamedTuple):
    """What came of all that was sent in one phase."""

    name: str
    workers: str
    producers: str
    sent: int  # calls: single tasks and whole workflows
    tasks: int  # the tasks that those consist of
    done: int
    by_celery: int
    by_umbel: int
    lost: int
    twice: int
    stuck: int
    wrong: int
    early: int


class Phase(NamedTuple):
    """A time from which on the fleet looked so."""

    name: str
    workers: str
    producers: str
    since: float


class Books:
    """What was sent until a moment, and what has become of it until now."""

    def __init__(self, paths, client, moment):
        lines = (line for path in paths for line in path.read_text().splitlines(keepends=True))
        # The last line of a book may be in the making.
        sent = (json.loads(line) for line in lines if line.endswith("\n"))
        self.sent = [line for line in sent if line["at"] < moment]
        self.done = {}  # piece: [(who, when), ...]
        for piece, who, when in map(json.loads, client.lrange(JOURNAL, 0, -1)):
            self.done.setdefault(piece, []).append((who, when))
        self.client = client

    def unfinished(self):
        """The keys of what has not come to its end, or has no result yet."""
        return [
            line["key"]
            for line in self.sent
            if not all(piece in self.done for piece in line["pieces"])
            or self._stored(line["id"])[0] is None
        ]

    def rows(self, phases):
        """A row for each phase."""
        starts = [phase.since for phase in phases]
        of_phase = [[] for _ in phases]
        for line in self.sent:
            # Producers send from a moment before the first phase is said to begin.
            of_phase[max(bisect.bisect(starts, line["at"]) - 1, 0)].append(line)
        return [self._row(phase, of) for phase, of in zip(phases, of_phase, strict=True)]

    def _row(self, phase, lines):
        pieces = [piece for line in lines for piece in line["pieces"]]
        houses = Counter(
            who.partition("-")[0] for piece in pieces for who, _ in self.done.get(piece, [])
        )
        faults = Counter(fault for line in lines for fault in self._faults(line))
        return Row(
            phase.name,
            phase.workers,
            phase.producers,
            sent=len(lines),
            tasks=len(pieces),
            done=sum(piece in self.done for piece in pieces),
            by_celery=houses["celery"],
            by_umbel=houses["umbel"],
            **{name: faults[name] for name in FAULTS},
        )

    def _faults(self, line):
        runs = [self.done.get(piece, []) for piece in line["pieces"]]
        if not any(runs):
            yield "lost"
        elif not all(runs):
            yield "stuck"
        elif self._stored(line["id"]) != ("SUCCESS", line["value"]):
            yield "wrong"
        if any(when < line["due"] for when in (when for each in runs for _, when in each)):
            yield "early"
        for each in runs:
            yield from ["twice"] * (len(each) - 1)

    def _stored(self, task_id):
        record = json.loads(self.client.get(f"celery-task-meta-{task_id}") or "{}")
        return record.get("status"), record.get("result")


HEADS = ("phase", "workers", "producers", "sent", "tasks", "done", "by Celery", "by umbel", *FAULTS)


def table(rows):
    """The rows as text, and their sum."""
    numbers = [sum(column) for column in zip(*(row[3:] for row in rows), strict=True)]
    cells = [HEADS, *(tuple(map(str, row)) for row in rows), ("in all", "", "", *map(str, numbers))]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if place < 3 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def faults(rows):
    """How many of each, all zero where a migration went as it should."""
    return {name: sum(getattr(row, name) for row in rows) for name in FAULTS}
