"""What the benchmarks run on: a Redis of their own, workers of each system, CPU and memory of both.

Everything listens on loopback, is started here and ended here by pid. What is compared, and how it
is started, is in ``compared.py``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def redis_server() -> Iterator[tuple[str, int]]:
    """A redis-server without persistence on a free port; gives its URL and pid."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise SystemExit("bench: redis-server is missing (apt-get install redis-server)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
            + ["--appendonly", "no", "--loglevel", "warning"],
            stdout=subprocess.DEVNULL,
        )
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield f"redis://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()
            process.wait(10)


def environment(system: str, redis_url: str, folder: str) -> dict[str, str]:
    """The variables that make ``bench_tasks`` speak for a system."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "UMBEL_"))}
    url = f"sqlite:///{folder}/bench.db" if system == "umbel-sqlite" else f"{redis_url}/0"
    env |= {
        "BENCH_SYSTEM": "celery" if system == "celery" else "umbel",
        "BENCH_BROKER": url,
        "BENCH_BACKEND": url,
        "BENCH_RESULTS": "yes",
        "BENCH_WAITED": "yes",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE / "others")]),
    }
    return env


class Worker:
    """The processes of a worker, started by one command or by several."""

    def __init__(self, commands: list[list[str]], env: dict[str, str], folder: str) -> None:
        self.log = Path(folder) / f"worker-{time.monotonic_ns()}.log"
        self.started = time.perf_counter()
        with self.log.open("w") as log:
            self.processes = [
                subprocess.Popen(
                    [part.replace("{url}", env["BENCH_BROKER"]) for part in command],
                    env=env,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
                for command in commands
            ]

    def stop(self) -> None:
        """Warm, then by force; and whatever outlives its parent, which would disturb the next."""
        below = [handle for process in self.processes for handle in self._below(process.pid)]
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for orphan in below:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(orphan, signal.SIGKILL)
            os.close(orphan)

    @staticmethod
    def _below(pid: int) -> list[int]:
        """Handles, not numbers: a number may soon be somebody else's."""
        found = []
        for child in family(pid)[1:]:
            with contextlib.suppress(ProcessLookupError):
                found.append(os.pidfd_open(child))
        return found

    def pids(self) -> list[int]:
        """The worker and all below it."""
        return [pid for process in self.processes for pid in family(process.pid)]


def umbel_worker(env: dict[str, str], folder: str, *arguments: str) -> Worker:
    """A worker of umbel, with two children where nothing else is said."""
    command = [sys.executable, "-m", "umbel", "-A", "bench_tasks", "worker"]
    return Worker([command + (list(arguments) or ["-c", "2"])], env, folder)


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    with contextlib.suppress(OSError):  # it may end meanwhile
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in task.read_text().split():
                found += family(int(child))
    return found


def cpu_s(pids: list[int]) -> float:
    """CPU seconds that processes have used, by clock ticks."""
    used = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used += int(fields[11]) + int(fields[12])
    return used / TICKS


def pss_mb(pids: list[int]) -> float:
    """Proportional set size, in MB."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024
