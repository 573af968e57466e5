"""``umbel worker`` as a program, on SQLite: what an operator does to it, and sees."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # real workers

LIMIT_S = 20.0

APP = """
import os, time
from umbel import Celery
from umbel.app import signals

app = Celery("shop")

@app.task
def add(x, y):
    return x + y

@app.task
def slow(path):
    open(path + ".began", "w").close()
    time.sleep(0.5)
    open(path + ".ended", "w").close()

def say(signal, **_):
    os.write(2, f"signal {signal.name} in {os.getpid()}\\n".encode())

for each in (signals.worker_init, signals.worker_ready, signals.worker_process_init,
             signals.worker_process_shutdown, signals.worker_shutting_down,
             signals.worker_shutdown, signals.celeryd_init, signals.celeryd_after_setup):
    each.connect(say, weak=False)
"""


class Program:
    """A running worker."""

    def __init__(self, folder, *arguments, app="shop", before=()):
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CELERY_", "UMBEL_"))
        }
        self.log_path = folder / f"log-{time.monotonic_ns()}"
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "umbel", "-A", app, *before, "worker", *arguments],
                cwd=folder,
                env=environment,
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

    def end(self, number=None):
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(LIMIT_S)


def wait_until(condition, told=None):
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, getattr(told, "log", "")
        time.sleep(0.01)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


@pytest.fixture
def start(folder):
    programs = []

    def started(*arguments, **how):
        programs.append(Program(folder, *arguments, **how))
        return programs[-1]

    yield started
    for program in programs:
        if program.process.poll() is None:
            os.killpg(program.process.pid, signal.SIGKILL)
            program.process.wait()


def send(folder, name, *args):
    code = f"import shop; shop.{name}.delay(*{args!r})"
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True, timeout=LIMIT_S)


def test_it_shows_what_it_works_with_and_says_when_it_is_ready(start, folder):
    worker = start("-c", "2", "-l", "INFO", "-n", "mail@%h")

    worker.wait_for("ready.")
    code = worker.end(signal.SIGTERM)

    assert code == 0
    assert f".> transport:   sqlite:///{folder}/umbel.db" in worker.log
    assert ".> concurrency: 2 (prefork)" in worker.log
    assert "  . shop.add\n" in worker.log
    assert "celery.chain" not in worker.log
    assert "INFO/MainProcess] mail@" in worker.log
    assert "worker: Warm shutdown (MainProcess)" in worker.log


def test_signals_of_the_worker_are_sent_in_the_nursery_and_those_of_processes_in_each(start):
    worker = start("-c", "2", "-l", "INFO")

    worker.wait_for("ready.")
    worker.wait_for("signal worker_ready")
    worker.end(signal.SIGTERM)

    told = [line.split() for line in worker.log.splitlines() if line.startswith("signal ")]
    pids = {name: {line[3] for line in told if line[1] == name} for _, name, _, _ in told}
    in_nursery = (
        "celeryd_init",
        "worker_init",
        "celeryd_after_setup",
        "worker_ready",
        "worker_shutting_down",
        "worker_shutdown",
    )
    assert len(set.union(*(pids[name] for name in in_nursery))) == 1
    assert len(pids["worker_process_init"]) == 2
    assert pids["worker_process_init"] == pids["worker_process_shutdown"]
    assert not pids["worker_init"] & pids["worker_process_init"]
    assert [line[1] for line in told[:3]] == ["celeryd_init", "worker_init", "celeryd_after_setup"]


def test_an_interrupt_of_the_whole_terminal_lets_tasks_end(start, folder):
    worker = start("-c", "1")
    marker = folder / "task"
    send(folder, "slow", str(marker))
    wait_until(lambda: (folder / "task.began").exists(), worker)

    os.killpg(worker.process.pid, signal.SIGINT)

    assert worker.end() == 0
    assert (folder / "task.ended").exists()
    assert "worker: Hitting Ctrl+C again will terminate all running tasks!" in worker.log


def test_what_a_cold_stop_interrupts_runs_in_the_next_worker(start, folder):
    worker = start("-c", "1")
    marker = folder / "task"
    send(folder, "slow", str(marker))
    wait_until(lambda: (folder / "task.began").exists(), worker)

    code = worker.end(signal.SIGQUIT)
    interrupted = not (folder / "task.ended").exists()
    start("-c", "1")
    wait_until(lambda: (folder / "task.ended").exists())

    assert code == 1
    assert interrupted
    assert "worker: Cold shutdown (MainProcess)" in worker.log


def test_a_hang_up_starts_it_anew_in_the_same_process(start):
    worker = start("-c", "1", "-l", "INFO", "--pidfile", "worker.pid")
    worker.wait_for("ready.")

    worker.process.send_signal(signal.SIGHUP)
    worker.wait_for("ready.", times=2)

    assert worker.end(signal.SIGTERM) == 0
    assert worker.log.count("Restarting worker") == 1
    assert "Error" not in worker.log


def test_a_pid_file_keeps_a_second_worker_out(start, folder):
    worker = start("-c", "1", "-l", "INFO", "--pidfile", "%n.pid")
    worker.wait_for("ready.")
    written = (folder / "celery.pid").read_text()
    second = start("-c", "1", "--pidfile", "%n.pid")

    code = second.end()
    worker.end(signal.SIGTERM)

    assert written == f"{worker.process.pid}\n"
    assert code == 1
    assert f"belongs to the running process {worker.process.pid}" in second.log
    assert "Traceback" not in second.log
    assert not (folder / "celery.pid").exists()


def test_nothing_is_written_but_the_log_file_that_was_asked_for(start, folder):
    worker = start("-c", "1", "-l", "INFO", "--logfile", "%n%I.log")
    wait_until(lambda: (folder / "celery.log").exists(), worker)
    wait_until(lambda: "ready." in (folder / "celery.log").read_text(), worker)

    worker.end(signal.SIGTERM)

    assert "INFO/MainProcess] celery@" in (folder / "celery.log").read_text()
    kept = {path.name for path in folder.iterdir()} - {"shop.py", worker.log_path.name}
    kept = {name for name in kept if not name.startswith(("umbel.db", "__pycache__"))}
    assert kept == {"celery.log"}


@pytest.mark.parametrize(
    ("before", "arguments", "said"),
    [
        (["-b", "memory://"], [], "broker_url is memory://, which lives inside one process"),
        ([], ["-c", "2000"], "concurrency 2000; one worker runs at most 1024 tasks at a time"),
    ],
)
def test_what_can_not_work_is_said_in_one_line(start, before, arguments, said):
    worker = start(*arguments, before=before)

    code = worker.end()

    assert code == 1
    assert f"Error: {said}" in worker.log
    assert "Traceback" not in worker.log


def test_a_module_that_breaks_shows_its_own_traceback_and_no_other(start, folder):
    (folder / "broken.py").write_text("import umbel\n\nnothing = 1 / 0\n")
    worker = start(app="broken")

    code = worker.end()

    assert code == 1
    assert worker.log.startswith("Traceback (most recent call last):\n")
    assert worker.log.splitlines()[1].startswith(f'  File "{folder}/broken.py", line 3')
    assert worker.log.endswith("ZeroDivisionError: division by zero\n")


def test_purge_empties_the_queues_first(start, folder):
    for number in range(3):
        send(folder, "add", number, 1)

    worker = start("-c", "1", "-l", "INFO", "--purge")
    worker.wait_for("ready.")
    worker.end(signal.SIGTERM)

    assert "purge: Erased 3 messages." in worker.log
    assert "received" not in worker.log


def test_an_idle_worker_burns_no_measurable_processor_time(start):
    worker = start("-c", "2", "-l", "INFO")
    worker.wait_for("ready.")
    tick_s = 1 / os.sysconf("SC_CLK_TCK")

    def cpu_s():
        fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * tick_s

    time.sleep(1)
    before = cpu_s()
    time.sleep(20)

    assert cpu_s() - before <= 0.06


def test_what_has_no_effect_yet_is_said_in_one_line(start, folder):
    asking = (
        "\napp.conf.update(worker_agent='agent', result_persistent=True, broker_pool_limit=3,"
        " broker_connection_retry_on_startup=True)\n"
    )
    (folder / "asking.py").write_text(APP + asking)

    worker = start("-c", "1", "-l", "INFO", app="asking")
    worker.wait_for("ready.")
    worker.end(signal.SIGTERM)

    [line] = [line for line in worker.log.splitlines() if "Has no effect" in line]
    assert "WARNING" in line
    for word in ("worker_agent", "result_persistent"):
        assert word in line
    [line] = [line for line in worker.log.splitlines() if "Needs no setting" in line]
    assert "INFO" in line
    assert line.endswith("Needs no setting: broker_pool_limit (one connection a thread)")


def test_a_worker_takes_what_is_sent_to_it_alone(start, folder):
    (folder / "direct.py").write_text(
        APP.replace('Celery("shop")', 'Celery("shop", worker_direct=True)')
    )
    send = "import direct; direct.add.apply_async((1, 2), queue='w2@here.dq2')"

    workers = {
        name: start("-c", "1", "-l", "INFO", "-n", f"{name}@here", app="direct")
        for name in ("w1", "w2")
    }
    for worker in workers.values():
        worker.wait_for("ready.")
    subprocess.run([sys.executable, "-c", send], cwd=folder, check=True, timeout=LIMIT_S)

    workers["w2"].wait_for("succeeded")
    assert "w1@here.dq2" in workers["w1"].log
    assert "succeeded" not in workers["w1"].log


def test_a_print_without_a_line_end_is_logged_before_its_task_ends(start, folder):
    printing = "\n@app.task\ndef dot(path):\n    print('a dot', end='')\n"
    (folder / "shop.py").write_text(APP + printing)
    worker = start("-c", "1", "-l", "INFO")
    worker.wait_for("ready.")

    send(folder, "dot", "x")
    worker.wait_for("succeeded")

    assert worker.log.index("WARNING/ForkPoolWorker-1] a dot\n") < worker.log.index("succeeded")


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_no_exception_of_a_task_or_its_hooks_ends_the_worker(start, folder, pool):
    leaving = """
from umbel import Task

class Leaving(Task):
    def on_success(self, *facts):
        raise SystemExit("in a hook")

@app.task
def leave(path):
    raise KeyboardInterrupt

@app.task(base=Leaving)
def hook(path):
    pass
"""
    (folder / "shop.py").write_text(APP + leaving)
    worker = start("-c", "1", "-P", pool, "-l", "INFO")
    worker.wait_for("ready.")

    send(folder, "leave", "x")
    send(folder, "hook", "x")
    send(folder, "add", 2, 3)
    worker.wait_for("succeeded in", times=1)
    worker.wait_for(": 5")

    assert "raised unexpected: KeyboardInterrupt()" in worker.log
    assert "exited with" not in worker.log
