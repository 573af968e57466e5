"""From an ``sqlite://`` URL to a file: where it is, and how safe its commits are.

``sqlite:///relative.db`` is relative to the working directory at the time of opening,
``sqlite:////absolute.db`` is absolute, ``sqlite://`` alone is ``umbel.db``. One option,
``?synchronous=normal``, gives up the promise that a published message outlives a power cut (it
outlives every crash of a process either way). Files on network file systems are refused: their
locks do not hold between machines, and WAL needs memory that is shared.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from umbel.model.errors import ImproperlyConfigured
from umbel.ports.engine import EngineOptions

DEFAULT_FILE = "umbel.db"
_MODES = ("full", "normal")
_NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "9p", "afs", "davfs"),
        *("ceph", "glusterfs", "lustre", "gfs2", "ocfs2", "beegfs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "fuse.davfs2"),
    )
)
_MOUNTS = Path("/proc/self/mounts")


class Location(NamedTuple):
    """One file."""

    path: str  # absolute, links resolved, so that two names of one file are one
    is_durable: bool  # a publish waits until the disk has it
    busy_timeout_s: float

    @property
    def url(self) -> str:
        """How it is shown; two connections to one file show the same."""
        return f"sqlite:///{self.path}"


def location_of(url: str, options: EngineOptions) -> Location:
    """What a URL names. Raises ``ImproperlyConfigured`` where that can't be used."""
    rest = url.partition("://")[2]
    name, _, query = rest.partition("?")
    if name and not name.startswith("/"):
        raise ImproperlyConfigured(
            f"{url!r} names a host; an SQLite file is sqlite:///relative.db or "
            f"sqlite:////absolute.db"
        )
    name = unquote(name.removeprefix("/")) or DEFAULT_FILE
    if name == ":memory:":
        raise ImproperlyConfigured(
            f"{url!r} would be another database for each connection; use memory://"
        )
    path = os.path.realpath(name)
    kind = _file_system(os.path.dirname(path))
    if kind in _NETWORK:
        raise ImproperlyConfigured(
            f"{path} is on a network file system ({kind}), where SQLite's locks do not hold; "
            f"use a file on a local disk, or redis://"
        )
    return Location(path, _is_durable(url, query, options.transport), options.reply_timeout_s)


def _is_durable(url: str, query: str, transport: Any) -> bool:
    mode = transport.get("synchronous")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "synchronous":
            raise ImproperlyConfigured(
                f"{url!r} has the option {name!r}; the only one that is known is synchronous"
            )
        mode = value
    if mode is None:
        return True
    if str(mode).lower() not in _MODES:
        raise ImproperlyConfigured(
            f"synchronous is {mode!r}; wanted 'full' (a power cut loses no accepted message) or "
            f"'normal' (it may lose the last ones)"
        )
    return str(mode).lower() == "full"


@lru_cache(maxsize=64)
def _file_system(folder: str) -> str | None:
    """The kind of file system that a folder is on, where the system tells (Linux)."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    deepest, kind = "", None
    for line in lines:
        fields = line.split(" ")
        # Octal escapes stand for blanks and the like.
        point = fields[1].encode().decode("unicode_escape", errors="replace")
        is_above = folder == point or folder.startswith(point.rstrip("/") + "/")
        # A later mount of the same point hides the earlier one.
        if is_above and len(point) >= len(deepest):
            deepest, kind = point, fields[2]
    return kind
