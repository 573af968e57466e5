"""Servers, workers and traces for the tests of reliability, and for the scripts beside them.

A *bench* is one system in a folder of its own: its server, its workers, its producer's app, and the
trace that its tasks leave. Systems are ``sqlite``, ``redis``, ``celery`` on Redis, to compare, and
``sqlite+redis`` and ``redis+redis``, whose results are on a server of their own. All that is
started here is ended here, by pid. Everything listens on loopback.
"""

import contextlib
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
PYTHONPATH = os.environ.get("PYTHONPATH", "")
RedisServer = runpy.run_path(str(HERE.parent / "conftest.py"))["RedisServer"]
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def until(condition, timeout_s=15.0, what="the condition"):
    """Wait for something to become true; give it."""
    limit = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < limit, f"{what} did not come true within {timeout_s} s"
        time.sleep(0.01)
    return found


def family(pid):
    """A process and its descendants; those that have ended meanwhile are left out."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for child in file.read().split():
                    found += family(int(child))
    return found


def cpu_s(pids):
    """Processor seconds that processes have used."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Worker:
    """A worker program, its log, and ways to hurt it."""

    def __init__(self, command, cwd, env, log_path):
        self.log_path = log_path
        with log_path.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
            )
        self.pid = self.process.pid
        self._frozen = []

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    @property
    def is_running(self):
        return self.process.poll() is None

    def wait_until_ready(self, timeout_s=30.0):
        def ready():
            assert self.is_running or "ready." in self.log, f"the worker ended:\n{self.log}"
            return "ready." in self.log

        until(ready, timeout_s, "a ready worker")
        return self

    def children(self):
        """The processes that run tasks: those without children of their own."""
        return [pid for pid in family(self.pid)[1:] if len(family(pid)) == 1]

    def kill(self):
        """SIGKILL the worker alone; its children are to end by themselves."""
        if self.is_running:
            self.process.kill()
        self.process.wait(10)

    def kill_all(self):
        """SIGKILL all its processes at once, as the loss of a machine would."""
        for pid in family(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def freeze(self):
        self._frozen = family(self.pid)
        for pid in self._frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self):
        frozen, self._frozen = self._frozen, []
        for pid in frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def stop(self, number=signal.SIGTERM, timeout_s=30.0):
        """End it; gives the exit code."""
        self.thaw()
        if self.is_running:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def end(self):
        """End it for certain."""
        self.thaw()
        try:
            self.stop(timeout_s=15)
        except subprocess.TimeoutExpired:
            self.kill_all()


class Run(NamedTuple):
    """One run of a task, as the trace tells it."""

    kind: str
    at: float
    task_id: str
    retries: int
    is_repeated: bool
    key: str


class Trace:
    """What the tasks wrote."""

    def __init__(self, path):
        self.path = path

    def runs(self):
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text().splitlines():
            kind, at, task_id, retries, again, key = line.split(" ", 5)
            found.append(Run(kind, float(at), task_id, int(retries), again == "1", key))
        return found

    def begun(self):
        """How often each key began."""
        return Counter(run.key for run in self.runs() if run.kind == "begin")

    def ended(self):
        """How often each key came to its end."""
        return Counter(run.key for run in self.runs() if run.kind == "end")

    def repeated(self):
        """How many runs were not the first of their attempt."""
        begun = [run[2:4] + run[5:] for run in self.runs() if run.kind == "begin"]
        return len(begun) - len(set(begun))

    def forked(self):
        """Keys of tasks that were sent twice: two first deliveries of one attempt of one id."""
        firsts = defaultdict(int)
        for run in self.runs():
            if run.kind == "begin" and not run.is_repeated:
                firsts[run.task_id, run.retries, run.key] += 1
        return sorted(key for (_, _, key), number in firsts.items() if number > 1)


class Bench:
    """One system in a folder of its own. A context manager."""

    def __init__(self, system, folder, *, settings=None, redis_arguments=DURABLE):
        self.system = system
        self.folder = Path(folder)
        self.settings = settings or {}
        self.trace = Trace(self.folder / "trace")
        self.workers = []
        self.server = None
        self.results = None  # the server of the results, where it is another one
        self.app = None
        self.tasks = None
        self._redis_arguments = redis_arguments

    @property
    def url(self):
        if self.server is not None:
            return self.server.url
        return f"sqlite:///{self.folder}/umbel.db"

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        broker, _, results = self.system.partition("+")
        if broker != "sqlite":
            self.server = self._start_server("redis")
        if results:
            self.results = self._start_server("results")
        self._import_program()
        return self

    def _start_server(self, name):
        directory = self.folder / name
        directory.mkdir()
        server = RedisServer(directory, *self._redis_arguments)
        server.start()
        return server

    @property
    def servers(self):
        """The Redis servers that there are."""
        return [server for server in (self.server, self.results) if server is not None]

    def __exit__(self, *error):
        for server in self.servers:
            with contextlib.suppress(ProcessLookupError):
                server.thaw()
        for worker in self.workers:
            worker.end()
        with contextlib.suppress(Exception):
            self.app.close()
        for server in self.servers:
            server.stop()
        sys.modules.pop("storm_tasks", None)

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "UMBEL_"))}
        return env | self._variables()

    def _variables(self):
        results = self.results.url if self.results else self.url
        settings = {"broker_url": self.url, "result_backend": results, **self.settings}
        return {
            # With what this process was given: the source that is tested may be named there.
            "PYTHONPATH": os.pathsep.join(filter(None, [str(PROGRAMS), PYTHONPATH])),
            "STORM_SYSTEM": "celery" if self.system == "celery" else "umbel",
            "STORM_SETTINGS": json.dumps(settings),
            "STORM_TRACE": str(self.trace.path),
        }

    def _import_program(self):
        os.environ.update({k: v for k, v in self._variables().items() if k.startswith("STORM_")})
        sys.modules.pop("storm_tasks", None)
        sys.path.insert(0, str(PROGRAMS))
        try:
            self.tasks = importlib.import_module("storm_tasks")
        finally:
            sys.path.remove(str(PROGRAMS))
        self.app = self.tasks.app

    def start_worker(self, *arguments, concurrency=2, is_ready=True):
        package = "celery" if self.system == "celery" else "umbel"
        command = [sys.executable, "-m", package, "-A", "storm_tasks", "worker", "-l", "INFO"]
        number = len(self.workers)
        command += ["-c", str(concurrency), "-n", f"w{number}@bench", *arguments]
        worker = Worker(
            command, self.folder, self.environment(), self.folder / f"worker-{number}.log"
        )
        self.workers.append(worker)
        return worker.wait_until_ready() if is_ready else worker

    def broker(self):
        """A connection of our own to look at the queues (umbel only)."""
        return self.app.open_pair().broker

    def depth(self, queue="celery"):
        broker = self.broker()
        try:
            return broker.depth(queue)
        finally:
            broker.close()
