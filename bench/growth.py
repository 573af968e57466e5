"""What a canvas of n members costs to send: microseconds and bytes a member, as n grows.

    python bench/growth.py

Linear is what stays the same along a line. Bytes are what Redis was sent, by its own count. The
steps of a chain travel inside of its first message, so each costs little to send; what a worker
sends for all of them together grows with the square of the length, as in Celery.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import redis
from report import tell
from systems import HERE, redis_server

SIZES = (100, 1_000, 10_000)
# Groups in a chain are chords, each inside of the one before: not a thousand deep.
STEEP = {"chain of groups of ten": 1_000}


def shapes(t: Any) -> dict[str, Callable[[int], Any]]:
    """By name; each has n tasks in all."""
    add, tsum = t.add, t.tsum
    pair = lambda i: t.chain(add.s(i, i), add.s(1))  # noqa: E731
    return {
        "chain": lambda n: t.chain(add.s(1, 1), *(add.s(1) for _ in range(n - 1))),
        "group": lambda n: t.group(add.s(i, i) for i in range(n)),
        "chord": lambda n: t.chord([add.s(i, i) for i in range(n)], tsum.s()),
        "group of chains of two": lambda n: t.group(pair(i) for i in range(n // 2)),
        "chord of chains of two": lambda n: t.chord([pair(i) for i in range(n // 2)], tsum.s()),
        "chain of groups of ten": lambda n: t.chain(
            *(t.group(add.si(i, i) for i in range(10)) for _ in range(n // 10))
        ),
        "chord of chords of ten": lambda n: t.chord(
            [t.chord([add.s(i, i) for i in range(10)], tsum.s()) for _ in range(n // 10)], tsum.s()
        ),
    }


def main() -> None:
    """Print the table and keep it."""
    sys.path.insert(0, os.fspath(HERE))
    os.environ["BENCH_SYSTEM"] = "umbel"
    lines: list[list[str | float]] = []
    with redis_server() as (url, _):
        os.environ["BENCH_BROKER"] = os.environ["BENCH_BACKEND"] = f"{url}/0"
        import bench_tasks as t

        server: Any = redis.Redis.from_url(url)
        t.group(t.add.s(1, 1) for _ in range(3)).apply_async()
        for name, shape in shapes(t).items():
            times: list[str | float] = []
            sizes: list[str | float] = []
            for number in SIZES:
                if name in STEEP and number > STEEP[name]:
                    times.append("")
                    sizes.append("")
                    continue
                canvas = shape(number)
                before = server.info("stats")["total_net_input_bytes"]
                started = time.process_time()
                canvas.apply_async()
                times.append((time.process_time() - started) / number * 1e6)
                sent = server.info("stats")["total_net_input_bytes"] - before
                sizes.append(sent / number)
                server.flushall()
            lines.append([name, *times, *sizes])
    heads = [f"us at {n:,}" for n in SIZES] + [f"bytes at {n:,}" for n in SIZES]
    tell("growth", ["canvas", *heads], lines)


if __name__ == "__main__":
    main()
