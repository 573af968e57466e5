"""Soft time limits in threads: ``SoftTimeLimitExceeded`` raised in the one thread that is meant.

No signal reaches a thread, so the supervisor's signal ends in the child's main thread, which asks
the interpreter to raise in another (``PyThreadState_SetAsyncExc``). Python raises it at that
thread's next line: not inside a call into C (``time.sleep``, a socket, a query), but when that
returns.

That it hits nobody else: a lane is *armed* while its task runs, at most one exception is sent while
it is, and disarming takes back what has not been raised yet; all under one lock, so that the task
that is found to be late is the one that is interrupted.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TypeVar

from umbel.model.errors import SoftTimeLimitExceeded

Found = TypeVar("Found")


class Interrupter:
    """Raises in the threads of one pool."""

    def __init__(self, is_late: Callable[[int], bool]) -> None:
        # Whether what a lane runs has outrun its soft limit.
        self._is_late = is_late
        self._lock = threading.Lock()
        self._armed: dict[int, int] = {}  # lane -> thread
        self._sent: set[int] = set()  # lanes

    def run(self, lane: int, step: Callable[[], Found]) -> Found:
        """Do ``step`` so that it can be interrupted.

        Raises ``SoftTimeLimitExceeded`` at most once, in the step or, where it came too late for
        that, as its last act; never after it has returned.
        """
        with self._lock:
            self._sent.discard(lane)
            self._armed[lane] = threading.get_ident()
        try:
            return step()
        finally:
            with self._lock:
                self._armed.pop(lane, None)
                if lane in self._sent:
                    _raise_in(threading.get_ident(), None)

    def interrupt_late(self) -> None:
        """Raise in each thread whose task is late, once; from the main thread's signal handler."""
        with self._lock:
            for lane in [lane for lane in self._armed if self._is_late(lane)]:
                _raise_in(self._armed.pop(lane), SoftTimeLimitExceeded)
                self._sent.add(lane)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Let a thread raise at its next line; None takes back what it has not raised yet."""
    what = None if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)
