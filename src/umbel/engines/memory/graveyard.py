"""Dead letters of a house: each step under its lock."""

from __future__ import annotations

from umbel.engines.memory.house import House
from umbel.ports.graveyard import DeadLetter, Wanted, fits


class MemoryGraveyard:
    """See ``umbel.ports.graveyard.Graveyard`` for what it promises."""

    def __init__(self, house: House) -> None:
        self._house = house

    def count(self, wanted: Wanted) -> int:
        """How many there are."""
        with self._house.lock:
            return len(self._found(wanted))

    def letters(self, wanted: Wanted, limit: int) -> list[DeadLetter]:
        """The newest first."""
        with self._house.lock:
            return self._found(wanted)[::-1][:limit]

    def show(self, number: int) -> DeadLetter | None:
        """One of them."""
        return next(iter(self.letters(Wanted(numbers=[number]), 1)), None)

    def replay(self, wanted: Wanted) -> int:
        """Put them back."""
        with self._house.lock:
            replayed = sum(self._house.revive(letter.number) for letter in self._found(wanted))
        self._house.tell()
        return replayed

    def purge(self, wanted: Wanted) -> int:
        """Delete them."""
        with self._house.lock:
            found = self._found(wanted)
            for letter in found:
                del self._house.dead[letter.number]
        return len(found)

    def _found(self, wanted: Wanted) -> list[DeadLetter]:
        """What fits, the oldest first."""
        letters = [
            DeadLetter(
                number,
                died,
                entry.queue,
                entry.message.id,
                entry.message.task,
                entry.deliveries,
                cause,
                entry.message.raw,
                entry.history,
            )
            for number, (entry, cause, died) in self._house.dead.items()
        ]
        return [letter for letter in letters if fits(letter, wanted)]
