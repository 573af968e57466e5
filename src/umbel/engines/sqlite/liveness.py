"""Who is alive on one machine, told by the kernel: shared locks on one file per worker.

Each process of a worker (supervisor, children) holds a shared ``flock`` on the worker's file in the
``<database>-run`` folder. A sweep that gets the exclusive lock knows that all of them are gone: the
kernel frees a lock when its last holder ends, however it ends. So a busy or frozen worker is never
taken for a dead one, and a dead one is seen at the next sweep, not after a lease.

https://man7.org/linux/man-pages/man2/flock.2.html
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol
from urllib.parse import quote


class Liveness(Protocol):
    """Tells whether workers live."""

    # False: deadlines decide, and somebody must renew them.
    is_by_lock: bool

    def arrive(self, worker: str) -> None: ...

    def leave(self, worker: str) -> None: ...

    def is_dead(self, worker: str, deadline: float, now: float) -> bool: ...


class Deadlines:
    """By the deadline alone: for the engine in memory."""

    is_by_lock = False

    def arrive(self, worker: str) -> None:
        """Nothing to hold."""

    def leave(self, worker: str) -> None:
        """Nothing to let go."""

    def is_dead(self, worker: str, deadline: float, now: float) -> bool:
        """Whether the lease has passed."""
        return deadline < now


# Locks that this process holds, by file. One each, whatever connections there are: a second open
# file description of the same process would be another holder. Inherited ones stay held too.
_held: dict[tuple[int, str], int] = {}


class Locks:
    """By shared locks beside the file."""

    is_by_lock = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arrive(self, worker: str) -> None:
        """Hold the worker's lock until this process ends."""
        path = str(self._path(worker))
        if (os.getpid(), path) in _held:
            return
        self._folder.mkdir(exist_ok=True)
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
            fcntl.flock(fd, fcntl.LOCK_SH)
            try:
                # A sweep may have removed the file between the two lines above.
                if os.stat(path).st_ino == os.fstat(fd).st_ino:
                    break
            except FileNotFoundError:
                pass
            os.close(fd)
        _held[os.getpid(), path] = fd

    def leave(self, worker: str) -> None:
        """Let the worker's lock go."""
        fd = _held.pop((os.getpid(), str(self._path(worker))), None)
        if fd is not None:
            os.close(fd)

    def is_dead(self, worker: str, deadline: float, now: float) -> bool:
        """Whether no process holds the worker's lock; its file is removed then."""
        path = self._path(worker)
        if (os.getpid(), str(path)) in _held:
            return False
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def _path(self, worker: str) -> Path:
        return self._folder / f"lock.{quote(worker, safe='@')}"


def worker_of(consumer: str) -> str:
    """The worker that a consumer belongs to: its name less the last two dotted parts."""
    return consumer.rsplit(".", 2)[0]
