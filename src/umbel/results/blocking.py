"""The guard against waiting for a task inside of a task.

A pool whose every process waits for a task that only the pool could run stands still for ever, so
``get`` refuses inside of a task that a worker runs. ``allow_join_result`` lifts that for a block of
code whose author knows that somebody else runs the other task. The state lives in a context
variable: it follows threads and coroutines, as the running request does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from umbel.model.request import running

# None: whether a wait is refused depends on where it happens.
_decided: ContextVar[bool | None] = ContextVar("umbel_join_will_block", default=None)

_REFUSAL = """\
Never call result.get() within a task!
See https://docs.celeryq.dev/en/latest/userguide/tasks.html\
#avoid-launching-synchronous-subtasks
"""


def task_join_will_block() -> bool:
    """True inside of a task that a worker runs, unless ``allow_join_result`` says otherwise."""
    decided = _decided.get()
    if decided is not None:
        return decided
    stack = running.get()
    return any(not request.called_directly and not request.is_eager for request in stack)


def assert_will_not_block() -> None:
    """Raise ``RuntimeError`` where a wait could stop the pool for ever."""
    if task_join_will_block():
        raise RuntimeError(_REFUSAL)


@contextmanager
def _deciding(will_block: bool) -> Iterator[None]:
    token = _decided.set(will_block)
    try:
        yield
    finally:
        _decided.reset(token)


@contextmanager
def allow_join_result() -> Iterator[None]:
    """Let ``get`` be called inside of a task for the length of a ``with`` block."""
    with _deciding(False):
        yield


@contextmanager
def denied_join_result() -> Iterator[None]:
    """Refuse ``get`` for the length of a ``with`` block."""
    with _deciding(True):
        yield
