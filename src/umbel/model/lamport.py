"""A logical clock: it orders what several processes tell, whose clocks on the wall differ.

Each event carries the next number; who hears of an event sets his own clock to no less. Processes
of one worker share the number in a word of memory. They add to it without a lock, so two may use
the same number, which a logical clock allows; that it never goes back within one process, which it
forbids, is held by each process's own memory of it.
Lamport, Time, Clocks and the Ordering of Events in a Distributed System, 1978.
"""

from __future__ import annotations

from collections.abc import MutableSequence

# What a word holds. A foreign event may say anything.
_MOST = 2**62


class LamportClock:
    """Counts events. ``words[at]`` is where other processes see it; alone it has its own."""

    __slots__ = ("_at", "_own", "_words")

    def __init__(self, words: MutableSequence[int] | memoryview[int] | None = None, at: int = 0):
        self._words: MutableSequence[int] | memoryview[int] = [0] if words is None else words
        self._at = at
        self._own = 0

    @property
    def value(self) -> int:
        """The number of the latest event that is known here."""
        return max(self._own, self._words[self._at])

    def forward(self, by: int = 1) -> int:
        """Something happens: its number. Of several things that happen, the last one's."""
        own = self._own
        shared = self._words[self._at]
        self._own = now = (shared if shared > own else own) + by
        self._words[self._at] = now
        return now

    def adjust(self, other: object) -> int:
        """Something is heard of that has the number ``other``; gives the clock's own number.

        What is no number, or none that can be counted from, only moves the clock on.
        """
        if type(other) is int and self.value < other < _MOST:
            self._own = other
        return self.forward()

    def __repr__(self) -> str:
        return f"<LamportClock: {self.value}>"
