"""What do a million scheduled tasks cost, and do others fire on time beside them?

    python bench/scheduled.py [--tasks N] [--engines redis sqlite]

First without any, then with N tasks whose countdown is a day: memory and processor time of a worker
that has nothing to do, how late 400 tasks with a countdown of 1 to 5 s fire, and how long a worker
that is killed and started anew takes to its first task. Redis writes each command to its disk. The
bench of ``tests/reliability`` starts and ends all of it.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "reliability"))

from rig import Bench, cpu_s, family  # noqa: E402

DAY_S = 86400
IDLE_S = 10.0
PROBES = 400


def memory_mb(pids: list[int]) -> float:
    """What processes have for themselves, shared pages counted by their share."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def schedule(bench: Any, number: int) -> float:
    """Send so many tasks for tomorrow; gives seconds."""
    from umbel.model.call import Call

    app = bench.app
    begun = time.monotonic()
    app.send(
        Call(
            bench.tasks.work.name,
            (f"later-{place}",),
            {},
            app.new_id(),
            options={"countdown": DAY_S + place % 3600},
        )
        for place in range(number)
    )
    return time.monotonic() - begun


def lateness_ms(bench: Any, name: str) -> list[float]:
    """How late countdowns fire, sorted."""
    due = {}
    for place in range(PROBES):
        countdown = 1 + 4 * place / PROBES
        key = f"{name}-{place}"
        due[key] = time.time() + countdown
        last = bench.tasks.work.apply_async((key,), countdown=countdown)
    last.get(timeout=60)
    threading.Event().wait(0.5)
    begun = {run.key: run.at for run in bench.trace.runs() if run.kind == "begin"}
    late = sorted((begun[key] - at) * 1e3 for key, at in due.items())
    assert late[0] > -1, "fired early"
    return late


def picture(bench: Any, worker: Any, name: str) -> str:
    """One row: what the worker costs, and how late countdowns fire."""
    processes = family(worker.pid)
    server = [server.pid for server in bench.servers]
    spent, spent_there = cpu_s(processes), cpu_s(server)
    threading.Event().wait(IDLE_S)
    idle = (cpu_s(processes) - spent) / IDLE_S * 100
    idle_there = (cpu_s(server) - spent_there) / IDLE_S * 100
    late = lateness_ms(bench, name)
    return (
        f"worker {memory_mb(processes):.0f} MB, idle {idle:.1f} % of a processor"
        + (f" (server {memory_mb(server):.0f} MB, {idle_there:.1f} %)" if server else "")
        + f"; late p50 {late[len(late) // 2]:.1f} ms, p99 {late[int(len(late) * 0.99)]:.1f} ms, "
        f"worst {late[-1]:.1f} ms"
    )


def restart(bench: Any, worker: Any) -> tuple[Any, str]:
    """Kill the worker and start another."""
    worker.kill_all()
    begun = time.monotonic()
    worker = bench.start_worker()
    ready = time.monotonic() - begun
    bench.tasks.work.delay(f"again-{begun}", 0, 1).get(timeout=60)
    return worker, f"ready {ready:.2f} s after its start, first result {_since(begun):.2f} s"


def _since(begun: float) -> float:
    return time.monotonic() - begun


def measure(engine: str, number: int) -> None:
    """All of it for one engine."""
    with (
        tempfile.TemporaryDirectory(prefix="scheduled-") as folder,
        Bench(engine, Path(folder) / "bench", settings={"result_expires": None}) as bench,
    ):
        worker = bench.start_worker()
        print(f"{engine}, none: {picture(bench, worker, 'before')}", flush=True)
        worker, said = restart(bench, worker)
        print(f"{engine}, none, killed and started anew: {said}", flush=True)
        took = schedule(bench, number)
        print(f"{engine}: {number} sent in {took:.0f} s ({number / took:.0f} a second)", flush=True)
        print(f"{engine}, {number}: {picture(bench, worker, 'beside')}", flush=True)
        worker, said = restart(bench, worker)
        print(f"{engine}, {number}, killed and started anew: {said}", flush=True)
        print(f"{engine}, {number}: {picture(bench, worker, 'again')}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--engines", nargs="*", default=["redis", "sqlite"])
    given = parser.parse_args()
    print(f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for engine in given.engines:
        measure(engine, given.tasks)


if __name__ == "__main__":
    main()
