"""The programs of ``examples/``, with the real Celery and with umbel under its name.

They import from ``celery`` alone. Each is run with Celery's own worker on Redis, then with umbel's
on Redis and on the file that is used where nothing is said. All three print the same.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.redis]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PATIENCE_S = 120
WORKER = {
    "image_pipeline": ["-c", "2"],
    "web_crawler": ["-c", "2", "-Q", "network,crawler"],
    "nightly_report": [],
}
# A line of each that says that the interesting part was reached.
TELLING = {
    "image_pipeline": "broken: ChordError: Dependency <id> raised CorruptPicture("
    "'broken-1.pgm has no header')",
    "web_crawler": "levels: [1, 4, 14, 11, 12], 42 pages in all",
    "nightly_report": "printed by priority: alarm, invoice, leaflet, archive, archive-2",
}

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


def printed_by(name: str, python: Path, folder: Path, env: Environment) -> list[str]:
    """What an example prints beside a worker, all with one Python."""
    shutil.copytree(EXAMPLES / name, folder)
    command = [str(python), "-m", "celery", "-A", "tasks", "worker", "-l", "INFO", *WORKER[name]]
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


@pytest.mark.parametrize("name", sorted(WORKER))
def test_an_example_prints_the_same_with_celery_and_with_umbel(
    name: str,
    celery_free: Path,
    plain_environment: Environment,
    redis_url: str,
    tmp_path: Path,
) -> None:
    on_redis = plain_environment | {
        "CELERY_BROKER_URL": redis_url,
        "CELERY_RESULT_BACKEND": redis_url,
        "C_FORCE_ROOT": "1",
    }
    server = redis_url.rpartition("/")[0]
    elsewhere = {"CELERY_BROKER_URL": f"{server}/1", "CELERY_RESULT_BACKEND": f"{server}/1"}
    python = celery_free / "python"

    of_celery = printed_by(name, Path(sys.executable), tmp_path / "celery", on_redis)
    of_umbel = printed_by(name, python, tmp_path / "redis", on_redis | elsewhere)
    of_the_file = printed_by(name, python, tmp_path / "file", plain_environment)

    assert TELLING[name] in of_celery
    assert of_umbel == of_celery
    assert of_the_file == of_celery
    assert (tmp_path / "file" / "umbel.db").exists()
