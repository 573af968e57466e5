"""Signals of the supervisor: noted by the interpreter as bytes in a pipe, acted on by its loop."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from types import FrameType


def _note(number: int, frame: FrameType | None) -> None:
    """The byte in the pipe is all that is wanted."""


class Alarms:
    """Turns signals into something to ``poll`` for."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _note) for number in numbers}

    def fileno(self) -> int:
        """For ``poll``."""
        return self._reading

    def rung(self) -> list[int]:
        """The signals since the last call, in order."""
        try:
            return list(os.read(self._reading, 65536))
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Put the handlers back that were there before."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reading)
        os.close(self._writing)

    def forget_in_fork(self) -> None:
        """In a forked process: its signals are not ours."""
        signal.set_wakeup_fd(-1)
        for number in self._before:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._reading)
        os.close(self._writing)
