"""The tutorial's programs, letter by letter, beside ``celery -A tasks worker``.

No line of them is edited: where the broker is comes from the environment, and ``import celery``
from the alias that is installed beside umbel.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE_S = 60

PROGRAMS = {
    "main_group.py": "[None, None]",
    "main_map.py": (
        "[2, 6, 24, 120, 6, 6227020800,"
        " 119622220865480194561963161495657715064383733760000000000, 6227020800]"
    ),
    "main_chain.py": "723.0",
}

Environment = dict[str, str]


@pytest.fixture(params=[pytest.param("redis", marks=pytest.mark.redis), "sqlite"])
def where(
    request: pytest.FixtureRequest, plain_environment: Environment, tmp_path: Path
) -> Environment:
    """An environment that names a broker and a result backend."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        url = f"sqlite:///{tmp_path}/umbel.db"
    return plain_environment | {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}


@pytest.fixture
def worker_log(
    celery_free: Path, tutorial: Path, where: Environment, tmp_path: Path
) -> Iterator[Path]:
    """A running ``celery -A tasks worker``, by the file that its output goes to."""
    path = tmp_path / "worker.txt"
    with path.open("wb") as output:
        worker = subprocess.Popen(
            [celery_free / "celery", "-A", "tasks", "worker"],
            cwd=tutorial,
            env=where,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    yield path
    worker.send_signal(signal.SIGTERM)
    try:
        code = worker.wait(PATIENCE_S)
    finally:
        worker.kill()
    assert code == 0, path.read_text()


def printed_by(program: str, celery_free: Path, tutorial: Path, where: Environment) -> str:
    done = subprocess.run(
        [celery_free / "python", program],
        cwd=tutorial,
        env=where,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_the_tutorials_programs_run_unedited(
    celery_free: Path, tutorial: Path, where: Environment, worker_log: Path
) -> None:
    printed = {name: printed_by(name, celery_free, tutorial, where) for name in PROGRAMS}

    assert printed == PROGRAMS
    log = worker_log.read_text()
    stamp = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: WARNING/ForkPoolWorker-\d+\]"
    assert re.search(rf"^{stamp} hello mishana$", log, re.MULTILINE), log
    assert re.search(rf"^{stamp} покупаем печенья mishana!$", log, re.MULTILINE), log
