"""Does a deep queue cost more? Draining beside 10,000 and beside 1,000,000 queued, on both engines.

    python bench/depth.py [--deep N]

The child's own loop in this process takes the first 40,000 tasks, in rounds; the shallow queue is
filled up between them. Told are the medians of the rounds in processor time (of this process and
of Redis) and in wall time, a task, and the best of some sweeps; a supervisor
makes one each second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from typing import Any

from report import tell
from steps import Loop, publish
from systems import HERE, cpu_s, redis_server

SHALLOW, ROUND, ROUNDS = 10_000, 8_000, 5


def drained(t: Any, depth: int, redis_pid: int, *, is_refilled: bool) -> list[float]:
    """CPU, CPU of Redis and wall time a task, and milliseconds a sweep."""
    publish(t, depth)
    loop = Loop(t)
    swept = sweep_ms(t)
    rows = []
    for _ in range(ROUNDS):
        before = cpu_s([redis_pid])
        cpu, wall = loop.run(ROUND)
        rows.append((cpu, (cpu_s([redis_pid]) - before) / ROUND * 1e6, wall))
        if is_refilled:
            publish(t, ROUND)
    loop.child.close()
    t.app.control.purge()
    return [*(statistics.median(column) for column in zip(*rows, strict=True)), swept]


def sweep_ms(t: Any) -> float:
    """The least of some."""
    from umbel.ports.broker import SweepPolicy

    broker = t.app.connections.pair().broker
    policy = SweepPolicy(600.0, 1.0, 3, b"", b"")
    took = []
    for _ in range(10):
        started = time.perf_counter()
        broker.sweep(policy)
        took.append((time.perf_counter() - started) * 1e3)
    return min(took)


def main() -> None:
    """Print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deep", type=int, default=1_000_000)
    deep = parser.parse_args().deep
    sys.path.insert(0, os.fspath(HERE))
    os.environ["BENCH_SYSTEM"] = "umbel"
    lines: list[list[str | float]] = []
    with redis_server() as (url, pid), tempfile.TemporaryDirectory() as folder:
        for name, address in (("Redis", f"{url}/0"), ("SQLite", f"sqlite:///{folder}/bench.db")):
            os.environ["BENCH_BROKER"] = os.environ["BENCH_BACKEND"] = address
            sys.modules.pop("bench_tasks", None)
            import bench_tasks as t

            drained(t, SHALLOW, pid, is_refilled=True)  # everything is loaded and warm
            few = drained(t, SHALLOW, pid, is_refilled=True)
            many = drained(t, deep, pid, is_refilled=False)
            ratios = [b / a if a else 0.0 for a, b in zip(few, many, strict=True)]
            lines.append([name, f"{SHALLOW:,}", *few])
            lines.append([name, f"{deep:,}", *many])
            lines.append([name, "ratio", *ratios])
    heads = ["engine", "queued", "CPU us a task", "Redis CPU us", "wall us", "ms a sweep"]
    tell("depth", heads, lines)


if __name__ == "__main__":
    main()
