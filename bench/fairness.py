"""Do short tasks wait behind a long one that was claimed with them?

    python bench/fairness.py [--bursts N]

Bursts of 40 tasks, one of which sleeps 0.4 s, on two children that have seen them before; how long
the short ones take from sending to result, and how many of them more than 100 ms. With the
supervisor's give-back and the cut of batches (``worker/pace.py``), as shipped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile

from report import tell
from systems import HERE, environment, redis_server, umbel_worker

PROGRAM = """
import json, random, sys, time
import bench_tasks as t

def burst(found):
    slow = random.randrange(40)
    started = {}
    for n in range(40):
        task = t.nap.s(0.4) if n == slow else t.add.s(n, n)
        result = task.apply_async()
        if n != slow:
            started[result.id] = time.perf_counter()
    for record in t.app.archive.wait_for(list(started), 30):
        found.append((time.perf_counter() - started[record.task_id]) * 1e3)
    time.sleep(0.5)

warm, found = [], []
for _ in range(5):
    burst(warm)
for _ in range(int(sys.argv[1])):
    burst(found)
found.sort()
late = sum(ms > 100 for ms in found) / len(found)
at = lambda share: found[int(len(found) * share)]
print(json.dumps([at(.5), at(.9), at(.99), late * 100]))
"""


def main() -> None:
    """Measure on Redis and on SQLite."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bursts", type=int, default=20)
    bursts = parser.parse_args().bursts
    lines: list[list[str | float]] = []
    for system in ("umbel", "umbel-sqlite"):
        with redis_server() as (url, _), tempfile.TemporaryDirectory() as folder:
            env = environment(system, url, folder)
            worker = umbel_worker(env, folder)
            try:
                command = [sys.executable, "-c", PROGRAM, str(bursts)]
                env["PYTHONPATH"] = os.fspath(HERE)
                told = subprocess.check_output(command, env=env, cwd=folder, text=True)
                lines.append([system, *json.loads(told)])
            finally:
                worker.stop()
    tell("fairness", ["system", "p50 ms", "p90 ms", "p99 ms", "% above 100 ms"], lines)


if __name__ == "__main__":
    main()
