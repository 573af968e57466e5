"""One program of ``tasks.py`` and ``main.py``, run beside a worker with one Python or another."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PATIENCE_S = 120

Environment = dict[str, str]


@contextlib.contextmanager
def a_worker(command: list[str], folder: Path, env: Environment) -> Iterator[None]:
    """A worker that is ready; it and its processes are killed at the end."""
    log = folder / "worker.log"
    with log.open("w") as output:
        worker = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        limit = time.monotonic() + PATIENCE_S
        while "ready." not in log.read_text():
            assert worker.poll() is None, log.read_text()
            assert time.monotonic() < limit, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)


def printed_by(
    program: Path, python: Path, folder: Path, env: Environment, *options: str
) -> list[str]:
    """What a program's ``main.py`` prints beside a worker of its ``tasks``, with one Python."""
    shutil.copytree(program, folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [str(python), "-m", "celery", "-A", "tasks", "worker", "-l", "INFO", *options]
    with a_worker(command, folder, env):
        done = subprocess.run(
            [python, "main.py"],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    log = (folder / "worker.log").read_text()
    assert done.returncode == 0, done.stderr + log[-4000:]
    return done.stdout.splitlines()
