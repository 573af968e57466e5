"""What the machine is: what a figure is worth nothing without."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from compared import BUILD


def facts() -> dict[str, Any]:
    """CPU, cores, kernel, versions, load and what one fsync takes."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release().partition("-")[0],
        "machine": platform.machine(),
        "python": platform.python_version(),
        "redis": _redis_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": os.getloadavg()[0],
        "fsync_ms": _fsync_ms(),
        "commit": _commit(),
        "versions": _versions(),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _redis_version() -> str:
    text = subprocess.check_output([shutil.which("redis-server") or "", "--version"], text=True)
    return text.partition("v=")[2].split()[0]


def _fsync_ms() -> float:
    took = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - started) * 1e3)
    return statistics.median(took)


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def _versions() -> dict[str, str]:
    found = {name: metadata.version(name) for name in ("celery", "umbel", "redis", "hiredis")}
    for folder in ("bench", "bench-arq"):
        for path in (BUILD / folder).glob("lib/python*/site-packages/*.dist-info"):
            name, _, version = path.stem.rpartition("-")
            if name in ("dramatiq", "rq", "huey", "arq", "saq", "taskiq", "taskiq_redis"):
                found[name] = version
    return found
