"""Workers of both kinds in real processes, producers of both kinds in this one, and a witness.

The witness reads Redis's MONITOR, so it sees every message that anybody puts into a list, from
scripts too, however short it stands there.
"""

import contextlib
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import redis

PROGRAMS = Path(__file__).parent / "programs"
QUEUES = "celery,custom,q_direct,q_topic,q_topic_all,q_expires"
STEPS = ("", "\x06\x163", "\x06\x166", "\x06\x169")
META = "celery-task-meta-"
PATIENCE_S = 30.0

# Kept for the session: Celery tells every later app of a process of all tasks that were ever made.
PRODUCERS = {}


def until(condition, timeout_s=PATIENCE_S, say=lambda: ""):
    """Wait for a condition; what ``say`` gives is the words of the failure."""
    limit = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < limit, say()
        time.sleep(0.02)
    return value


def family(pid):
    """A process and all below it."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(each for child in below for each in family(int(child)))]


class Worker:
    """A worker process of one house, and its log."""

    def __init__(self, house, process, log_path):
        self.house = house
        self.process = process
        self.log_path = log_path

    @property
    def log(self):
        return self.log_path.read_text()[-4000:]

    def wait_until_ready(self):
        def is_ready():
            assert self.process.poll() is None, self.log
            return " ready." in self.log_path.read_text()

        until(is_ready, say=lambda: self.log)

    def ask_to_stop(self):
        if self.process.poll() is None:
            # Nothing runs any more, and Celery takes two seconds to find that out.
            is_slow = self.house == "celery"
            self.process.send_signal(signal.SIGKILL if is_slow else signal.SIGTERM)

    def kill_all(self):
        """End all its processes at once, as the loss of a machine would."""
        for pid in family(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def wait_for_end(self):
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


class Fleet:
    """Start workers and producers of either house on one Redis; end all of them."""

    def __init__(self, url, folder):
        self.url = url
        self.folder = folder
        self.client = redis.Redis.from_url(url)
        self.workers = []

    def environment(self, house, conf=None):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "UMBEL_"))}
        return {
            **env,
            "C_FORCE_ROOT": "1",  # where the tests run as root, Celery would refuse pickle
            "PYTHONPATH": os.pathsep.join(
                filter(None, [str(PROGRAMS), os.environ.get("PYTHONPATH")])
            ),
            "WIRE_HOUSE": house,
            "WIRE_BROKER": self.url,
            "WIRE_BACKEND": self.url,
            "WIRE_CONF": json.dumps(conf or {}),
        }

    def start(self, house, *arguments, name="w1", conf=None, app="wire_tasks"):
        """A worker; not waited for, so that several may start at the same time."""
        log_path = self.folder / f"{house}-{len(self.workers)}.log"
        command = [sys.executable, "-m", house, "-A", app, "worker", "-l", "INFO"]
        command += ["-n", f"{name}@host.example", *arguments]
        with log_path.open("w") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.environment(house, conf),
            )
        worker = Worker(house, process, log_path)
        self.workers.append(worker)
        return worker

    def producer(self, house):
        """The module of the tasks, imported here as a producer of one house."""
        if (house, self.url) not in PRODUCERS:
            PRODUCERS[house, self.url] = self._imported(house)
        return PRODUCERS[house, self.url]

    def _imported(self, house):
        before = dict(os.environ)
        os.environ.update(self.environment(house))
        sys.path.insert(0, str(PROGRAMS))
        try:
            return importlib.import_module("wire_tasks")
        finally:
            sys.path.remove(str(PROGRAMS))
            sys.modules.pop("wire_tasks", None)
            for key in set(os.environ) - set(before):
                del os.environ[key]
            os.environ.update(before)

    def records(self):
        """Every result that stands there, as it stands there."""
        keys = self.client.keys(f"{META}*")
        values = self.client.mget(keys) if keys else []
        return {
            key.decode().removeprefix(META): json.loads(value)
            for key, value in zip(keys, values, strict=True)
            if value is not None
        }

    def waiting(self):
        """Where messages stand, in lists or with a worker of either house, and how many."""
        lists = [f"{queue}{step}" for queue in QUEUES.split(",") for step in STEPS]
        lists += self.client.keys("umbel:lane:*")
        held = ["unacked", *self.client.keys("umbel:i:*"), *self.client.keys("umbel:parked:*")]
        with self.client.pipeline() as pipe:
            for key in lists:
                pipe.llen(key)
            for key in held:
                pipe.hlen(key)
            counts = pipe.execute()
        return {key: n for key, n in zip(lists + held, counts, strict=True) if n}

    def settle(self, quiet_s=0.6):
        """Wait until nothing waits or runs, and that for a while.

        A worker of Celery acknowledges before it runs, so an empty broker alone says little.
        """
        since, before = time.monotonic(), None

        def is_quiet():
            nonlocal since, before
            now = None if self.waiting() else self.client.keys(f"{META}*")
            if now is None or sorted(now) != before:
                since, before = time.monotonic(), now and sorted(now)
            return before is not None and time.monotonic() - since > quiet_s

        until(is_quiet, say=lambda: f"{self.waiting()} wait\n{[w.log for w in self.workers]}")

    def close(self):
        for worker in self.workers:
            worker.ask_to_stop()
        for worker in self.workers:
            worker.wait_for_end()
        self.client.close()


ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')
ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


def _arguments(line):
    return [ESCAPE.sub(_plain, found) for found in ARGUMENT.findall(line)][1:]


def _plain(match):
    said = match[1]
    return bytes([int(said[1:], 16)]) if len(said) == 3 else PLAIN.get(said, said)


VALUE = re.compile(rb"\d+,\d+,\w*,(\d+),(\d+),(\d+):")


class Witness:
    """Every message that comes to stand in a queue, in order, as (key, envelope).

    That is what is pushed to its list, and what an umbel worker leases without its passing there.
    """

    def __init__(self, url):
        host, _, port = url.removeprefix("redis://").partition("/")[0].partition(":")
        self.connection = socket.create_connection((host, int(port)))
        self.connection.sendall(b"MONITOR\r\n")
        self.file = self.connection.makefile("rb")
        assert self.file.readline() == b"+OK\r\n"
        self.pushed = []
        self.tags = set()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        with contextlib.suppress(OSError, ValueError):
            for line in self.file:
                start = line[:120].upper()
                if b'"LPUSH"' in start or b'"RPUSH"' in start:
                    self._pushed(*_arguments(line))
                elif b'"HSET" "UMBEL:I:' in start:
                    self._leased(*_arguments(line))

    def _pushed(self, key, *values):
        if not (key.startswith(b"umbel:") or b"taskset-meta" in key or b"reply" in key):
            for value in values:
                self._note(key, value)

    def _leased(self, key, *fields):
        for value in fields[1::2]:
            head = VALUE.match(value)
            verdict, queue, suffix = map(int, head.groups())
            rest = value[head.end() :]
            self._note(rest[: queue + suffix], rest[queue + suffix + verdict :])

    def _note(self, key, raw):
        envelope = json.loads(raw)
        tag = (key, envelope["properties"]["delivery_tag"])
        if tag not in self.tags and envelope["headers"].get("task") != "umbel.join":
            self.tags.add(tag)  # a message that is given back or leased again is not a new one
            self.pushed.append((key.decode(), envelope))

    def close(self):
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        self.thread.join(5)
        self.file.close()
