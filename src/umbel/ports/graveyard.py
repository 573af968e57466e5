"""What an engine must offer of its dead letters: look, send again, delete.

A dead letter is a message that was settled with ``Fate.DEAD``: kept with its bytes and the cause
until somebody replays or purges it. Nothing here expires by itself. The engine does not look into
envelopes, so ``task_id`` and ``task`` are what it was told, or could see from outside; they are
empty where it knows nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class DeadLetter(NamedTuple):
    """A message that will not run, unless somebody says so."""

    number: int  # grows with each death; never used again
    died: float  # unix seconds, by the server's clock
    queue: str
    task_id: str
    task: str
    deliveries: int  # runs that ended with the death of their process
    cause: str
    raw: bytes  # the envelope, as it came
    history: str = ""  # of the deaths: see ``model/history``


class Wanted(NamedTuple):
    """Which dead letters are meant: those that fit all that is given. Default: all."""

    numbers: Sequence[int] | None = None  # an empty one fits nothing
    task_ids: Sequence[str] | None = None
    tasks: Sequence[str] | None = None  # names, or patterns with * and ?
    queues: Sequence[str] | None = None
    cause: str | None = None  # part of the cause, whatever the case of its letters
    since: float | None = None  # died then or later, unix seconds
    until: float | None = None  # died then or earlier
    up_to: int | None = None  # no later number: what came after somebody looked is not meant


def fits(letter: DeadLetter, wanted: Wanted) -> bool:
    """What a filter means, for engines that ask one letter at a time."""
    # Not at the top: with what it needs 4 ms, and every program that sends has this room.
    from fnmatch import fnmatchcase

    return (
        (wanted.numbers is None or letter.number in wanted.numbers)
        and (wanted.up_to is None or letter.number <= wanted.up_to)
        and (wanted.task_ids is None or letter.task_id in wanted.task_ids)
        and (wanted.queues is None or letter.queue in wanted.queues)
        and (wanted.tasks is None or any(fnmatchcase(letter.task, name) for name in wanted.tasks))
        and (wanted.cause is None or wanted.cause.lower() in letter.cause.lower())
        and (wanted.since is None or letter.died >= wanted.since)
        and (wanted.until is None or letter.died <= wanted.until)
    )


class Graveyard(Protocol):
    """The dead letters of a broker, over its connection."""

    def count(self, wanted: Wanted) -> int:
        """How many there are [dead_letters_are_found_by_what_is_known_of_them]."""
        ...

    def letters(self, wanted: Wanted, limit: int) -> list[DeadLetter]:
        """The newest first, up to ``limit`` [a_dead_letter_keeps_bytes_and_cause]."""
        ...

    def show(self, number: int) -> DeadLetter | None:
        """One of them, or None where there is none (any more)."""
        ...

    def replay(self, wanted: Wanted) -> int:
        """Put them back into their queues, behind what waits there, as if never delivered.

        The oldest first [a_replayed_letter_is_leased_as_new]; one that never had a queue stays.
        Each is in its queue or still here, never both and never neither, whenever this process ends
        [replaying_twice_sends_once]. Gives how many went back.
        """
        ...

    def purge(self, wanted: Wanted) -> int:
        """Delete them, for ever [purged_letters_are_gone]. Gives how many."""
        ...
