"""Dead letters on Redis: found by reading, moved by scripts.

Theory of operation. Filtering reads page by page, what is known of each letter and not its bytes,
so that neither the server nor this process holds all of them. The numbers that fit are moved or
deleted by scripts of a bounded size, each an atomic step that passes over numbers that somebody
else has moved meanwhile: so sending a script again after a lost reply is harmless.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from umbel.engines.redis.commands import script
from umbel.engines.redis.connection import Connection
from umbel.engines.redis.keys import BrokerKeys
from umbel.engines.redis.resp import Argument
from umbel.ports.graveyard import DeadLetter, Wanted, fits

# Letters to one round trip, and to one script.
_PAGE = 500
_FACTS = ("time", "queue", "id", "task", "deliveries", "cause", "history")


class RedisGraveyard:
    """See ``umbel.ports.graveyard.Graveyard`` for what it promises."""

    def __init__(self, connection: Connection, names: BrokerKeys) -> None:
        self._connection = connection
        self._names = names
        self._index = names.own(b"dead")

    def count(self, wanted: Wanted) -> int:
        """How many there are."""
        if wanted == Wanted():
            return int(self._connection.command("ZCARD", self._index))
        return sum(1 for _ in self._found(wanted))

    def letters(self, wanted: Wanted, limit: int) -> list[DeadLetter]:
        """The newest first."""
        found: list[DeadLetter] = []
        for letter in self._found(wanted):
            if len(found) >= limit:
                break
            found.append(letter)
        letters = []
        for page in _pages(found):
            keys = [self._key(letter.number) for letter in page]
            raws = self._connection.commands(*[("HGET", key, "raw") for key in keys])
            letters += [
                letter._replace(raw=raw)
                for letter, raw in zip(page, raws, strict=True)
                if raw is not None  # gone since
            ]
        return letters

    def show(self, number: int) -> DeadLetter | None:
        """One of them."""
        return next(iter(self.letters(Wanted(numbers=[number]), 1)), None)

    def replay(self, wanted: Wanted) -> int:
        """Put them back into their queues."""
        return self._each("replay", wanted)

    def purge(self, wanted: Wanted) -> int:
        """Delete them."""
        return self._each("purge_dead", wanted)

    def _each(self, name: str, wanted: Wanted) -> int:
        numbers = sorted({letter.number for letter in self._found(wanted)})
        done = 0
        for page in _pages(numbers):
            arguments: list[Argument] = [self._names.prefix, *page]
            done += self._connection.script(script(name), (), arguments)
        return done

    def _found(self, wanted: Wanted) -> Iterator[DeadLetter]:
        """What fits, the newest first, without its bytes."""
        for page in self._numbers(wanted):
            facts = self._connection.commands(
                *[("HMGET", self._key(number), *_FACTS) for number in page]
            )
            for number, values in zip(page, facts, strict=True):
                letter = _letter(number, values)
                if letter is not None and fits(letter, wanted):
                    yield letter

    def _numbers(self, wanted: Wanted) -> Iterator[Sequence[int]]:
        if wanted.numbers is not None:
            yield from _pages(sorted(set(wanted.numbers), reverse=True))
            return
        newest = "+inf" if wanted.until is None else repr(wanted.until)
        oldest = "-inf" if wanted.since is None else repr(wanted.since)
        later = 0
        if wanted.until is not None:
            later = self._connection.command("ZCOUNT", self._index, f"({newest}", "+inf")
        left = self._connection.command("ZCOUNT", self._index, oldest, newest)
        # By place, because the server walks through everything that LIMIT passes over. Who dies or
        # is moved meanwhile shifts the places; what is seen twice is told once.
        seen: set[int] = set()
        while left > 0:
            stop = later + min(left, _PAGE) - 1
            members = self._connection.command("ZREVRANGE", self._index, later, stop)
            if not members:
                return
            page = [number for member in members if (number := int(member)) not in seen]
            seen.update(page)
            yield page
            later += len(members)
            left -= len(members)

    def _key(self, number: int) -> bytes:
        return self._names.own(b"dead:%d" % number)


def _letter(number: int, values: Sequence[Any]) -> DeadLetter | None:
    if values[0] is None:
        return None
    time, queue, task_id, task, deliveries, cause, history = [
        (value or b"").decode(errors="replace") for value in values
    ]
    return DeadLetter(
        number, float(time), queue, task_id, task, int(deliveries), cause, b"", history
    )


def _pages(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), _PAGE):
        yield items[start : start + _PAGE]
