"""Notices in the file: rows that listeners read by their last id, and are woken for by a datagram.

Theory of operation. A listener has a seat on the board of sleepers (``wakeup.py``) from before its
first look until it is closed. Who wants to say something looks at the board first: where nobody
listens, nothing is written, which is what makes it cheap. Else the rows are written, and each
listener gets a datagram and reads what has a higher id than it had. A sayer that is killed between
the two is heard with the next one. A listener whose seat is void (the folder beside the file was
deleted, or this is a forked child) says that it is lost, and its owner makes another.

Rows are deleted after a minute, by whoever says something next or sweeps.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress

from umbel.engines.placing import is_bound
from umbel.engines.sqlite.connection import Connection
from umbel.engines.sqlite.messages import NOTICE_TTL_S
from umbel.engines.sqlite.queries import SQL
from umbel.engines.sqlite.wakeup import POLL_S, Board, Seat, sleep
from umbel.model.clock import monotonic_s
from umbel.model.errors import OperationalError
from umbel.ports.bus import Notice

_BOX_TTL_S = 24 * 3600.0
# Notices that a listener reads in one go.
_BATCH = 5000


class SqliteBus:
    """See ``umbel.ports.bus.Bus`` for what it promises."""

    def __init__(self, connection: Connection, board: Board, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._board = board
        self._clock = clock
        self._seat: Seat | None = None

    def say(self, notices: Sequence[Notice]) -> int:
        """Write where somebody listens, and wake them."""
        exchanges = {notice.exchange for notice in notices}
        if not self._board.has_listeners(exchanges):
            return 0
        now = self._clock()
        with self._connection.writing() as sql:
            sql.executemany(SQL["say"], [(now, *notice) for notice in notices])
            sql.execute(SQL["forget_notices"], (now - NOTICE_TTL_S,))
        return self._board.tell_listeners(exchanges)

    def listen(self, exchange: str, routing_keys: Sequence[str] = ("#",)) -> SqliteListener:
        """Sit down, and hear from now on."""
        return SqliteListener(self._connection, exchange, routing_keys)

    def open_box(self, exchange: str, box: str) -> None:
        """Take answers."""
        with self._connection.writing() as sql:
            sql.execute(SQL["open_box"], (exchange, box, self._clock()))

    def put(self, notice: Notice) -> bool:
        """Answer, where the box is open."""
        exchange, box, raw = notice
        facts = {"exchange": exchange, "box": box, "raw": raw}
        with self._connection.writing() as sql:
            is_put = sql.execute(SQL["answer"], facts).rowcount > 0
        if is_put:
            self._board.tell_listeners([_name(exchange, box)])
        return is_put

    def take(self, exchange: str, box: str, timeout_s: float) -> list[bytes]:
        """What was answered; sleeps for the first."""
        found = self._taken(exchange, box)
        if found or timeout_s <= 0:
            return found
        deadline = monotonic_s() + timeout_s
        seat = self._seated()
        try:
            while True:
                if seat is not None:
                    seat.drained()
                    seat.listen([_name(exchange, box)])
                found = self._taken(exchange, box)
                left_s = deadline - monotonic_s()
                if found or left_s <= 0:
                    return found
                sleep(seat, None, min(left_s, POLL_S))
        finally:
            if seat is not None:
                seat.disarm()

    def close_box(self, exchange: str, box: str) -> None:
        """Take no more."""
        with self._connection.writing() as sql:
            sql.execute(SQL["close_box"], (exchange, box))
            sql.execute(SQL["forget_answers"], (exchange, box))

    def close(self) -> None:
        """Give the seat up; connection and board are the broker's."""
        seat, self._seat = self._seat, None
        if seat is not None:
            with suppress(OSError):
                seat.close()

    def _taken(self, exchange: str, box: str) -> list[bytes]:
        # Looked at without the write lock first: mostly there is nothing.
        with self._connection.reading() as sql:
            if sql.execute(SQL["answers"], (exchange, box)).fetchone() is None:
                return []
        with self._connection.writing() as sql:
            rows = sql.execute(SQL["answers"], (exchange, box)).fetchall()
            sql.execute(SQL["forget_answers"], (exchange, box))
        return [raw for _, raw in rows]

    def _seated(self) -> Seat | None:
        if self._seat is not None and not self._seat.is_valid:
            self.close()
        if self._seat is None:
            self._seat = self._board.sit()
        return self._seat


class SqliteListener:
    """See ``umbel.ports.bus.Listener``."""

    def __init__(self, connection: Connection, exchange: str, routing_keys: Sequence[str]) -> None:
        path = connection.location.path
        self._connection = Connection(connection.location)
        self._exchange = exchange
        self._keys = tuple(routing_keys)
        with self._connection.reading() as sql:
            # Makes the file where there is none, and the folder of the board stands beside it.
            sql.execute(SQL["last_notice"])
        self._board = Board(path)
        self._seat = self._board.sit()
        if self._seat is None:
            raise OperationalError(
                f"nothing can be listened to at {connection.location.url}: the folder {path}-peers "
                "can't be written to, or a thousand others listen and wait there"
            )
        self._seat.listen([exchange])
        with self._connection.reading() as sql:
            (self._last,) = sql.execute(SQL["last_notice"]).fetchone()

    def fileno(self) -> int:
        """The socket of its seat."""
        return self._sitting().fileno()

    def arrived(self, timeout_s: float = 0.0) -> list[Notice]:
        """What was said."""
        deadline = monotonic_s() + timeout_s
        while True:
            seat = self._sitting()
            seat.drained()
            found = self._said()
            left_s = deadline - monotonic_s()
            if found or left_s <= 0:
                return found
            sleep(seat, None, min(left_s, POLL_S))

    def close(self) -> None:
        """Leave."""
        seat, self._seat = self._seat, None
        if seat is not None:
            with suppress(OSError):
                seat.close()
            self._board.close()
            self._connection.close()

    def _said(self) -> list[Notice]:
        found: list[Notice] = []
        rows: list[tuple[int, str, bytes]] = []
        while not rows or len(rows) == _BATCH:
            with self._connection.reading() as sql:
                rows = sql.execute(SQL["notices"], (self._last, self._exchange, _BATCH)).fetchall()
            if not rows:
                break
            self._last = rows[-1][0]
            found += [
                Notice(self._exchange, key, raw)
                for _, key, raw in rows
                if any(is_bound("topic", wanted, key) for wanted in self._keys)
            ]
        return found

    def _sitting(self) -> Seat:
        if self._seat is None or not self._seat.is_valid:
            raise OperationalError(
                f"{self._exchange!r} is listened to no more at {self._connection.location.url}: "
                "the listener was closed, carried over a fork, or its folder was deleted"
            )
        return self._seat


def forget_old(sql: sqlite3.Connection, now: float) -> None:
    """Delete what nobody will read; part of a sweep."""
    sql.execute(SQL["forget_notices"], (now - NOTICE_TTL_S,))
    if sql.execute(SQL["forget_boxes"], (now - _BOX_TTL_S,)).rowcount:
        sql.execute(SQL["forget_stray_answers"])


def _name(exchange: str, box: str) -> str:
    return f"{exchange}\n{box}"
