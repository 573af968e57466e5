"""The sending side of one measurement, in a process of its own; prints one JSON line.

    python bench/client.py <measurement> [number]

The system comes from the environment (``systems.environment``).
"""

from __future__ import annotations

import json
import sys
import time

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
    """One chain, per step."""
    t.add.delay(1, 1).get(timeout=30)
    started = time.perf_counter()
    t.chain(t.add.s(1, 1), *(t.add.s(1) for _ in range(number - 1))).apply_async().get(timeout=300)
    return {"per_step_ms": (time.perf_counter() - started) / number * 1e3}


def group_results(number: int) -> dict[str, float]:
    """A group, from sending to all results."""
    t.add.delay(1, 1).get(timeout=30)
    started = time.perf_counter()
    values = t.group(t.add.s(i, i) for i in range(number)).apply_async().get(timeout=300)
    took = time.perf_counter() - started
    assert values == [2 * i for i in range(number)]
    return {"seconds": took}


def chord_result(number: int) -> dict[str, float]:
    """A chord, from sending to the body's result."""
    t.add.delay(1, 1).get(timeout=30)
    started = time.perf_counter()
    value = (
        t.chord([t.add.s(i, i) for i in range(number)], t.tsum.s()).apply_async().get(timeout=300)
    )
    took = time.perf_counter() - started
    assert value == number * (number - 1)
    return {"seconds": took}


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
