"""What becomes of a lease, all of it, as one atomic and fenced step.

Made by the worker from an Outcome, used up by a broker's ``cycle``. Everything in it is finished
bytes: the engine stores and pushes, it never composes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening, JoinPart
from umbel.model.message import Message
from umbel.model.record import Document


class Fate(IntEnum):
    """What becomes of the message itself."""

    DONE = 0  # it is gone
    REQUEUE = 1  # to the far end of its queue, served last (Reject(requeue=True))
    PARK = 2  # into the due set, until ``due``
    DEAD = 3  # to the dead letters, with ``cause``
    RETURN = 4  # to the consuming end, served next, uncounted (not begun)
    # Not an end: it stays leased, but is about to begin and must never begin again (at most once,
    # ``acks_late=False``). If its process is lost it gets the verdict ``SweepPolicy.begun``.
    BEGUN = 5


class Settlement(NamedTuple):
    """The end of one lease."""

    token: int
    fate: Fate = Fate.DONE
    documents: tuple[Document, ...] = ()
    messages: tuple[Message, ...] = ()
    opens: tuple[JoinOpening, ...] = ()
    parts: tuple[JoinPart, ...] = ()
    grows: tuple[JoinGrowth, ...] = ()
    closes: tuple[JoinClosing, ...] = ()
    due: float | None = None  # unix seconds; with PARK
    cause: str = ""  # with DEAD: one line, shown by ``umbel dead``
    # "<queue>:<delivery tag>" of a DONE message, where it is known: of two that are the same, the
    # first to end is followed by something. An engine that isn't told finds it out by itself.
    delivery: str = ""
