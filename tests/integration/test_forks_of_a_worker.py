"""What forks has one thread: more than that is a hazard, and since Python 3.12 a warning.

A thread is not there in the fork, but the locks that it holds are. Each process of a worker that
forks says, through a hook that Python calls before a fork, how many threads it has: those that the
kernel counts, so that threads which were started in C are seen too.
"""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from umbel import Celery

pytestmark = [
    pytest.mark.slow,  # real workers
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads counted in /proc"),
]

LIMIT_S = 20.0

# Imported by Python itself at the start of each interpreter that finds it.
SITECUSTOMIZE = """
import os, sys

def note():
    with open(os.environ["FORKS"], "a") as file:
        file.write(f"{os.getpid()} {os.getppid()} {len(os.listdir('/proc/self/task'))}\\n")

os.register_at_fork(before=note)
"""


class Forks:
    """What was told before each fork."""

    def __init__(self, folder):
        (folder / "hooks").mkdir()
        (folder / "hooks" / "sitecustomize.py").write_text(SITECUSTOMIZE)
        self.path = folder / "forks"
        self.path.touch()
        found = [str(folder / "hooks"), str(Path(__file__).parent / "programs")]
        found += filter(None, [os.environ.get("PYTHONPATH")])
        self.environment = {
            "FORKS": str(self.path),
            "PYTHONPATH": os.pathsep.join(found),
            "PYTHONWARNINGS": "always:This process:DeprecationWarning",
        }

    @property
    def all(self):
        lines = self.path.read_text().splitlines()
        return [tuple(int(number) for number in line.split()) for line in lines]

    def of(self, pid):
        return [fork for fork in self.all if fork[0] == pid]


@pytest.fixture
def forks(tmp_path):
    return Forks(tmp_path)


def until(condition):
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.02)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return {int(child) for child in file.read().split()}


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_supervisor_and_nursery_have_one_thread_at_each_fork(urls, start_worker, forks, pool):
    environment = {**urls, **forks.environment}
    url = urls["CELERY_BROKER_URL"]
    worker = start_worker("canvas_tasks", "-c", "2", "-P", pool, "-E", env=environment)
    supervisor = worker.process.pid
    nursery = next(pid for pid, parent, _ in forks.all if parent == supervisor)
    with Celery("canvas_tasks", broker=url, backend=url) as app:
        add = app.signature("canvas_tasks.add")

        assert add.delay(1, 2).get(timeout=LIMIT_S) == 3
        had = len(forks.of(nursery))
        os.kill(min(children_of(supervisor) - {nursery}), signal.SIGKILL)
        until(lambda: len(forks.of(nursery)) > had)
        os.kill(nursery, signal.SIGKILL)
        until(lambda: len(forks.of(supervisor)) == 2)
        assert add.delay(3, 4).get(timeout=LIMIT_S) == 7
    code = worker.stop()

    assert code == 0
    assert {threads for _, _, threads in forks.all} == {1}
    assert "multi-threaded" not in worker.log


def test_threads_that_an_app_starts_too_early_are_named(urls, start_worker):
    url = urls["CELERY_BROKER_URL"]
    worker = start_worker("threaded_tasks", "-c", "1", env=urls)
    with Celery("threaded_tasks", broker=url, backend=url) as app:
        names = app.signature("threaded_tasks.thread_names").delay().get(timeout=LIMIT_S)

    assert names == ["MainThread"]
    assert worker.log.count("metrics-exporter") == 1
    assert "Start them in worker_process_init" in worker.log


def test_an_app_without_threads_is_not_warned_of_any(urls, start_worker):
    worker = start_worker("canvas_tasks", "-c", "1", env=urls)

    assert "has started threads" not in worker.log
