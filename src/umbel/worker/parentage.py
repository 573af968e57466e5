"""Who is whose parent, and what becomes of a process when its parent is gone.

On Linux the supervisor is a *subreaper*: an orphaned descendant becomes its child, so it sees every
death within a millisecond, and it reaps what tasks leave behind, also where it is not process 1.
Each process of the worker asks the kernel to be killed when its parent dies (PDEATHSIG): a
SIGKILL of the supervisor ends nursery and children at once, and nobody runs on unwatched.

Elsewhere (macOS) there is neither: the nursery stays the parent of the children and reports their
deaths, and a child watches a pipe whose other end only the supervisor holds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from functools import cache
from typing import Any

from umbel.model.clock import monotonic_s

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# Reparenting takes microseconds once the parent has exited; a machine under load takes longer.
_REPARENTING_LIMIT_S = 10.0


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    none = ctypes.c_ulong(0)
    return bool(_libc().prctl(option, ctypes.c_ulong(argument), none, none, none) == 0)


def become_subreaper() -> bool:
    """Make this process the parent of its orphaned descendants; False where that can't be had."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> bool:
    """Let the kernel kill this process when ``parent`` dies; False where that can't be had.

    Ends this process at once where the parent is gone already.
    """
    asked = _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    return asked


def await_adoption(middle: int, supervisor: int) -> None:
    """Return when the exit of ``middle`` has made ``supervisor`` the parent of this process.

    Ends this process where it fell to somebody else: then the supervisor is dead.
    """
    deadline = monotonic_s() + _REPARENTING_LIMIT_S
    pause = threading.Event()
    while os.getppid() == middle and monotonic_s() < deadline:
        pause.wait(0.0002)
    if os.getppid() != supervisor:
        os._exit(1)


def die_with_pipe(lifeline: int) -> None:
    """End this process when the other end of the pipe is closed: where the kernel can't do it."""

    def watch() -> None:
        while os.read(lifeline, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="umbel-lifeline", daemon=True).start()
