"""Rate limits: whose turn it is, decided in memory that all children of a worker share.

A message of a limited task that comes too early is parked in the due set until its turn: no child
sleeps over it, and other tasks flow past it.

Theory of operation. Each limited task has a row: the time of its *next* start (one token, as
Celery's bucket), and *tickets*, numbered in the order in which messages came too early. The ticket
says when to come back: ``next + (ticket - last passed - 1) * interval``. So of ten thousand
messages each is claimed once to learn its time and once to run, instead of all each second, and
they run in the order in which they came. A message whose turn is far away comes back earlier, after
three quarters of its time and at the latest after a quarter of an hour, to learn whether the limit
was changed or a share of the work was taken by another worker; that is a handful of claims each.

Who has a ticket is kept by a hash of the message's id, in a table that remembers no more when it
is full. A message that it does not know (it is new, or got its ticket in another worker) takes a
token only where no holder of a ticket wants it, and a ticket otherwise.

What a crash leaves behind: a lock of the kernel's (``lockf``) that ends with its process, and
single words, each right for itself; a token or a ticket may be lost, which delays one start.

Layout, 64-bit words: 1,024 rows of 8 (hash of the task's name, next start in monotonic ns, last
ticket passed, last ticket given); then 131,072 entries of 2 (hash of the message, row << 48 |
ticket). Pages that nobody touches cost nothing.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import tempfile
from collections.abc import Callable

from umbel.model.clock import monotonic_ns

logger = logging.getLogger(__name__)

ROWS = 1024
_ROW_WORDS = 8
_ENTRIES = 1 << 17
_WINDOW = 16  # entries in which a message is looked for
_FIRST_ENTRY = ROWS * _ROW_WORDS
_BYTES = (_FIRST_ENTRY + 2 * _ENTRIES) * 8

_NAME, _NEXT, _PASSED, _GIVEN = range(4)
_TICKET_BITS = 48
_TICKETS = (1 << _TICKET_BITS) - 1
_BOOKED = _TICKETS  # in the place of a ticket: a token is kept for it
_WORD = (1 << 64) - 1
# Tickets that were passed by so many are over, and their entries may be used again.
_OVER = 256

# How many places early a holder may be served where a token lies there.
_PLACES = 8

# How long a token lies for the holder of a ticket before anybody may have it.
_PATIENCE_NS = 50_000_000
# A start that is late by so much is made up for, so that the average is kept.
_SLACK_NS = 250_000_000
# The shortest and the longest time until a message whose turn is not near looks again.
_LOOK_AGAIN_NS = 15_000_000_000
_LONGEST_NS = 900_000_000_000
_SHORTEST_NS = 1_000_000


class Rates:
    """The turns of all limited tasks of one worker. Made before the first fork."""

    def __init__(self, now_ns: Callable[[], int] = monotonic_ns) -> None:
        self._now_ns = now_ns
        self._fd = _memory_file()
        os.ftruncate(self._fd, _BYTES)
        self._words = memoryview(mmap.mmap(self._fd, _BYTES)).cast("Q")
        self._rows: dict[str, int] = {}

    def wait_ns(self, task: str, message: object, interval_ns: int) -> int:
        """0 where the message may begin now, else the time after which to ask again.

        ``message``: what tells it from others of the task; hashed. ``interval_ns``: from one start
        to the next.
        """
        # Hashes of text differ between programs, but not between forks of one.
        key = hash((task, message)) & _WORD or 1
        fcntl.lockf(self._fd, fcntl.LOCK_EX)
        try:
            return self._turn(self._row_of(task), key, interval_ns, self._now_ns())
        finally:
            fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def _turn(self, row: int, key: int, interval: int, now: int) -> int:
        words, at = self._words, row * _ROW_WORDS
        next_ns, passed, given = words[at + _NEXT], words[at + _PASSED], words[at + _GIVEN]
        ticket = self._ticket(row, key)
        if ticket == _BOOKED:
            self._remember(row, key, 0)
            return 0
        # Holders come in their order, but for a few places: what is between them may never come,
        # because another worker has it. Who has no ticket waits for those who have.
        turn_ns = next_ns + max(ticket - passed - 1 - _PLACES, 0) * interval
        is_served = turn_ns <= now if ticket else given <= passed
        if now >= next_ns and (is_served or now >= next_ns + min(interval, _PATIENCE_NS)):
            is_on_time = now - next_ns <= min(interval // 2, _SLACK_NS)
            words[at + _NEXT] = (next_ns if is_on_time else now) + interval
            if is_served and ticket > passed:
                words[at + _PASSED] = ticket
            return 0
        if not ticket:
            ticket = words[at + _GIVEN] = max(given, passed) + 1
            self._remember(row, key, ticket)
        if ticket <= passed:
            # Others have gone ahead of it: it gets the next token for sure.
            turn_ns = next_ns
            words[at + _NEXT] = next_ns + interval
            self._remember(row, key, _BOOKED)
        else:
            turn_ns = next_ns + (ticket - passed - 1) * interval
        wait = turn_ns - now
        return max(min(wait, max(_LOOK_AGAIN_NS, wait * 3 // 4), _LONGEST_NS), _SHORTEST_NS)

    def _row_of(self, task: str) -> int:
        row = self._rows.get(task)
        if row is None:
            row = self._rows[task] = self._find_row(task)
        return row

    def _find_row(self, task: str) -> int:
        name = hash(task) & _WORD or 1
        for step in range(ROWS):
            row = (name + step) % ROWS
            found = self._words[row * _ROW_WORDS + _NAME]
            if not found:
                self._words[row * _ROW_WORDS + _NAME] = name
            if found in (0, name):
                return row
        logger.warning("More than %d tasks have rate limits; %s shares one's turns", ROWS, task)
        return name % ROWS

    def _ticket(self, row: int, key: int) -> int:
        words = self._words
        for at in _window(key):
            if words[at] == key:
                found = words[at + 1]
                return found & _TICKETS if found >> _TICKET_BITS == row else 0
        return 0

    def _remember(self, row: int, key: int, ticket: int) -> None:
        words = self._words
        window = _window(key)
        place = next((at for at in window if self._is_free(at, key)), None)
        if place is None:
            # Those that a token is kept for come within seconds, or not at all.
            booked = (at for at in window if words[at + 1] & _TICKETS == _BOOKED)
            place = next(booked, None)
        if place is not None:
            # The key last: an entry that is half written must not look like a ticket.
            words[place] = 0
            words[place + 1] = row << _TICKET_BITS | ticket
            words[place] = key

    def _is_free(self, at: int, key: int) -> bool:
        holder, found = self._words[at], self._words[at + 1]
        passed = self._words[(found >> _TICKET_BITS) * _ROW_WORDS + _PASSED]
        return holder in (0, key) or (found & _TICKETS) + _OVER < passed


def _window(key: int) -> range:
    place = key % (_ENTRIES - _WINDOW)
    return range(_FIRST_ENTRY + 2 * place, _FIRST_ENTRY + 2 * (place + _WINDOW), 2)


def _memory_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("umbel-rates")
    # Elsewhere a file without a name serves.
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
