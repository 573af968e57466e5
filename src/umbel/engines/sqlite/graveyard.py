"""Dead letters in the file: found by one query, moved in transactions of a bounded size.

The numbers that fit are read first. Each batch of them is then moved or deleted in a transaction
of its own, so that workers do not wait for a million letters; a number that is gone by then is
passed over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from umbel.engines.sqlite.connection import Connection
from umbel.engines.sqlite.queries import SQL
from umbel.engines.sqlite.wakeup import Board
from umbel.ports.graveyard import DeadLetter, Wanted

_BATCH = 500


class SqliteGraveyard:
    """See ``umbel.ports.graveyard.Graveyard`` for what it promises."""

    def __init__(self, connection: Connection, board: Board) -> None:
        self._connection = connection
        self._board = board

    def count(self, wanted: Wanted) -> int:
        """How many there are."""
        return len(self._numbers(wanted))

    def letters(self, wanted: Wanted, limit: int) -> list[DeadLetter]:
        """The newest first."""
        with self._connection.reading() as sql:
            found = sql.execute(SQL["dead_letters"], {**_facts(wanted), "limit": limit})
            return [DeadLetter(*row) for row in found]

    def show(self, number: int) -> DeadLetter | None:
        """One of them."""
        return next(iter(self.letters(Wanted(numbers=[number]), 1)), None)

    def replay(self, wanted: Wanted) -> int:
        """Put them back."""
        replayed = 0
        for batch in self._batches(wanted):
            queues: Counter[str] = Counter()
            with self._connection.writing(durably=True) as sql:
                for number in batch:
                    row = sql.execute(SQL["revive"], (number,)).fetchone()
                    if row is not None:
                        sql.execute(SQL["forget_dead"], (number,))
                        queues[row[0]] += 1
            self._board.tell_messages(queues)
            replayed += queues.total()
        return replayed

    def purge(self, wanted: Wanted) -> int:
        """Delete them."""
        purged = 0
        for batch in self._batches(wanted):
            with self._connection.writing() as sql:
                for number in batch:
                    purged += sql.execute(SQL["forget_dead"], (number,)).rowcount
        return purged

    def _batches(self, wanted: Wanted) -> Iterator[Sequence[int]]:
        numbers = self._numbers(wanted)
        for start in range(0, len(numbers), _BATCH):
            yield numbers[start : start + _BATCH]

    def _numbers(self, wanted: Wanted) -> Sequence[int]:
        with self._connection.reading() as sql:
            return [number for (number,) in sql.execute(SQL["dead_numbers"], _facts(wanted))]


def _facts(wanted: Wanted) -> dict[str, object]:
    """The parameters of the queries: several values of one kind as JSON."""
    return {
        name: value if value is None or isinstance(value, str | int | float) else json.dumps(value)
        for name, value in wanted._asdict().items()
    }
