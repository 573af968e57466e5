"""Failures before and after the n-th thing that is said to a broker, in one process.

A *step* is one exchange with Redis (commands out, replies in) or one statement of SQLite. Four
kinds of failure: the connection breaks (SQLite: the statement fails) *before* the step has happened
or *after* it, when only the answer is lost; or the process *crashes* at that moment. A crash is an
exception that nobody may swallow; what would be a dead process is then left as it is.
"""

import sqlite3
import threading
from contextlib import contextmanager

from umbel.engines.redis import connection as redis_connection

KINDS = ("cut before", "cut after", "crash before", "crash after")


class Crash(BaseException):
    """The process is dead from here on."""


class Faults:
    """Counts steps, and fails at one of them, and once more ``then`` steps later."""

    def __init__(self, kind="", at=0, then=None):
        self.kind = kind
        self.at = at
        self._at = (at, at + then) if then else (at,)
        self.steps = 0
        self.hit = ""
        self._thread = threading.get_ident()
        self._suspended = 0

    @property
    def was_met(self):
        return bool(self.hit)

    @contextmanager
    def suspended(self):
        """What is said here is no step: the test looks, or another process speaks."""
        self._suspended += 1
        try:
            yield
        finally:
            self._suspended -= 1

    def around(self, said, step, break_now):
        """Carry out a step, or fail."""
        if self._suspended or threading.get_ident() != self._thread:
            return step()
        self.steps += 1
        if self.steps not in self._at:
            return step()
        self.hit += said
        fault, when = self.kind.split()
        if when == "after":
            step()
        if fault == "crash":
            raise Crash(said)
        raise break_now()


@contextmanager
def on_redis(faults, monkeypatch):
    """Let what is said to Redis fail."""
    plain = redis_connection.Connection._exchange

    def exchange(self, payload, replies, *pushes):
        return faults.around(
            repr(payload[:60]),
            lambda: plain(self, payload, replies, *pushes),
            lambda: redis_connection.ConnectionBroken("cut by the test"),
        )

    def halved(name):
        plain_half = getattr(redis_connection.Connection, name)

        def half(self, *arguments):
            try:
                return faults.around(
                    f"{name} {arguments!r:.60}",
                    lambda: plain_half(self, *arguments),
                    lambda: redis_connection.ConnectionBroken("cut by the test"),
                )
            except redis_connection.ConnectionBroken as error:
                self._broke(error)
                if name == "finish":
                    raise

        return half

    with monkeypatch.context() as patch:
        patch.setattr(redis_connection.Connection, "_exchange", exchange)
        for name in ("begin", "finish"):
            patch.setattr(redis_connection.Connection, name, halved(name))
        yield


def _disk_error():
    error = sqlite3.OperationalError("disk I/O error, made by the test")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    error.sqlite_errorname = "SQLITE_IOERR"
    return error


@contextmanager
def on_sqlite(faults, monkeypatch):
    """Let statements fail."""
    connect = sqlite3.connect

    class FaultyConnection(sqlite3.Connection):
        def execute(self, sql, *parameters):
            return self._faulty("execute", sql, parameters)

        def executemany(self, sql, *parameters):
            return self._faulty("executemany", sql, parameters)

        def executescript(self, sql):
            return self._faulty("executescript", sql, ())

        def _faulty(self, how, sql, parameters):
            plain = getattr(sqlite3.Connection, how)
            if sql.startswith("ROLLBACK"):
                return plain(self, sql, *parameters)
            return faults.around(
                " ".join(sql.split())[:70],
                lambda: plain(self, sql, *parameters),
                _disk_error,
            )

    def faulty(*arguments, **options):
        return connect(*arguments, **{**options, "factory": FaultyConnection})

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", faulty)
        yield
