"""The sending side of one measurement, in a process of its own; prints one JSON line.

    python bench/client.py <measurement> [number]

The system comes from the environment (``systems.environment``).
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import bench_tasks as t


def drain(number: int) -> dict[str, float]:
    """Queue no-op tasks (no worker runs yet)."""
    return _queue(t.noop, number)


def drain_ignored(number: int) -> dict[str, float]:
    """The same, results ignored."""
    return _queue(t.ignored, number)


def _queue(task: object, number: int) -> dict[str, float]:
    started = time.perf_counter()
    for first in range(0, number, 1000):
        t.group(task.si() for _ in range(min(1000, number - first))).apply_async()
    return {"publish_s": time.perf_counter() - started}


def delay_loop(number: int) -> dict[str, float]:
    """Single confirmed ``delay()`` calls."""
    t.ignored.delay()
    started = time.perf_counter()
    for _ in range(number):
        t.ignored.delay()
    return {"per_second": number / (time.perf_counter() - started)}


def latency(number: int) -> dict[str, float]:
    """``add.delay(1, 2).get()`` on an idle worker."""
    took = []
    for i in range(number + 20):
        started = time.perf_counter()
        t.add.delay(i, 2).get(timeout=30)
        took.append(time.perf_counter() - started)
        time.sleep(0.002)
    took = sorted(took[20:])
    return {
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[int(len(took) * 0.99)] * 1e3,
    }


def chain_steps(number: int) -> dict[str, float]:
    """A chain, per step; the median of five, after one."""

    def once(steps: int) -> None:
        t.chain(t.add.s(1, 1), *(t.add.s(1) for _ in range(steps - 1))).apply_async().get(300)

    return {"per_step_ms": _median_s(5, once, number) / number * 1e3}


def group_results(number: int) -> dict[str, float]:
    """A group, from sending to all results; of smaller ones the median of three, after one."""

    def once(members: int) -> None:
        values = t.group(t.add.s(i, i) for i in range(members)).apply_async().get(timeout=300)
        assert values == [2 * i for i in range(members)]

    return {"seconds": _median_s(3 if number <= 1000 else 1, once, number)}


def chord_result(number: int) -> dict[str, float]:
    """A chord, from sending to the body's result; the median of three, after one."""

    def once(members: int) -> None:
        header = [t.add.s(i, i) for i in range(members)]
        assert t.chord(header, t.tsum.s()).apply_async().get(timeout=300) == members * (members - 1)

    return {"seconds": _median_s(3, once, number)}


def _median_s(times: int, once: Callable[[int], None], number: int) -> float:
    once(min(number, 200))
    took = []
    for _ in range(times):
        started = time.perf_counter()
        once(number)
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def first_task(_number: int) -> dict[str, float]:
    """Wait for one task's result: the worker is starting meanwhile."""
    t.add.delay(1, 2).get(timeout=60)
    return {"done_at": time.time()}


def naps(number: int) -> dict[str, float]:
    """Tasks of 50 ms."""
    t.add.delay(1, 1).get(timeout=30)
    started = time.perf_counter()
    t.group(t.nap.s(0.05) for _ in range(number)).apply_async().get(timeout=300)
    return {"seconds": time.perf_counter() - started}


if __name__ == "__main__":
    measurement, number = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0
    print(json.dumps(globals()[measurement](number)))
