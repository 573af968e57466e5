"""The processes of the shop: a Redis, workers and producers of either house.

Each has a seat (worker 1 to 3, producer 1 and 2). A seat is taken over by starting the successor,
waiting until it works, and then stopping the predecessor as a deployment does: SIGTERM, and time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import redis

HERE = Path(__file__).resolve().parent
PATIENCE_S = 90.0
LISTS = ("umbel:lane:", "umbel:verdicts:", "umbel:suspects:")
# How a program of Celery's world is run on each.
PREFIX = {
    "celery": [sys.executable],
    "umbel": [sys.executable, str(HERE / "under_umbel.py")],
}


class Trouble(Exception):
    """Something of the fleet did not do what it was told."""


def until(condition, what):
    """Wait for a condition, but not for ever."""
    limit = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        if time.monotonic() > limit:
            raise Trouble(f"in {PATIENCE_S:.0f} s it did not happen that {what}")
        time.sleep(0.05)
    return found


class Seat:
    """A process of one house, and the file of what it says."""

    def __init__(self, house, name, process, folder):
        self.house = house
        self.name = name
        self.process = process
        self.log = folder / f"{name}.log"
        self.book = folder / f"{name}.jsonl"  # of a producer

    def has_said(self, text):
        """Whether it has; raises ``Trouble`` where it has ended."""
        if self.process.poll() is not None:
            raise Trouble(f"{self.name} has ended:\n{self.log.read_text()[-3000:]}")
        return text in self.log.read_text()

    def works(self):
        return self.has_said(" ready.")

    def sends(self):
        return self.has_said("") and self.book.exists() and self.book.stat().st_size > 0

    def stop(self):
        """Stop it warmly; gives the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE_S)
        if self.process.poll() != 0:
            said = self.log.read_text()[-3000:]
            raise Trouble(f"{self.name} ended with {self.process.poll()}:\n{said}")
        return time.monotonic() - started


class Fleet:
    """Everything that runs; leaving its ``with`` ends what is still there."""

    def __init__(self, folder, url, rate):
        self.folder = folder
        self.url = url
        self.rate = rate
        self.workers = []
        self.producers = []
        self.books = []
        self._all = []

    def __enter__(self):
        if self.url is None:
            self.url = self._start_redis()
        self.client = redis.Redis.from_url(self.url)
        if self.client.dbsize():
            raise Trouble(f"{self.url} is not empty; name a database that is")
        return self

    def __exit__(self, *_):
        for process in reversed(self._all):  # the Redis, which was the first, ends last
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)
        self.client.close()

    def _start_redis(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        self._start([*command, "--dir", str(self.folder)], self.folder / "redis.log")
        url = f"redis://127.0.0.1:{port}/0"

        def answers():
            with contextlib.suppress(redis.ConnectionError), redis.Redis.from_url(url) as client:
                return client.ping()

        until(answers, "the Redis answers")
        return url

    def _start(self, command, log):
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "UMBEL_"))}
        urls = {"CELERY_BROKER_URL": self.url or "", "CELERY_RESULT_BACKEND": self.url or ""}
        with log.open("w") as output:
            process = subprocess.Popen(
                command,
                cwd=HERE,
                env={**plain, **urls},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._all.append(process)
        return process

    def _seat(self, house, name, *arguments):
        command = [*PREFIX[house], *arguments]
        return Seat(house, name, self._start(command, self.folder / f"{name}.log"), self.folder)

    def start_worker(self, house, turn, place):
        """Not waited for. Its name says its house, so that the journal tells who did what."""
        name = f"{house}-{turn}-{place}"
        options = ("--loglevel", "INFO", "--concurrency", "2", "--hostname", f"{name}@shop")
        return self._seat(house, name, "-m", "celery", "--app", "tasks", "worker", *options)

    def start_producer(self, house, turn, place):
        """Not waited for."""
        name = f"producer-{house}-{turn}-{place}"
        book = self.folder / f"{name}.jsonl"
        self.books.append(book)
        return self._seat(house, name, "producer.py", name, str(self.rate), str(book))

    def staff(self, house, turn, *, workers, producers):
        """The fleet to begin with."""
        self.workers = [self.start_worker(house, turn, place) for place in range(workers)]
        for worker in self.workers:
            until(worker.works, f"{worker.name} is ready")
        self.producers = [self.start_producer(house, turn, place) for place in range(producers)]
        for producer in self.producers:
            until(producer.sends, f"{producer.name} sends")

    def replace_worker(self, place, house, turn):
        """Start one of a house, and stop the one that was there; gives what is to be told."""
        old, new = self.workers[place], self.start_worker(house, turn, place)
        until(new.works, f"{new.name} is ready")
        self.workers[place] = new
        return f"{new.name} works; {old.name} stopped in {old.stop():.1f} s"

    def replace_producer(self, place, house, turn):
        """The same with a producer."""
        old, new = self.producers[place], self.start_producer(house, turn, place)
        until(new.sends, f"{new.name} sends")
        self.producers[place] = new
        return f"{new.name} sends; {old.name} stopped in {old.stop():.1f} s"

    def stop_producers(self):
        for producer in self.producers:
            producer.stop()

    def drain(self):
        """``umbel drain``: what umbel's workers have put aside goes back into the queues."""
        log = self.folder / "drain.log"
        command = [*PREFIX["umbel"], "-m", "umbel", "--app", "tasks", "drain"]
        if self._start(command, log).wait(PATIENCE_S):
            raise Trouble(f"umbel drain could not put everything back:\n{log.read_text()}")
        return log.read_text().strip()

    def left_at_the_broker(self):
        """Where messages are still, and how many."""
        found = {}
        for key in self.client.scan_iter():
            name = key.decode()
            if name == "unacked" or name.startswith(("umbel:i:", "umbel:parked:")):
                found[name] = self.client.hlen(key)
            elif name == "umbel:dead":
                found[name] = self.client.zcard(key)
            elif name.partition("\x06")[0] == "celery" or name.startswith(LISTS):
                found[name] = self.client.llen(key)
        return found
