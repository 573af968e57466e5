"""Children and workers: what more of them bring, and a mix of short and long against the best plan.

    python bench/scaling.py [--quick]

No-op tasks (bound by the cores) and naps of 5 ms (bound by the number of children) are sent to 1, 2
and 4 children of one worker and to two workers, on both engines, from the first send to the last
result. The mix is 2 s naps among 1 ms ones in random order on two children; beside it the best
there is: in queue order, whoever is free takes the next (nobody knows how long a task takes), and
the least that any order could do.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile

from report import tell
from systems import HERE, environment, redis_server, umbel_worker

DRAIN = """
import json, sys, time
import bench_tasks as t
number, nap_s = int(sys.argv[1]), float(sys.argv[2])
for _ in range(8):
    t.add.delay(1, 1).get(timeout=60)
make = (lambda: t.nap.si(nap_s)) if nap_s else (lambda: t.noop.si())
started = time.perf_counter()
t.group(make() for _ in range(number)).apply_async().get(timeout=300)
print(json.dumps(number / (time.perf_counter() - started)))
"""
MIX = """
import json, sys, time
import bench_tasks as t
naps = json.loads(sys.argv[1])
for _ in range(8):
    t.nap.delay(0.001).get(timeout=60)
started = time.perf_counter()
t.group(t.nap.si(nap) for nap in naps).apply_async().get(timeout=300)
print(json.dumps(time.perf_counter() - started))
"""
# children of each worker
CREWS = {"1": (1,), "2": (2,), "4": (4,), "1 + 1": (1, 1), "2 + 2": (2, 2)}


def measured(system: str, crew: tuple[int, ...], program: str, *arguments: str) -> float:
    """What a program prints that sends to such workers."""
    with redis_server() as (url, _), tempfile.TemporaryDirectory() as folder:
        env = environment(system, url, folder)
        env["PYTHONPATH"] = os.fspath(HERE)
        workers = [
            umbel_worker(env, folder, "-c", str(count), "-n", f"crew{number}@bench")
            for number, count in enumerate(crew)
        ]
        try:
            command = [sys.executable, "-c", program, *arguments]
            return float(json.loads(subprocess.check_output(command, env=env, cwd=folder)))
        finally:
            for worker in workers:
                worker.stop()


def in_order(naps: list[float], children: int) -> float:
    """When the last ends if each child that is free takes the next."""
    free = [0.0] * children
    for nap in naps:
        heapq.heapreplace(free, free[0] + nap)
    return max(free)


def main() -> None:
    """Print the tables and keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    is_quick = parser.parse_args().quick
    noops, naps = ("4000", "400") if is_quick else ("20000", "1000")
    lines: list[list[str | float]] = []
    mixes: list[list[str | float]] = []
    mix = [2.0] * (1 if is_quick else 4) + [0.001] * (200 if is_quick else 1_000)
    random.Random(6).shuffle(mix)
    planned, least = in_order(mix, 2), max(sum(mix) / 2, max(mix))
    for system in ("umbel", "umbel-sqlite"):
        for name, crew in CREWS.items():
            rates = [measured(system, crew, DRAIN, noops, "0")]
            rates.append(measured(system, crew, DRAIN, naps, "0.005"))
            lines.append([system, name, *rates, rates[1] * 0.005 / sum(crew) * 100])
        took = measured(system, (2,), MIX, json.dumps(mix))
        mixes.append([system, took, planned, least, took / planned])
    heads = ["system", "children", "no-ops a second", "5 ms naps a second", "% of the best"]
    tell("scaling", heads, lines)
    tell("mix", ["system", "seconds", "best in order", "least of any order", "ratio"], mixes)


if __name__ == "__main__":
    main()
