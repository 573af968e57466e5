"""One connection to the file, and how every use of it begins, commits and fails.

A connection belongs to one process: after a fork the first use opens another one, and the parent's
is abandoned, never closed (closing it would drop the parent's locks on the file, POSIX ties them to
the process). Errors of SQLite become ``OperationalError`` that say what can be done.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from umbel.model.errors import ImproperlyConfigured, OperationalError

VERSION = 1
BUSY_TIMEOUT_S = 30.0
# Pages in the WAL before a checkpoint: 8000 against the default 1000 cost 12 % less (bench/).
CHECKPOINT_PAGES = 8000

# Connections of processes that this one was forked from: kept alive, so that nothing closes them.
_abandoned: list[sqlite3.Connection] = []


def _named_queries() -> dict[str, str]:
    text = (Path(__file__).parent / "queries.sql").read_text()
    found = {}
    for piece in re.split(r"^-- name: ", text, flags=re.MULTILINE)[1:]:
        name, _, body = piece.partition("\n")
        found[name.strip()] = re.sub(r"^--.*\n", "", body, flags=re.MULTILINE).strip()
    return found


class Database:
    """A file, or with ``path`` None a database in the memory of this process."""

    def __init__(
        self, path: str | None, shown: str, *, is_relaxed: bool = False, is_volatile: bool = False
    ) -> None:
        self.path = path
        self.shown = shown
        self.is_volatile = is_volatile
        # Relaxed: a publish is not synced to the disk either.
        self._is_relaxed = is_relaxed
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._synchronous = ""
        self._queries = _named_queries()
        # In memory all threads share one connection.
        self._lock: AbstractContextManager[object] = (
            threading.RLock() if is_volatile else nullcontext()
        )

    def run(self, name: str, *values: Any) -> sqlite3.Cursor:
        """One named query."""
        return self.connection.execute(self._queries[name], values)

    def run_many(self, name: str, rows: Iterable[Any]) -> sqlite3.Cursor:
        """One named query for many rows."""
        return self.connection.executemany(self._queries[name], rows)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """For queries that only read."""
        with self._lock, self.clear_errors():
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, one writer at a time."""
        with self._lock, self.clear_errors():
            connection = self.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def clear_errors(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._clear(error) from error

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of this process."""
        if self._connection is None or (self._pid != os.getpid() and not self.is_volatile):
            if self._connection is not None:
                _abandoned.append(self._connection)
            self._connection = self._opened()
            self._pid = os.getpid()
        return self._connection

    def sync(self, *, is_wanted: bool) -> None:
        """Whether commits reach the disk before they return (``synchronous`` FULL or NORMAL).

        With NORMAL a power cut may take the last commits back, whole and in order.
        """
        wanted = "FULL" if is_wanted and not self._is_relaxed else "NORMAL"
        if wanted != self._synchronous or self._pid != os.getpid():
            with self.clear_errors():
                self.connection.execute(f"PRAGMA synchronous = {wanted}")
            self._synchronous = wanted

    def version(self) -> int:
        """Changes whenever another connection has written."""
        found: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        return found

    def close(self) -> None:
        """End the connection, if it is this process's."""
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()
        elif self._connection is not None:
            _abandoned.append(self._connection)
        self._connection = None

    def _opened(self) -> sqlite3.Connection:
        with self.clear_errors():
            connection = sqlite3.connect(
                self.path or ":memory:",
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            self._synchronous = ""
            self._prepare(connection)
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if self._found_version(connection) == VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            if self._found_version(connection) == 0:
                for statement in _statements((Path(__file__).parent / "schema.sql").read_text()):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _found_version(self, connection: sqlite3.Connection) -> int:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, VERSION):
            raise ImproperlyConfigured(
                f"{self.shown} has layout {found}, this umbel knows layout {VERSION}; it was "
                "written by another version of umbel: use that one, or another file"
            )
        return found

    def _clear(self, error: sqlite3.Error) -> OperationalError:
        text = str(error)
        advice = ""
        if "locked" in text or "busy" in text:
            advice = f"; another process held it for {BUSY_TIMEOUT_S:.0f} s"
        elif "full" in text:
            advice = "; the disk is full: free some space, nothing that was accepted is lost"
        elif "unable to open" in text:
            advice = "; does its folder exist, and may this process write there?"
        elif "no such table" in text or "malformed" in text or "not a database" in text:
            advice = "; the file was removed, replaced or damaged while it was open"
        elif "readonly" in text:
            advice = "; this process may not write to it"
        return OperationalError(f"{self.shown}: {text}{advice}")


def _statements(script: str) -> Iterator[str]:
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


Clock = Callable[[], float]
