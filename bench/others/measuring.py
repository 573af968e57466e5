"""The sending side of one measurement of another queue, in a process of its own; one JSON line.

    python bench/others/measuring.py <system> <measurement> [number]

Runs in the environment of that queue, so it imports nothing of umbel. ``with_<system>.py`` has its
tasks and a ``Side``: how it sends and how it waits, as its documents say. The measurements are
those of ``client.py``, to the letter.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol


class Side(Protocol):
    """What a queue does for its measurements. The coroutines of one that blocks just block."""

    async def open(self) -> None:
        """Connect."""

    async def queue(self, number: int) -> None:
        """Send no-op tasks, as many at a time as the queue's own API has it."""

    async def send(self) -> None:
        """Send one task whose result is ignored, confirmed."""

    async def call(self, x: int, y: int) -> int:
        """Send ``add(x, y)`` and wait for its result."""

    async def group(self, number: int) -> list[int]:
        """Send ``add(i, i)`` so many times, and wait for all results, in order."""


async def drain(side: Side, number: int) -> dict[str, float]:
    """Queue no-op tasks (no worker runs yet)."""
    started = time.perf_counter()
    await side.queue(number)
    return {"publish_s": time.perf_counter() - started}


async def delay_loop(side: Side, number: int) -> dict[str, float]:
    """Single confirmed sends."""
    await side.send()
    started = time.perf_counter()
    for _ in range(number):
        await side.send()
    return {"per_second": number / (time.perf_counter() - started)}


async def latency(side: Side, number: int) -> dict[str, float]:
    """Send and wait on an idle worker."""
    took = []
    for i in range(number + 20):
        started = time.perf_counter()
        await side.call(i, 2)
        took.append(time.perf_counter() - started)
        await asyncio.sleep(0.002)
    took = sorted(took[20:])
    return {
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[int(len(took) * 0.99)] * 1e3,
    }


async def group_results(side: Side, number: int) -> dict[str, float]:
    """Many, from sending to all results; of smaller numbers the median of three, after one."""
    took = []
    for members in (min(number, 200), *[number] * (3 if number <= 1000 else 1)):
        started = time.perf_counter()
        values = await side.group(members)
        took.append(time.perf_counter() - started)
        assert values == [2 * i for i in range(members)]
    return {"seconds": statistics.median(took[1:])}


async def first_task(side: Side, _number: int) -> dict[str, float]:
    """Wait for one task's result: the worker is starting meanwhile."""
    for tries_left in (2, 1, 0):
        try:
            await side.call(1, 2)
            break
        except Exception:  # SAQ's sweep at its start may take the task for lost
            if not tries_left:
                raise
    return {"done_at": time.time()}


MEASUREMENTS: dict[str, Callable[[Any, int], Awaitable[dict[str, float]]]] = {
    "drain": drain,
    "drain_ignored": drain,
    "delay_loop": delay_loop,
    "latency": latency,
    "group_results": group_results,
    "first_task": first_task,
}


async def main(system: str, measurement: str, number: int) -> None:
    """Measure and print."""
    side = importlib.import_module(f"with_{system}").Side()
    await side.open()
    print(json.dumps(await MEASUREMENTS[measurement](side, number)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0))
