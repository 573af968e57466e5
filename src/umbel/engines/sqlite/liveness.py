"""Who lives: each process of a worker holds a shared lock on the file of its worker.

Theory of operation. ``flock`` belongs to an open file, which forks share, and the kernel drops it
when the last copy is gone: no heartbeat has to be missed before a killed worker is known to be
dead. A sweep tries an exclusive lock on the file of another worker. It gets it: nobody holds it,
the worker is dead, and its consumers are given up at once. It does not: somebody lives, and the
time of the lease decides (a frozen worker holds its lock). No file: nothing is known.

A lock is taken before the consumer is enlisted, so a row without a lock is a dead worker's. Whoever
deletes a file holds it exclusively; whoever has locked a file checks that it still has its name.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Collection, Iterable
from contextlib import suppress

from umbel.engines.sqlite.peers import file_name, folder_of

logger = logging.getLogger(__name__)

_SUFFIX = ".lock"


class Liveness:
    """The locks of one connection."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._held: dict[str, int] = {}
        # Descriptors of a process that forked: kept open, because the lock is this child's too.
        self._inherited: list[int] = []
        self._pid = os.getpid()

    def hold(self, worker: str) -> None:
        """Show that a process of this worker lives, until ``close`` or the end of the process."""
        self._notice_fork()
        if worker in self._held:
            return
        try:
            self._held[worker] = _locked(self._path(worker))
        except OSError as error:
            # Leases still pass by time; only slower.
            logger.warning(
                "no lock can be held beside %s (%s): if this worker is killed, that is noticed "
                "only when its lease has passed",
                self._database,
                error,
            )
            self._held[worker] = -1

    def dead(self, workers: Iterable[str]) -> dict[str, int]:
        """Those that are dead for certain, with the descriptor that holds their file: see bury."""
        self._notice_fork()
        found: dict[str, int] = {}
        for worker in workers:
            if worker in self._held:
                continue
            descriptor = _exclusive(self._path(worker))
            if descriptor is not None:
                found[worker] = descriptor
        return found

    def bury(self, dead: dict[str, int], *, is_done: bool) -> None:
        """Let go of dead workers' files, and delete them when their consumers are given up."""
        for worker, descriptor in dead.items():
            if is_done:
                with suppress(OSError):
                    os.unlink(self._path(worker))
            os.close(descriptor)

    def tidy(self, enlisted: Collection[str]) -> None:
        """Delete the files of workers that are gone and have left no consumer behind."""
        kept = {file_name(worker) + _SUFFIX for worker in (*enlisted, *self._held)}
        for path in _files(self._database):
            if os.path.basename(path) not in kept:
                descriptor = _exclusive(path)
                if descriptor is not None:
                    with suppress(OSError):
                        os.unlink(path)
                    os.close(descriptor)

    def close(self) -> None:
        """Let go of all locks. The files stay: an unlocked one tells that its worker is dead."""
        for descriptor in self._held.values():
            if descriptor >= 0:
                os.close(descriptor)
        self._held.clear()

    def _path(self, worker: str) -> str:
        return os.path.join(folder_of(self._database), file_name(worker) + _SUFFIX)

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._inherited += self._held.values()
            self._held = {}


def _files(database: str) -> list[str]:
    folder = f"{database}-peers"
    try:
        return [os.path.join(folder, name) for name in os.listdir(folder) if _SUFFIX in name]
    except OSError:
        return []


def _locked(path: str) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # Waits only for a sweep that is looking at this moment.
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        try:
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                return descriptor
        except FileNotFoundError:
            # Deleted by a sweep in between: nobody would look for a lock on it.
            pass
        os.close(descriptor)


def _exclusive(path: str) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
