"""The right to run one message, for one consumer, until that consumer is given up.

A consumer is one process that runs tasks; its name is ``<worker>.<slot>.<epoch>``. The token is
unique within the consumer and grows with each lease. Every effect of a lease is guarded by
(consumer, token): once a sweep has given the consumer up, nothing that it settles counts.
"""

from __future__ import annotations

from typing import NamedTuple

from umbel.model.message import Body


class Lease(NamedTuple):
    """One message, claimed."""

    token: int
    queue: str
    raw: bytes
    deliveries: int = 0  # earlier runs that ended with the death of their process, counted
    redelivered: bool = False  # it was leased before, counted or not
    verdict: bytes | None = None  # an outcome that somebody else decided: settle it, do not run it
    tries: int = 0  # processes that died with it after it was judged
    history: str = ""  # its deaths: see ``model/history``
    body: Body | None = None  # of a message that this process has just sent


class Loss(NamedTuple):
    """What ran in a process that died, as its supervisor saw it."""

    token: int
    # What is to become of it: a verdict is carried out by the next child that claims; None counts
    # a delivery and lets it run again (or, after the last one, the broker's poison verdict).
    verdict: bytes | None = None
    counted: bool = True  # False: the stop was our own, nothing is held against the task
    how: str = ""  # how the process died, in a few words; they go into the message's history
