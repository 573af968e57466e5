"""What umbel is to reach beside Celery 5.7, and whether it does, by the figures of one run."""

from __future__ import annotations

import statistics
from typing import NamedTuple

Rows = dict[str, list[dict[str, float]]]


class Aim(NamedTuple):
    """A ratio to Celery, or (``is_absolute``) a figure not to be above."""

    work: str
    claim: str
    figure: str
    redis: float
    sqlite: float | None = None
    is_absolute: bool = False


AIMS = (
    Aim("drain, results kept", "drain", "tasks_per_s", 50, 20),
    Aim("drain, results ignored", "drain-ignored", "tasks_per_s", 50, 20),
    Aim("single `delay()`", "delay", "per_second", 8),
    Aim("latency, p50", "latency", "p50_ms", 8),
    Aim("latency, p99", "latency", "p99_ms", 4),
    Aim("chain of 100, a step", "chain-100", "per_step_ms", 15),
    Aim("group of 1,000", "group-1000", "seconds", 40),
    Aim("group of 10,000", "group-10000", "seconds", 50),
    Aim("chord of 1,000", "chord-1000", "seconds", 40),
    Aim("memory of the worker", "memory", "pss_mb", 2),
    Aim("start to the first result", "start", "seconds", 6),
    Aim("bytes a queued task", "bytes", "bytes", 1),
    Aim("idle CPU, s a minute", "idle", "cpu_s_per_minute", 0.06, 0.06, True),
    Aim("200 tasks of 50 ms, s", "naps-200", "seconds", 5.15, 5.15, True),
)


def lines(found: dict[str, Rows], rates: tuple[str, ...], fsync_ms: float) -> list[list[str]]:
    """One line per aim: aim and figure on Redis, on SQLite."""
    made = []
    for aim in AIMS:
        rows = found.get(aim.claim, {})
        if "umbel" not in rows or (not aim.is_absolute and "celery" not in rows):
            continue
        cells = [aim.work]
        for system, wanted in (("umbel", aim.redis), ("umbel-sqlite", aim.sqlite)):
            cells += _cells(aim, rows, system, wanted, rates)
        made.append(cells)
    latency = found.get("latency", {}).get("umbel-sqlite")
    if latency:
        p50, wanted = statistics.median(row["p50_ms"] for row in latency), 1 + fsync_ms
        verdict = "held" if p50 <= wanted else "missed"
        told = f"{p50:.2f} ms ({verdict})"
        made.append(["latency, p50: 1 ms and an fsync", "", "", f"{wanted:.2f} ms", told])
    return made


def _cells(
    aim: Aim, rows: Rows, system: str, wanted: float | None, rates: tuple[str, ...]
) -> list[str]:
    if system not in rows:
        return ["", ""]
    own = statistics.median(row[aim.figure] for row in rows[system])
    if aim.is_absolute:
        reached, unit = own, ""
        is_held = wanted is not None and own <= wanted
    else:
        base = statistics.median(row[aim.figure] for row in rows["celery"])
        reached = (own / base if aim.figure in rates else base / own) if own and base else 0.0
        unit = " x"
        is_held = wanted is not None and reached >= wanted
    verdict = "" if wanted is None else " (held)" if is_held else " (missed)"
    return ["" if wanted is None else f"{wanted:g}{unit}", f"{reached:.3g}{unit}{verdict}"]
