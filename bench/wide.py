"""A hundred thousand members from a generator: the caller's memory and time, on both engines.

    python bench/wide.py [--members N]

A group and a chord are sent with no worker running. Told are the peak of the resident memory over
that before the sending, and by how many bytes a member it is above that of a tenth of the members:
what grows with them is what the caller holds, a result for each and what the member was made of.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile

from report import tell
from systems import HERE, environment, redis_server

PROGRAM = """
import gc, json, resource, sys, time
import bench_tasks as t

shape, number = sys.argv[1], int(sys.argv[2])
members = lambda n: (t.add.s(i, i) for i in range(n))
send = {
    "group": lambda n: t.group(members(n)).apply_async(),
    "group, no results": lambda n: t.group(t.ignored.si() for i in range(n)).apply_async(),
    "chord": lambda n: t.chord(members(n), t.tsum.s()).apply_async(),
}[shape]
send(2)  # all is imported and connected
gc.collect()
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, started, cpu = peak(), time.perf_counter(), time.process_time()
kept = send(number)
print(json.dumps({"seconds": time.perf_counter() - started,
                  "cpu_s": time.process_time() - cpu, "kb": peak() - before}))
"""
SHAPES = ("group", "group, no results", "chord")


def sent(system: str, shape: str, number: int) -> dict[str, float]:
    """Send one canvas from a process of its own."""
    with redis_server() as (url, _), tempfile.TemporaryDirectory() as folder:
        env = environment(system, url, folder)
        env["PYTHONPATH"] = os.fspath(HERE)
        command = [sys.executable, "-c", PROGRAM, shape, str(number)]
        row: dict[str, float] = json.loads(subprocess.check_output(command, env=env, cwd=folder))
        return row


def main() -> None:
    """Print the table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=100_000)
    members = parser.parse_args().members
    lines: list[list[str | float]] = []
    for system in ("umbel", "umbel-sqlite"):
        for shape in SHAPES:
            few, many = sent(system, shape, members // 10), sent(system, shape, members)
            row = [many["seconds"], many["cpu_s"] / members * 1e6]
            grown = (many["kb"] - few["kb"]) * 1024 / (members * 0.9)
            lines.append([system, shape, *row, many["kb"] / 1024, grown])
    heads = [
        "system",
        f"{members:,} members",
        "seconds",
        "CPU us a member",
        "peak MB",
        "bytes more",
    ]
    tell("wide", heads, lines)


if __name__ == "__main__":
    main()
