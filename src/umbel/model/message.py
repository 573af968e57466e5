"""A call as it stands on the wire, and the few facts that an engine needs to carry it.

``raw`` is the whole envelope, as bytes that no engine looks into. The other fields repeat what an
engine must know to put it in the right place.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Body(NamedTuple):
    """A body as it was put together, for who leases what it has sent itself: nothing to decode."""

    args: str  # JSON
    kwargs: str
    chain: Any  # as in Call; nothing else is embedded
    length: int  # of its text in the envelope


class Message(NamedTuple):
    """What is published."""

    id: str
    task: str
    queue: str
    priority: int  # 0..9, the sender's number; the engine knows which end is urgent
    tag: str  # delivery tag, unique per publish
    raw: bytes  # the envelope
    due: float | None = None  # unix seconds before which it must not run
    # Set only for an exchange that the sender can't resolve to a queue itself (``queue`` is "").
    exchange: str = ""
    routing_key: str = ""
    body: Body | None = None
    # The exchange is a fanout: said to the workers that listen, and stored nowhere.
    is_fanout: bool = False
