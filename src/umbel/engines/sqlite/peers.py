"""The folder ``<file>-peers`` beside a database: where processes that use it find each other.

It holds nothing that must survive: one lock file per worker (``liveness.py``), and a board with one
socket per waiter (``wakeup.py``). It may be deleted while nobody uses the database; deleted while
somebody does, workers are judged by the time of their leases alone and waiters wake by their slow
poll, until they make it anew.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from urllib.parse import quote

# ``sun_path`` holds 104 bytes on macOS and 108 on Linux, with a final zero.
_LONGEST_SOCKET_PATH = 100
_LONGEST_NAME = 100


def folder_of(database: str) -> str:
    """The folder of a database, made where there is none."""
    folder = f"{database}-peers"
    try:
        os.mkdir(folder)
    except FileExistsError:
        return folder
    # Whoever may write to the database may meet its other users.
    os.chmod(folder, os.stat(os.path.dirname(folder)).st_mode & 0o1777)
    return folder


def file_name(worker: str) -> str:
    """A worker's name as the name of a file."""
    name = quote(worker, safe="@")
    if len(name) > _LONGEST_NAME:
        name = name[:60] + "-" + hashlib.sha256(worker.encode()).hexdigest()[:32]
    return name


def socket_path(folder: str, name: str) -> str:
    """A path for a socket that fits into an address; the same in every process."""
    path = os.path.join(folder, name)
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:20]
    short = os.path.join(tempfile.gettempdir(), f"umbel-{digest}")
    if not os.path.isdir(short):
        os.makedirs(short, exist_ok=True)
    return os.path.join(short, name)
