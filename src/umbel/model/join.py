"""Joins: the count of a chord's members, which lets its body run once.

A join is opened with its size, grown by ``add_to_chord``, counted by each member's settlement, and
claimed, in the step that counts the last part, as a lease: its message is what ``JoinPart.claim``
gives. The holder of that lease reads the parts, sends the body and closes the join in one second
fenced step. A crash between the two leaves a lease, which recovery finds.

Counting is idempotent: a part is known by ``(task_id, position)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from umbel.model.message import Message

# The task name in the message of a join lease. Never called by users.
JOIN_TASK = "umbel.join"


class JoinOpening(NamedTuple):
    """How many parts complete the join. May come after the first parts, before the last message."""

    group_id: str
    size: int


class JoinPart(NamedTuple):
    """One member has ended."""

    group_id: str
    task_id: str
    position: int | None  # its place among the parts; None sorts last
    part: bytes  # [1, task_id, state, result], encoded by the result serializer
    # Makes what the last part's holder is to do, which becomes a lease. Asked of few: a chord of a
    # thousand needs one.
    claim: Callable[[], Message]


class JoinGrowth(NamedTuple):
    """A member added others (``add_to_chord``)."""

    group_id: str
    by: int


class JoinClosing(NamedTuple):
    """The body was sent, or failed: nobody is to claim the join again."""

    group_id: str
    failed: bool
