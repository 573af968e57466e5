"""Real workers in real processes for the tests of this folder."""

import importlib
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"


class Worker:
    """A worker process, its log, and ways to end it."""

    def __init__(self, process, log_path):
        self.process = process
        self.log_path = log_path

    @property
    def log(self):
        return self.log_path.read_text()

    def wait_for(self, text, timeout_s=20.0):
        limit = time.monotonic() + timeout_s
        while text not in self.log:
            if self.process.poll() is not None and text not in self.log:
                raise AssertionError(f"the worker ended before it logged {text!r}:\n{self.log}")
            assert time.monotonic() < limit, f"no {text!r} within {timeout_s} s:\n{self.log}"
            time.sleep(0.02)

    def stop(self, number=signal.SIGTERM, timeout_s=20.0):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@pytest.fixture
def start_worker(tmp_path):
    """Start ``umbel -A <app> worker``; gives a ready Worker. All are ended with the test."""
    workers = []

    def start(app="canvas_tasks", *arguments, env=None, is_ready=True):
        log_path = tmp_path / f"worker-{len(workers)}.log"
        command = [sys.executable, "-m", "umbel", "-A", app, "worker", "-l", "INFO", *arguments]
        with log_path.open("w") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=tmp_path,
                env=environment(env),
            )
        worker = Worker(process, log_path)
        workers.append(worker)
        if is_ready:
            worker.wait_for("ready.")
        return worker

    yield start
    for worker in workers:
        try:
            worker.stop()
        except subprocess.TimeoutExpired:
            worker.kill()


def environment(extra=None):
    """The environment of a program of these tests: only what it names is set."""
    env = {
        key: value for key, value in os.environ.items() if not key.startswith(("CELERY_", "UMBEL_"))
    }
    # What the developer has put there stays: a checkout that is not the installed one.
    env["PYTHONPATH"] = os.pathsep.join([str(PROGRAMS), *filter(None, [env.get("PYTHONPATH")])])
    env.update(extra or {})
    return env


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def urls(request, tmp_path):
    """Broker and results of one engine, as the environment variables that choose them."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    else:
        url = f"sqlite:///{tmp_path}/umbel.db"
    return {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}


@contextmanager
def imported(name, urls, monkeypatch):
    """A program of ``programs/``, imported here as a producer."""
    for variable, value in urls.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.syspath_prepend(str(PROGRAMS))
    sys.modules.pop(name, None)
    module = importlib.import_module(name)
    yield module
    module.app.close()
    sys.modules.pop(name, None)


@pytest.fixture
def program(urls, monkeypatch):
    """The app of ``programs/canvas_tasks.py``."""
    with imported("canvas_tasks", urls, monkeypatch) as module:
        yield module


@pytest.fixture
def commanded(urls, monkeypatch):
    """The app of ``programs/commanded_tasks.py``."""
    with imported("commanded_tasks", urls, monkeypatch) as module:
        yield module


@pytest.fixture
def environment_of():
    """Make the environment of a program of these tests."""
    return environment
