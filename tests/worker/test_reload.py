"""``--reload``, and how the processes are called: real workers on SQLite."""

import os
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow  # real workers

LIMIT_S = 30.0

APP = """
import os, time
from umbel import Celery
from words import WORD

app = Celery("shop")

@app.task
def say(path):
    open(path, "w").write(WORD)

@app.task
def slow(path):
    open(path + ".began", "w").close()
    while not os.path.exists(path + ".go"):
        time.sleep(0.02)
    open(path + ".ended", "w").write(WORD)
"""


class Program:
    """A running worker."""

    def __init__(self, folder, *arguments):
        self.folder = folder
        self.log_path = folder / "worker.log"
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "umbel", "-A", "shop", "worker", "-l", "INFO", *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self):
        return self.log_path.read_text()

    def wait_for(self, text, times=1):
        wait_until(lambda: self.log.count(text) >= times or self.process.poll() is not None, self)
        assert self.log.count(text) >= times, self.log

    def send(self, name, path):
        # Not from the app's module, which may be broken just now.
        code = f"import umbel; umbel.Celery().send_task('shop.{name}', ({str(path)!r},))"
        subprocess.run([sys.executable, "-c", code], cwd=self.folder, check=True, timeout=LIMIT_S)


def wait_until(condition, told=None):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, getattr(told, "log", "")
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path):
    programs = []
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "words.py").write_text("WORD = 'old'\n")

    def started(*arguments):
        programs.append(Program(tmp_path, *arguments))
        programs[-1].wait_for("ready.")
        return programs[-1]

    yield started
    for program in programs:
        if program.process.poll() is None:
            os.killpg(program.process.pid, signal.SIGKILL)
            program.process.wait()


def said(worker, name):
    path = worker.folder / name
    worker.send("say", path)
    wait_until(lambda: path.exists() and path.read_text(), worker)
    return path.read_text()


def test_a_changed_module_is_what_the_next_task_runs_and_none_is_interrupted(start, tmp_path):
    pytest.importorskip("watchfiles")
    worker = start("-c", "2", "--reload")
    before = said(worker, "before")
    worker.send("slow", tmp_path / "slow")
    wait_until(lambda: (tmp_path / "slow.began").exists(), worker)

    (tmp_path / "words.py").write_text("WORD = 'newer'\n")
    worker.wait_for("words.py changed")
    wait_until(lambda: said(worker, f"after{time.monotonic_ns()}") == "newer", worker)
    (tmp_path / "slow.go").touch()
    wait_until(lambda: (tmp_path / "slow.ended").exists(), worker)

    assert before == "old"
    assert (tmp_path / "slow.ended").read_text() == "old"
    assert "exited with" not in worker.log
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(LIMIT_S) == 0


def test_a_change_that_can_not_be_imported_leaves_the_old_children_at_work(start, tmp_path):
    pytest.importorskip("watchfiles")
    worker = start("-c", "1", "--reload")

    (tmp_path / "words.py").write_text("WORD = \n")
    worker.wait_for("SyntaxError")
    meanwhile = said(worker, "meanwhile")
    (tmp_path / "words.py").write_text("WORD = 'mended'\n")
    worker.wait_for("words.py changed", times=2)
    wait_until(lambda: said(worker, f"after{time.monotonic_ns()}") == "mended", worker)

    assert meanwhile == "old"


def test_processes_are_called_as_celery_calls_them(start):
    pytest.importorskip("setproctitle")
    worker = start("-c", "2", "-n", "mail@here")

    def titles():
        with open(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children") as file:
            pids = [worker.process.pid, *map(int, file.read().split())]
        read = []
        for pid in pids:
            with open(f"/proc/{pid}/cmdline") as file:
                read.append(file.read().rstrip("\0"))
        return sorted(read)

    wait_until(lambda: len(titles()) == 4, worker)

    assert titles() == [
        "[celeryd: mail@here:ForkPoolWorker-1]",
        "[celeryd: mail@here:ForkPoolWorker-2]",
        "[celeryd: mail@here:MainProcess] -active-",
        "[celeryd: mail@here:Nursery]",
    ]
