"""One message as memory keeps it: what was published, and what became of it since."""

from __future__ import annotations

from umbel.model.lease import Lease
from umbel.model.message import Message


class Entry:
    """A message and its history. It stands in exactly one collection of its ``House``."""

    __slots__ = (
        "begun",
        "deliveries",
        "history",
        "is_of_lane",
        "losses",
        "message",
        "place",
        "queue",
        "redelivered",
        "step",
        "tries",
        "verdict",
    )

    def __init__(self, message: Message, queue: str, step: int, place: int) -> None:
        self.message = message
        self.queue = queue
        self.step = step
        # Its order among all messages. What goes to the far end of its queue gets a new place; what
        # comes back to the near end keeps its own.
        self.place = place
        # Whether a lease goes back to the lane (lost, judged, the claim of a join) or to the queue.
        self.is_of_lane = False
        self.deliveries = 0
        self.losses = 0  # with a whole worker; then it is a suspect
        self.redelivered = False
        self.begun = False  # must not begin again
        self.verdict: bytes | None = None
        self.tries = 0  # processes that died with it after it was judged
        self.history = ""

    def __lt__(self, other: Entry) -> bool:
        return self.place < other.place

    @property
    def is_lost(self) -> bool:
        """In the lane: to be run by anybody, with others."""
        return self.verdict is None and not self.begun and self.losses == 0

    @property
    def is_suspect(self) -> bool:
        """In the lane: to be run alone."""
        return self.verdict is None and not self.begun and self.losses > 0

    @property
    def is_suspect_twice(self) -> bool:
        """To be run where no other such message runs in the worker."""
        return self.verdict is None and self.losses > 1

    def leased(self, token: int) -> Lease:
        """What its holder is given."""
        return Lease(
            token,
            self.queue,
            self.message.raw,
            self.deliveries,
            self.redelivered,
            self.verdict,
            self.tries,
            self.history,
        )
