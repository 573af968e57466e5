"""What a worker and the commands print shows no password, neither when it works nor when not."""

from __future__ import annotations

import subprocess
import sys

import pytest

SECRET = "Pa55word"


@pytest.mark.slow
@pytest.mark.redis
def test_a_worker_and_the_commands_print_no_password(
    start_redis, start_worker, environment_of, tmp_path
):
    server = start_redis("--requirepass", SECRET)
    url = f"redis://:{SECRET}@127.0.0.1:{server.port}/0"
    env = {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}
    printed = []

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "umbel", "-A", "canvas_tasks", *arguments],
            env=environment_of(env),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        printed.append(done.stdout + done.stderr)
        return done.returncode

    worker = start_worker(env=env)
    assert run("call", "canvas_tasks.add", "-a", "[1, 2]") == 0
    assert run("report") == 0
    assert run("list", "queues") == 0
    server.kill()
    assert run("call", "canvas_tasks.add", "-a", "[1, 2]") != 0
    worker.wait_for("127.0.0.1")
    worker.kill()
    printed.append(worker.log)

    assert sum(f"127.0.0.1:{server.port}" in text for text in printed) >= 3
    assert all(SECRET not in text for text in printed)
