"""How one attempt at a task ended: a closed union, matched once and exhaustively."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from umbel.model.call import Call
from umbel.model.join import JoinGrowth, JoinOpening


class Succeeded(NamedTuple):
    """The function returned."""

    value: Any


class Failed(NamedTuple):
    """The function raised, or the attempt was ended from outside (then ``internal``)."""

    error: BaseException
    traceback: str
    internal: bool = False


class Retried(NamedTuple):
    """The task is to run again: ``call`` has the same id."""

    call: Call
    error: BaseException | None
    traceback: str
    message: str  # the text of the Retry, for the log


class Replaced(NamedTuple):
    """The task put something else in its place; nothing is stored for it."""

    sends: Sequence[Call | JoinOpening]


class Rejected(NamedTuple):
    """``Reject`` was raised."""

    reason: Any
    requeue: bool


class Ignored(NamedTuple):
    """``Ignore`` was raised: no state is stored."""


class Revoked(NamedTuple):
    """It did not run, or was ended: ``expired``, ``revoked`` or ``terminated``."""

    reason: str
    signal_name: str | None = None


Outcome = Succeeded | Failed | Retried | Replaced | Rejected | Ignored | Revoked


class Additions(NamedTuple):
    """What a running task has asked for that belongs to its settlement (``add_to_chord``)."""

    sends: tuple[Call | JoinOpening, ...] = ()
    grows: tuple[JoinGrowth, ...] = ()
