"""``--reload``: when a file of the app changes, the app is imported anew and children are replaced.

The nursery tells which files it has imported that are the user's own; a process beside the worker
watches them (``watching.py``) and writes a line for each change. Children finish what they run; a
new app that can't be imported leaves the old children at work until the next change.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import select
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from contextlib import suppress

from umbel.model.errors import ImproperlyConfigured

logger = logging.getLogger(__name__)

_OWN_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def check() -> None:
    """Raise ``ImproperlyConfigured`` where ``--reload`` can't work."""
    if importlib.util.find_spec("watchfiles") is None:
        raise ImproperlyConfigured(
            "--reload needs the package watchfiles: pip install 'umbel[reload]'"
        )


def own_files() -> tuple[tuple[str, int], ...]:
    """The files of the modules that this process has imported, not Python's, packages' or ours.

    Each with the time of its last change (ns), so that a change before it is watched is not missed.
    """
    schemes = ("stdlib", "platstdlib", "purelib", "platlib")
    others = [_OWN_FOLDER, *(sysconfig.get_paths()[scheme] for scheme in schemes)]
    found: dict[str, int] = {}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.endswith(".py"):
            path = os.path.abspath(path)
            if not any(path.startswith(other + os.sep) for other in others):
                with suppress(OSError):
                    found[path] = os.stat(path).st_mtime_ns
    return tuple(sorted(found.items()))


class Reloader:
    """Keeps a watching process. Stopping twice is legal."""

    def __init__(self, poll: select.poll, on_change: Callable[[], None]) -> None:
        self._poll = poll
        self._on_change = on_change
        self._files: tuple[str, ...] = ()
        self._pid = 0
        self._fd = -1

    def watch(self, files: Sequence[tuple[str, int]]) -> None:
        """Watch these from now on; as ``own_files`` gives them."""
        paths = tuple([path for path, _ in files])
        if paths == self._files and self._pid:
            return
        self.close()
        self._files = paths
        if not files:
            logger.warning("--reload: no module of the app is a file; nothing is watched")
            return
        command = [sys.executable, "-m", "umbel.worker.watching", str(os.getpid())]
        command += [f"{changed_ns}:{path}" for path, changed_ns in files]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        # The supervisor reaps all its children itself.
        process.returncode = 0
        self._pid = process.pid
        self._fd = os.dup(process.stdout.fileno())
        process.stdout.close()
        os.set_blocking(self._fd, False)
        self._poll.register(self._fd, select.POLLIN)
        logger.info("Watching %d files of the app for changes.", len(files))

    def is_readable(self, fd: int) -> bool:
        """``poll`` has named a descriptor; True if it is ours."""
        if fd != self._fd:
            return False
        try:
            told = os.read(self._fd, 65536)
        except BlockingIOError:
            return True
        if not told:
            logger.error("The process that watches the app's files has ended; nothing is reloaded")
            self.close()
            return True
        names = told.decode(errors="replace").split("\n", 1)[0]
        logger.info("%s changed: the app is imported anew.", names, extra={"event": "reload"})
        self._on_change()
        return True

    def close_in_fork(self) -> None:
        """In a forked process: the watcher is the supervisor's."""
        if self._fd >= 0:
            os.close(self._fd)

    def close(self) -> None:
        """End the watching process."""
        if self._fd >= 0:
            self._poll.unregister(self._fd)
            os.close(self._fd)
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)
        self._fd, self._pid, self._files = -1, 0, ()
