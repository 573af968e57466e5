"""Measure umbel beside Celery and other queues on this machine, in the same run.

    python bench/run.py [--quick] [--only CLAIM ...] [--systems NAME ...] [--repeats N]
                        [--minutes N] [--json FILE]

Every figure is the median of the repeats with the smallest and the largest; systems take turns at
each claim, and a repeat goes through all claims, so that a slow moment of the machine meets all of
them. No repeat is begun that would not end within the minutes. The other queues, which are slow and
which nothing is measured against, take part in the first one only. ``compared.py`` says what the
systems are, ``report.py`` prints, ``docs/performance.md`` says how to read it.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis
from compared import OURS, SYSTEMS, System, missing
from facts import facts
from report import table
from systems import HERE, Worker, cpu_s, environment, pss_mb, redis_server

Row = dict[str, float]
Found = dict[str, dict[str, list[Row]]]


class Bench:
    """One system in one repeat."""

    def __init__(self, system: System, redis_url: str, redis_pid: int, folder: str) -> None:
        self.system = system
        self.redis_pid = redis_pid
        self.folder = folder
        self.env = environment(system.name, redis_url, folder)
        self.redis = redis.Redis.from_url(redis_url)
        self.redis.flushall()

    def client(self, measurement: str, number: int) -> Row:
        """Run the sending side in a process of its own."""
        found = subprocess.run(
            [*self.system.send, measurement, str(number)],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if found.returncode:
            raise RuntimeError(f"{measurement} of {self.system.name}:\n{found.stderr[-3000:]}")
        row: Row = json.loads(found.stdout.strip().splitlines()[-1])
        return row

    def waiting(self) -> int:
        """Messages that no worker has taken."""
        return self.system.left(self.redis, self.folder)

    def start_worker(self) -> Worker:
        """Two processes."""
        return Worker(self.system.serve, self.env, self.folder)

    def worker(self) -> Worker:
        """A worker that has run its first task."""
        worker = self.start_worker()
        try:
            self.client("first_task", 0)
        except BaseException:
            worker.stop()
            raise
        return worker

    def drained(self, measurement: str, number: int) -> Row:
        """Publish with no worker, then watch the queue run empty."""
        self.env["BENCH_WAITED"] = "no"
        if measurement == "drain_ignored":
            self.env["BENCH_RESULTS"] = "no"
        row = self.client(measurement, number)
        redis_before = cpu_s([self.redis_pid])
        worker = self.start_worker()
        try:
            self._until_below(number)
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

    def _until_below(self, number: int) -> None:
        deadline = time.monotonic() + 60
        while self.waiting() >= number:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.system.name}: its worker takes nothing")
            time.sleep(0.001)

    def with_worker(self, measurement: str, number: int) -> Row:
        """Measure from the client's side."""
        worker = self.worker()
        try:
            return self.client(measurement, number)
        finally:
            worker.stop()

    def memory(self, number: int) -> Row:
        """PSS of parent and two children after work."""
        worker = self.worker()
        try:
            self.client("group_results", number)
            return {"pss_mb": pss_mb(worker.pids())}
        finally:
            worker.stop()

    def start(self, _number: int) -> Row:
        """From the start of the process to the first result."""
        sender = subprocess.Popen(
            [*self.system.send, "first_task"],
            env=self.env,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        while not self._has_message():
            time.sleep(0.005)
        began = time.time()
        worker = self.start_worker()
        try:
            text, _ = sender.communicate(timeout=60)
            return {"seconds": json.loads(text)["done_at"] - began}
        finally:
            worker.stop()

    def _has_message(self) -> bool:
        try:
            return self.waiting() > 0
        except (sqlite3.Error, redis.ResponseError):
            return False  # nothing has been made yet

    def bytes_per_task(self, number: int) -> Row:
        """Memory of the broker per queued task."""
        if self.system.name == "umbel-sqlite":
            self.client("drain", number)
            size = sum(path.stat().st_size for path in Path(self.folder).glob("bench.db*"))
            return {"bytes": size / number}
        before = int(self.redis.info("memory")["used_memory"])  # type: ignore[index]
        self.client("drain", number)
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


class Claim:
    """How something is measured, and on how much: by the slowness of a system, and in a hurry."""

    def __init__(self, how: Measure, size: int, quick: int, **slower: int) -> None:
        self.how, self.size, self.quick, self.slower = how, size, quick, slower

    def number(self, system: System, *, is_quick: bool) -> int:
        """So many tasks, members, or seconds."""
        slow = self.slower.get(system.slowness, self.size)
        return min(slow, self.quick) if is_quick else slow


DRAINED = {"celery": 3_000, "other": 5_000, "rq": 400, "bare": 100_000}
CLAIMS = {
    "drain": Claim(lambda b, n: b.drained("drain", n), 20_000, 4_000, **DRAINED),
    "drain-ignored": Claim(lambda b, n: b.drained("drain_ignored", n), 20_000, 4_000, **DRAINED),
    "delay": Claim(lambda b, n: b.client("delay_loop", n), 4_000, 1_000, celery=2_000, rq=1_000),
    "latency": Claim(lambda b, n: b.with_worker("latency", n), 500, 100, celery=300, rq=100),
    "chain-100": Claim(lambda b, n: b.with_worker("chain_steps", n), 100, 100),
    "group-1000": Claim(lambda b, n: b.with_worker("group_results", n), 1_000, 1_000, rq=400),
    "group-10000": Claim(lambda b, n: b.with_worker("group_results", n), 10_000, 2_000),
    "chord-1000": Claim(lambda b, n: b.with_worker("chord_result", n), 1_000, 1_000),
    "naps-200": Claim(lambda b, n: b.with_worker("naps", n), 200, 50),
    "memory": Claim(lambda b, n: b.memory(n), 2_000, 500, celery=1_000, rq=100),
    "start": Claim(lambda b, n: b.start(n), 0, 0),
    "bytes": Claim(lambda b, n: b.bytes_per_task(n), 10_000, 2_000),
    "idle": Claim(lambda b, n: b.idle(n), 30, 10),
}
# Nothing is lost by measuring these on all systems at once: they wait.
TOGETHER = ("idle",)
QUICK = ("drain", "delay", "latency", "chain-100", "chord-1000")


def measure(name: str, system: System, *, is_quick: bool) -> Row | None:
    """One claim on one system, on a broker of its own; None where it failed, which is said."""
    claim = CLAIMS[name]
    with redis_server() as (url, pid), tempfile.TemporaryDirectory() as folder:
        try:
            number = claim.number(system, is_quick=is_quick)
            row = claim.how(Bench(system, url, pid, folder), number)
        except (RuntimeError, subprocess.TimeoutExpired) as failure:
            if system.name in OURS:
                raise
            print(f"  {name} {system.name} FAILED: {failure}", file=sys.stderr)
            return None
    said = ", ".join(f"{figure} {value:.4g}" for figure, value in row.items())
    print(f"  {name} {system.name}: {said}", file=sys.stderr)
    return row


def once(names: list[str], systems: list[System], found: Found, *, is_quick: bool) -> None:
    """Every claim on every system that can do it, taking turns."""
    for name in names:
        able = [s for s in systems if s.claims is None or name in s.claims]
        with ThreadPoolExecutor(len(able) or 1 if name in TOGETHER else 1) as threads:
            rows = threads.map(lambda s: measure(name, s, is_quick=is_quick), able)  # noqa: B023
            for system, row in zip(able, rows, strict=True):
                if row is not None:
                    found.setdefault(name, {}).setdefault(system.name, []).append(row)


def main() -> None:
    """Measure what is asked for; print the table; write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few claims, one repeat")
    parser.add_argument("--only", nargs="*", choices=list(CLAIMS), help="only these claims")
    parser.add_argument("--systems", nargs="*", choices=list(SYSTEMS), help="only these systems")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=15, help="for all repeats together")
    parser.add_argument("--json", default=str(HERE / "out" / "compared.json"))
    options = parser.parse_args()
    chosen = options.systems or (OURS if options.quick else list(SYSTEMS))
    absent = missing(list(chosen))
    if absent:
        raise SystemExit(f"bench: no environment for {', '.join(absent)}: make build/bench/.ready")
    names = options.only or list(QUICK if options.quick else CLAIMS)
    systems = [SYSTEMS[name] for name in chosen]
    measured = [system for system in systems if system.name in OURS] or systems
    where = Path(options.json)
    where.parent.mkdir(exist_ok=True)
    told, found, began, slowest = facts(), Found(), time.monotonic(), 0.0
    for repeat in range(1 if options.quick else options.repeats):
        if repeat and time.monotonic() - began + slowest > options.minutes * 60:
            print(f"  no time for repeat {repeat + 1}", file=sys.stderr)
            break
        started = time.monotonic()
        once(names, measured if repeat else systems, found, is_quick=options.quick)
        # The first one is longer; the others are like each other.
        slowest = time.monotonic() - started if repeat else slowest
        where.write_text(json.dumps({"facts": told, "rows": found}, indent=1))
    print(table(found))


if __name__ == "__main__":
    main()
