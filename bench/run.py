"""Measure umbel beside Celery on this machine, in the same run, and print one table.

    python bench/run.py [--quick] [--only NAME ...] [--repeats N] [--json FILE]

Every figure is the median of the repeats with the smallest and the largest; systems take turns
within each repeat, so that a slow moment of the machine meets all of them. Ratios are medians
against Celery's. See ``docs/performance.md`` for how to read it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis
from systems import HERE, SYSTEMS, Worker, cpu_s, environment, pss_mb, redis_server

Row = dict[str, float]


def client(measurement: str, number: int, env: dict[str, str], folder: str) -> Row:
    """Run the sending side in a process of its own."""
    found = subprocess.run(
        [sys.executable, str(HERE / "client.py"), measurement, str(number)],
        env=env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if found.returncode:
        raise SystemExit(f"bench: {measurement} failed:\n{found.stderr[-3000:]}")
    row: Row = json.loads(found.stdout.strip().splitlines()[-1])
    return row


class Bench:
    """One system in one repeat."""

    def __init__(self, system: str, redis_url: str, redis_pid: int, folder: str) -> None:
        self.system = system
        self.redis_pid = redis_pid
        self.folder = folder
        self.env = environment(system, redis_url, folder)
        self.redis = redis.Redis.from_url(redis_url)
        self.redis.flushall()

    def waiting(self) -> int:
        """Messages that no worker has taken."""
        if self.system == "umbel-sqlite":
            with sqlite3.connect(f"{self.folder}/bench.db", timeout=30) as db:
                return int(
                    db.execute("select count(*) from messages where owner is null").fetchone()[0]
                )
        return int(self.redis.llen("celery"))  # type: ignore[arg-type]

    def worker(self, *arguments: str) -> Worker:
        """A worker that has run its first task."""
        worker = Worker(self.system, self.env, self.folder, *arguments)
        client("first_task", 0, self.env, self.folder)
        return worker

    def drained(self, measurement: str, number: int) -> Row:
        """Publish with no worker, then watch the queue run empty."""
        row = client(measurement, number, self.env, self.folder)
        redis_before = cpu_s([self.redis_pid])
        worker = Worker(self.system, self.env, self.folder)
        try:
            while self.waiting() >= number:
                time.sleep(0.001)
            first, started = self.waiting(), time.perf_counter()
            pids = worker.pids()
            before = cpu_s(pids)
            while self.waiting():
                time.sleep(0.002)
            took = time.perf_counter() - started
            return {
                "tasks_per_s": first / took,
                "publish_per_s": number / row["publish_s"],
                "worker_cpu_us": (cpu_s(pids) - before) / first * 1e6,
                "redis_cpu_us": (cpu_s([self.redis_pid]) - redis_before) / number * 1e6,
            }
        finally:
            worker.stop()

    def with_worker(self, measurement: str, number: int, *arguments: str) -> Row:
        """Measure from the client's side."""
        worker = self.worker(*arguments)
        try:
            return client(measurement, number, self.env, self.folder)
        finally:
            worker.stop()

    def memory(self, number: int) -> Row:
        """PSS of parent and two children after work."""
        worker = self.worker()
        try:
            client("group_results", number, self.env, self.folder)
            return {"pss_mb": pss_mb(worker.pids())}
        finally:
            worker.stop()

    def start(self, _number: int) -> Row:
        """From the start of the process to the first result."""
        sender = subprocess.Popen(
            [sys.executable, str(HERE / "client.py"), "first_task"],
            env=self.env,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        while not self._has_message():
            time.sleep(0.005)
        began = time.time()
        worker = Worker(self.system, self.env, self.folder)
        try:
            text, _ = sender.communicate(timeout=60)
            return {"seconds": json.loads(text)["done_at"] - began}
        finally:
            worker.stop()

    def _has_message(self) -> bool:
        try:
            return self.waiting() > 0
        except sqlite3.Error:
            return False

    def bytes_per_task(self, number: int) -> Row:
        """Memory of the broker per queued task."""
        if self.system == "umbel-sqlite":
            client("drain", number, self.env, self.folder)
            size = sum(path.stat().st_size for path in Path(self.folder).glob("bench.db*"))
            return {"bytes": size / number}
        before = int(self.redis.info("memory")["used_memory"])  # type: ignore[index]
        client("drain", number, self.env, self.folder)
        return {"bytes": (int(self.redis.info("memory")["used_memory"]) - before) / number}  # type: ignore[index]

    def idle(self, seconds: int) -> Row:
        """CPU of an idle worker and commands at Redis, both per minute."""
        worker = self.worker()
        try:
            time.sleep(2)
            pids = worker.pids()
            commands = self._commands()
            before = cpu_s(pids)
            time.sleep(seconds)
            return {
                "cpu_s_per_minute": (cpu_s(pids) - before) * 60 / seconds,
                "commands_per_minute": (self._commands() - commands) * 60 / seconds,
            }
        finally:
            worker.stop()

    def _commands(self) -> int:
        return int(self.redis.info("stats")["total_commands_processed"])  # type: ignore[index]


Measure = Callable[[Bench, int], Row]
# name: (how, size, size for Celery, size with --quick)
CLAIMS: dict[str, tuple[Measure, int, int, int]] = {
    "drain": (lambda b, n: b.drained("drain", n), 20_000, 4_000, 4_000),
    "drain-ignored": (lambda b, n: b.drained("drain_ignored", n), 20_000, 4_000, 4_000),
    "delay": (lambda b, n: client("delay_loop", n, b.env, b.folder), 4_000, 2_000, 1_000),
    "latency": (lambda b, n: b.with_worker("latency", n), 500, 300, 100),
    "chain-100": (lambda b, n: b.with_worker("chain_steps", n), 100, 100, 100),
    "group-1000": (lambda b, n: b.with_worker("group_results", n), 1_000, 1_000, 1_000),
    "group-10000": (lambda b, n: b.with_worker("group_results", n), 10_000, 10_000, 2_000),
    "chord-1000": (lambda b, n: b.with_worker("chord_result", n), 1_000, 1_000, 1_000),
    "naps-200": (lambda b, n: b.with_worker("naps", n), 200, 200, 50),
    "memory": (lambda b, n: b.memory(n), 2_000, 2_000, 500),
    "start": (lambda b, n: b.start(n), 0, 0, 0),
    "bytes": (lambda b, n: b.bytes_per_task(n), 10_000, 10_000, 2_000),
    "idle": (lambda b, n: b.idle(n), 30, 30, 10),
}
# Where a larger figure is better; everywhere else smaller is.
RATES = ("tasks_per_s", "publish_per_s", "per_second")


def measure(
    names: list[str], systems: list[str], repeats: int, is_quick: bool
) -> dict[str, dict[str, list[Row]]]:
    """Every claim on every system, taking turns."""
    found: dict[str, dict[str, list[Row]]] = {}
    for name in names:
        how, size, celery_size, quick_size = CLAIMS[name]
        found[name] = {system: [] for system in systems}
        for repeat in range(repeats):
            for system in systems:
                number = quick_size if is_quick else celery_size if system == "celery" else size
                with redis_server() as (url, pid), tempfile.TemporaryDirectory() as folder:
                    row = how(Bench(system, url, pid, folder), number)
                found[name][system].append(row)
                print(f"  {name} {system} #{repeat + 1}: {row}", file=sys.stderr)
    return found


def table(found: dict[str, dict[str, list[Row]]]) -> str:
    """One line per figure: medians, spread, ratio to Celery (above 1: umbel is better)."""
    systems = list(next(iter(found.values())))
    heads = [head for s in systems for head in ([s] if s == "celery" else [s, "ratio"])]
    lines = [
        "| claim | figure | " + " | ".join(heads) + " |",
        "| --- | --- " + "| --- " * len(heads) + "|",
    ]
    for name, by_system in found.items():
        for figure in by_system[systems[0]][0]:
            values = {s: [row[figure] for row in rows] for s, rows in by_system.items()}
            medians = {s: statistics.median(v) for s, v in values.items()}
            base = medians.get("celery")
            cells = []
            for system in systems:
                own = medians[system]
                cells.append(f"{own:.4g} {spread(values[system])}")
                if system == "celery":
                    continue
                if not base or not own:
                    cells.append("-")
                else:
                    cells.append(f"{own / base if figure in RATES else base / own:.1f} x")
            lines.append(f"| {name} | {figure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: list[float]) -> str:
    """Smallest and largest."""
    return f"[{min(values):.4g}..{max(values):.4g}]"


def main() -> None:
    """Measure what is asked for; print the table; write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat")
    parser.add_argument("--only", nargs="*", choices=list(CLAIMS), help="only these claims")
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", default=str(HERE / "out" / "bench.json"))
    options = parser.parse_args()
    quick = ["drain", "delay", "latency", "chain-100", "chord-1000"]
    names = options.only or (quick if options.quick else list(CLAIMS))
    repeats = 1 if options.quick else options.repeats
    found = measure(names, options.systems, repeats, options.quick)
    print(table(found))
    facts = {"cores": os.cpu_count(), "python": platform.python_version()}
    facts |= {"machine": platform.machine(), "kernel": platform.release()}
    Path(options.json).parent.mkdir(exist_ok=True)
    Path(options.json).write_text(json.dumps({"facts": facts, "rows": found}, indent=1))


if __name__ == "__main__":
    main()
