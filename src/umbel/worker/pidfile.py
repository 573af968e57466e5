"""The pid file: one worker per file, unless the one that wrote it is gone.

Written only where ``--pidfile`` asks for it. A file whose process does not exist is stale, and so
is one with our own pid: in a container every worker is process 1.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from umbel.model.errors import ImproperlyConfigured


class PidFile:
    """A pid file, held from ``acquire`` to ``release``."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()

    def acquire(self) -> None:
        """Write our pid. Raises ``ImproperlyConfigured`` where a living process holds the file."""
        holder = self._holder()
        if holder is not None:
            raise ImproperlyConfigured(
                f"pidfile {self._path} belongs to the running process {holder}: "
                "is this worker running already? Give each worker a --pidfile of its own"
            )
        try:
            # Two that start at once both find no holder; the link decides.
            with suppress(FileNotFoundError):
                self._path.unlink()
            with self._path.open("x") as file:
                file.write(f"{os.getpid()}\n")
        except FileExistsError as error:
            raise ImproperlyConfigured(
                f"pidfile {self._path} was just written by another worker"
            ) from error
        except OSError as error:
            raise ImproperlyConfigured(f"pidfile {self._path}: {error.strerror}") from error

    def release(self) -> None:
        """Delete the file if it is ours. Releasing twice is legal."""
        if self._written_pid() == os.getpid():
            with suppress(OSError):
                self._path.unlink()

    def _holder(self) -> int | None:
        pid = self._written_pid()
        if pid is None or pid == os.getpid():
            return None
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return None
        except PermissionError:
            pass
        return pid

    def _written_pid(self) -> int | None:
        try:
            pid = int(self._path.read_text())
        except FileNotFoundError:
            return None
        except ValueError:
            # Half written by a crash: nobody can be found by it.
            return None
        except OSError as error:
            raise ImproperlyConfigured(f"pidfile {self._path}: {error.strerror}") from error
        return pid if pid > 0 else None
