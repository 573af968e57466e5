"""One connection to one file: opened when needed, one transaction at a time, every error explained.

Theory of operation. SQLite must not be carried over a fork: a child that uses or even closes what
it inherited drops locks of its parent, and the library's own table of open files would believe in
locks that the child does not have. So all connections of this process are closed right before a
fork (each waits for the end of its running transaction) and opened anew at their next use, in the
parent and in the child. That is also why each use holds the connection's lock.

A write is ``BEGIN IMMEDIATE`` .. ``COMMIT``; whatever is raised inside rolls all of it back. Right
before the commit the file is looked for under its name: a file that was removed or replaced would
swallow what is written to it. ``SIGKILL`` between any two statements leaves nothing of the
transaction; one that was committed survives it, and a power cut too where ``is_durable``.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import suppress
from types import TracebackType
from weakref import WeakSet, finalize

from umbel.engines.sqlite.location import Location
from umbel.engines.sqlite.queries import SCHEMA, UPGRADES
from umbel.model.clock import monotonic_s
from umbel.model.errors import ImproperlyConfigured, OperationalError, PublishOutcomeUnknown

# "umbl": marks the file as ours, so that no other program's database is written to.
APPLICATION_ID = 0x756D626C
SCHEMA_VERSION = 3
# Pages in the log before it is copied into the database (16 MB): 12 % more throughput than 1,000.
_CHECKPOINT_PAGES = 4000
# How long a fork waits for another thread's transaction. Afterwards its connection is abandoned in
# the child, which is safe as long as the child does not use SQLite in the middle of it.
_FORK_PATIENCE_S = 5.0


class Connection:
    """A file, and the connection to it while there is one."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._sql: sqlite3.Connection | None = None
        self._closer: finalize[[sqlite3.Connection], Connection] | None = None
        self._identity = (0, 0)  # device and inode of what is open
        self._synchronous = ""  # what the pragma was set to last
        self._guard = threading.RLock()
        self._depth = 0
        _forking.watch(self)

    def reading(self) -> _Use:
        """Statements that write nothing."""
        return _Use(self, "")

    def writing(self, *, durably: bool = False) -> _Use:
        """One transaction; ``durably`` waits for the disk before it is told as done."""
        mode = "FULL" if durably and self.location.is_durable else "NORMAL"
        return _Use(self, mode)

    def close(self) -> None:
        """End the connection; the next use opens another."""
        with self._guard:
            self._close()

    # - Used by the transaction

    def begin(self, mode: str) -> sqlite3.Connection:
        """Take the connection, and the file's write lock unless only reading."""
        self._guard.acquire()
        try:
            if self._sql is not None and not mode and not self._is_file_there():
                self._close()
            sql = self._sql or self._open()
            if mode:
                self._begin_write(sql, mode)
            self._depth += 1
        except sqlite3.Error as error:
            explained = self.explained(error)
            self._guard.release()
            raise explained from error
        except BaseException:
            self._guard.release()
            raise
        return sql

    def _begin_write(self, sql: sqlite3.Connection, mode: str) -> None:
        if sql.in_transaction:
            # A signal handler raised between two lines of ours.
            sql.execute("ROLLBACK")
        if mode != self._synchronous:
            sql.execute(f"PRAGMA synchronous = {mode}")
            self._synchronous = mode
        sql.execute("BEGIN IMMEDIATE")

    def end(self, mode: str, error: BaseException | None) -> None:
        """Commit, or roll back and explain what went wrong."""
        try:
            if mode and self._sql is not None:
                self._commit(self._sql, error)
            # A statement that is wrong in itself is a bug of ours, and looks like one.
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(
                error, sqlite3.ProgrammingError
            ):
                raise self.explained(error) from error
        except sqlite3.Error as failure:
            raise self.explained(failure) from failure
        finally:
            self._depth -= 1
            self._guard.release()

    def _commit(self, sql: sqlite3.Connection, error: BaseException | None) -> None:
        if error is None and self._is_file_there():
            try:
                sql.execute("COMMIT")
            except sqlite3.Error as failure:
                self._give_up(sql, failure)
                raise
            except BaseException:
                self._roll_back(sql)
                raise
            return
        self._roll_back(sql)
        if error is None:
            self._close()
            raise OperationalError(
                f"{self.location.path} was removed or replaced while it was in use, and nothing "
                f"was written; what it held is gone. The next attempt uses what is there then"
            )

    def _give_up(self, sql: sqlite3.Connection, failure: sqlite3.Error) -> None:
        """A commit that failed: usually it did not happen, and can be tried again."""
        is_undone = sql.in_transaction or _name_of(failure).startswith("SQLITE_FULL")
        self._roll_back(sql)
        if not is_undone:
            # The disk failed in the middle: sending it again might send it twice.
            raise PublishOutcomeUnknown(
                f"{self.explained(failure)}; it is not known whether the last transaction is there"
            ) from failure

    def _roll_back(self, sql: sqlite3.Connection) -> None:
        # Some errors (a full disk) have rolled back already.
        if sql.in_transaction:
            try:
                sql.execute("ROLLBACK")
            except sqlite3.Error:
                self._close()

    def _is_file_there(self) -> bool:
        try:
            found = os.stat(self.location.path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    # - Opening and closing

    def _open(self) -> sqlite3.Connection:
        path = self.location.path
        folder = os.path.dirname(path)
        if not os.path.isdir(folder):
            raise OperationalError(f"the folder {folder} of {self.location.url} does not exist")
        sql = sqlite3.connect(
            path,
            timeout=self.location.busy_timeout_s,
            isolation_level=None,
            # Used by one thread at a time; but a fork closes it from the thread that forks.
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            _prepare(sql, path, monotonic_s() + self.location.busy_timeout_s)
            found = os.stat(path)
        except BaseException:
            sql.close()
            raise
        self._identity = (found.st_dev, found.st_ino)
        self._synchronous = ""
        self._sql = sql
        # An app that nobody closed goes as a cycle, in which Python 3.13 warns of an open database
        # before anything of ours could close it. What the closer holds is no part of the cycle.
        self._closer = finalize(self, _close_quietly, sql)
        # A thread may be in the middle of something at exit; the system closes the file.
        self._closer.atexit = False
        return sql

    def _close(self) -> None:
        self._sql = None
        if self._closer is not None:
            self._closer()
            self._closer = None

    def explained(self, error: sqlite3.Error) -> OperationalError:
        """The error in our words; a connection that can't be trusted any more is closed."""
        name = _name_of(error)
        for begin, text in _MEANINGS.items():
            if name.startswith(begin):
                if begin not in ("SQLITE_BUSY", "SQLITE_FULL"):
                    self._close()
                return OperationalError(
                    f"{self.location.url}: {text.format(busy_s=self.location.busy_timeout_s)} "
                    f"(SQLite says: {error})"
                )
        return OperationalError(f"{self.location.url}: SQLite says: {error}")

    # - Around a fork

    def close_for_fork(self) -> bool:
        """Close and hold; False where a running transaction did not end in time."""
        if not self._guard.acquire(timeout=_FORK_PATIENCE_S):
            return False
        if self._depth == 0:
            self._close()
        return True

    def resume_after_fork(self) -> None:
        """Let others use it again."""
        self._guard.release()

    def abandon_after_fork(self) -> None:
        """In the child: another thread of the parent was in the middle of something."""
        self._guard = threading.RLock()
        self._depth = 0
        if self._sql is not None:
            _abandoned.append(self._sql)
            self._sql = None
        if self._closer is not None:
            self._closer.detach()
            self._closer = None


_MEANINGS = {
    "SQLITE_BUSY": "another process has kept the file locked for {busy_s:g} s",
    "SQLITE_LOCKED": "another process has kept the file locked for {busy_s:g} s",
    "SQLITE_FULL": "the disk is full; nothing was written",
    "SQLITE_CORRUPT": "the file is damaged; restore it from a backup, or move it away",
    "SQLITE_NOTADB": "the file is no SQLite database; wanted one of umbel, or none",
    "SQLITE_READONLY": "the file, or its folder, may not be written to",
    "SQLITE_CANTOPEN": "the file can't be opened; its folder must exist and be writable",
    "SQLITE_PERM": "the file may not be opened",
    "SQLITE_IOERR": "the disk reports an error, or the file was removed while it was in use",
}

# Connections that a fork could not close: never closed, never used.
_abandoned: list[sqlite3.Connection] = []


class _Use:
    """One use of a connection, as a context manager. Faster than ``contextlib`` by 1 us."""

    __slots__ = ("_connection", "_mode")

    def __init__(self, connection: Connection, mode: str) -> None:
        self._connection = connection
        self._mode = mode

    def __enter__(self) -> sqlite3.Connection:
        return self._connection.begin(self._mode)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.end(self._mode, error)


def _close_quietly(sql: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):
        sql.close()


def _name_of(error: sqlite3.Error) -> str:
    # Errors of the module itself have none.
    return getattr(error, "sqlite_errorname", "") or ""


def _prepare(sql: sqlite3.Connection, path: str, deadline: float) -> None:
    """Set up a connection, and the tables where the file is new."""
    _to_wal(sql, deadline)
    sql.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    sql.execute("PRAGMA temp_store = MEMORY")
    # One snapshot: another process may be making the tables between two of these looks.
    sql.execute("BEGIN")
    try:
        is_ready = _version(sql, path) == SCHEMA_VERSION
    finally:
        sql.execute("ROLLBACK")
    if is_ready:
        return
    sql.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been faster.
        version = _version(sql, path)
        if version == 0:
            for statement in SCHEMA:
                sql.execute(statement)
            sql.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        else:
            for layout in range(version, SCHEMA_VERSION):
                for statement in UPGRADES[layout]:
                    sql.execute(statement)
        sql.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    except BaseException:
        sql.execute("ROLLBACK")
        raise
    sql.execute("COMMIT")


def _version(sql: sqlite3.Connection, path: str) -> int:
    (mark,) = sql.execute("PRAGMA application_id").fetchone()
    (version,) = sql.execute("PRAGMA user_version").fetchone()
    if mark != APPLICATION_ID and sql.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        raise ImproperlyConfigured(
            f"{path} is the database of another program; give umbel a file of its own"
        )
    if version > SCHEMA_VERSION:
        raise ImproperlyConfigured(
            f"{path} was written by a newer umbel (layout {version}, this one knows "
            f"{SCHEMA_VERSION}); upgrade this program"
        )
    return int(version)


def _to_wal(sql: sqlite3.Connection, deadline: float) -> None:
    # Two processes that meet a new file: SQLite does not wait here, so we do.
    while True:
        try:
            sql.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic_s() > deadline:
                raise
        threading.Event().wait(0.01)


class _Forking:
    """Closes what is open before a fork."""

    def __init__(self) -> None:
        self._connections: WeakSet[Connection] = WeakSet()
        # Held over the fork, so that the child does not inherit it from another thread.
        self._lock = threading.Lock()
        self._held: list[Connection] = []
        self._missed: list[Connection] = []
        self._is_registered = False

    def watch(self, connection: Connection) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._is_registered or not hasattr(os, "register_at_fork"):  # not on Windows
                return
            self._is_registered = True
        os.register_at_fork(
            before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
        )

    def _before(self) -> None:
        self._lock.acquire()
        for connection in list(self._connections):
            (self._held if connection.close_for_fork() else self._missed).append(connection)

    def _in_parent(self) -> None:
        self._missed.clear()
        while self._held:
            self._held.pop().resume_after_fork()
        self._lock.release()

    def _in_child(self) -> None:
        for connection in self._missed:
            connection.abandon_after_fork()
        self._in_parent()


_forking = _Forking()
