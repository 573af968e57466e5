"""How a sleeper of this process is woken when something in its house changes: a pipe."""

from __future__ import annotations

import os
import select
from contextlib import suppress

from umbel.engines.memory.house import House


class Bell:
    """A pipe that is written to when something changes, while somebody listens."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._pipe: tuple[int, int] | None = None
        self._pid = 0

    def __enter__(self) -> None:
        if self._pipe is None or self._pid != os.getpid():
            # A pipe that a parent process listens to is the parent's.
            self._pipe = os.pipe()
            self._pid = os.getpid()
            for end in self._pipe:
                os.set_blocking(end, False)
        self._house.listeners.add(self.ring)

    def __exit__(self, *_error: object) -> None:
        self._house.listeners.discard(self.ring)

    def ring(self) -> None:
        """Wake who sleeps."""
        if self._pipe is not None and self._pid == os.getpid():
            with suppress(BlockingIOError, OSError):
                os.write(self._pipe[1], b"r")

    def sleep(self, seconds: float, wake_fd: int | None) -> bool:
        """Sleep; True where ``wake_fd`` became readable."""
        assert self._pipe is not None
        poll = select.poll()
        poll.register(self._pipe[0], select.POLLIN)
        if wake_fd is not None:
            poll.register(wake_fd, select.POLLIN)
        # Rounded up: a poll that ends a fraction of a millisecond early would spin.
        ready = {descriptor for descriptor, _ in poll.poll(max(0, int(seconds * 1000) + 1))}
        if self._pipe[0] in ready:
            with suppress(BlockingIOError):
                os.read(self._pipe[0], 65536)
        return wake_fd in ready

    def close(self) -> None:
        """Close the pipe."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            for end in pipe:
                os.close(end)
