"""Where a ``sqlite://`` or ``memory://`` URL points: the file, its run folder, its bell, its clock.

``sqlite:///relative.db`` is relative to the working directory, ``sqlite:////absolute.db`` is not
(SQLAlchemy's reading, which Celery's users know). ``?synchronous=normal`` lets publishes return
before the disk has them: a power cut may then lose the last accepted tasks. ``memory://name`` is
shared by all connections of this process; ``memory://`` is ``memory://default``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from umbel.engines.sqlite.database import Database
from umbel.engines.sqlite.doorbell import Bell, Doorbell, HouseBell
from umbel.engines.sqlite.liveness import Deadlines, Liveness, Locks
from umbel.model.clock import unix_s
from umbel.model.errors import ImproperlyConfigured

# Where a lock of one machine is not seen by the others (statfs types of `man 2 statfs`).
_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "glusterfs", "fuse.sshfs", "afs"}


class Place(NamedTuple):
    """One database and all that belongs to it."""

    url: str
    database: Database
    bell: Bell
    liveness: Liveness
    now: Callable[[], float]
    is_volatile: bool


_memories: dict[str, Place] = {}
_lock = threading.Lock()


def place_of(url: str) -> Place:
    """Open the place of a URL; files get a connection of their own each time."""
    if url.startswith("memory:"):
        return memory_place(url)
    path, options = path_of(url)
    relaxed = options.pop("synchronous", "full").lower()
    if options or relaxed not in ("full", "normal"):
        raise ImproperlyConfigured(
            f"{url}: the only option of sqlite is synchronous=full or synchronous=normal"
        )
    kind = _filesystem_of(path)
    if kind in _NETWORK:
        raise ImproperlyConfigured(
            f"{path} is on a network file system ({kind}), where SQLite's locks can't be trusted; "
            "use a local disk, or redis:// to share a queue between machines"
        )
    run_folder = Path(f"{path}-run")
    database = Database(str(path), f"SQLite file {path}", is_relaxed=relaxed == "normal")
    return Place(
        f"sqlite:///{path}", database, Doorbell(run_folder), Locks(run_folder), unix_s, False
    )


def memory_place(url: str, now: Callable[[], float] = unix_s) -> Place:
    """The database of this name in this process's memory; ``now`` counts for the first opening."""
    name = urlsplit(url).netloc or "default"
    with _lock:
        if name not in _memories:
            database = Database(None, f"memory://{name}", is_volatile=True)
            _memories[name] = Place(
                f"memory://{name}", database, HouseBell(), Deadlines(), now, True
            )
        return _memories[name]


def path_of(url: str) -> tuple[Path, dict[str, str]]:
    """The absolute path and the options of a ``sqlite:`` URL."""
    parts = urlsplit(url)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if parts.netloc:
        raise ImproperlyConfigured(
            f"{url}: a file needs three slashes (sqlite:///queue.db, relative) or four "
            "(sqlite:////var/lib/queue.db, absolute)"
        )
    text = unquote(parts.path)[1:]
    if not text or text == ":memory:":
        raise ImproperlyConfigured(
            f"{url} names no file; for a queue in the memory of one process use memory://"
        )
    return Path(os.path.abspath(text)), options


def _filesystem_of(path: Path) -> str:
    """The type of the file system by the longest mount point; "" where that can't be told."""
    best, kind = "", ""
    try:
        with open("/proc/self/mounts") as mounts:
            for line in mounts:
                fields = line.split()
                point = fields[1].encode().decode("unicode_escape")
                inside = point == "/" or str(path) == point or str(path).startswith(point + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, fields[2]
    except OSError:
        return ""
    return kind
