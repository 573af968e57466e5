"""The supervisor's book of its children: who sits where, who is expected, who is to leave.

Theory of operation. A seat is *empty*, *asked* (the nursery was told to fork), *taken*, *leaving*
(told to stop), or *frozen* (stopped with SIGSTOP, to be killed for a time limit). A seat becomes
empty by a death only, so what is recovered at the broker is recovered when nobody can settle it
any more. A nursery that dies while seats are asked may or may not have forked: the seat is
disowned, so that a late child finds itself unwanted, and one that has already sat down is ended.

A child that dies before it is ready, or at once without having run anything, died *at start*: the
next one comes after a pause that doubles, and when several did so in a row and nobody works, the
worker gives up instead of forking for ever.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import Enum
from typing import NamedTuple

from umbel.model.clock import monotonic_s
from umbel.worker.options import EXIT_RECYCLED, EXIT_STOPPED
from umbel.worker.slots import Board, Running, Slot

# A child that lives shorter than this, and ran nothing, died at start.
_EARLY_S = 1.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
_FORK_PAUSE_S = 0.5
# So many deaths at start in a row, with nobody working, end the worker.
MOST_EARLY_DEATHS = 5
# How many forks the nursery is asked for at a time: requests must fit into a socket's buffer.
_MOST_ASKED = 16


class Stage(Enum):
    """Where a seat stands."""

    EMPTY = "empty"
    ASKED = "asked"
    TAKEN = "taken"
    LEAVING = "leaving"
    FROZEN = "frozen"


class Sentence(NamedTuple):
    """Why a child is frozen, and what follows if it still runs that when it stands still."""

    running: Running
    reason: str  # for the log
    is_kill: bool = True  # False: SoftTimeLimitExceeded is raised inside the task
    verdict: bytes | None = None  # of the task, after a kill; None: it runs again


class Seat:
    """One slot with who sits in it."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.stage = Stage.EMPTY
        self.pid = 0
        self.generation = 0
        self.not_before_s = 0.0  # the next child comes no earlier
        self.asked_s = 0.0
        self.taken_s = 0.0
        self.early_deaths = 0
        self.done_before = 0  # what earlier children of this seat had done
        self.sentence: Sentence | None = None  # what it is frozen for
        self.frozen_ns = 0  # when it was last told to stand still
        self.stage_before = Stage.TAKEN  # it was frozen
        self.noted_due_s: float | None = None  # the last due time of the slot that was heard
        self.warned: set[tuple[int, int]] = set()  # (epoch, token) whose soft limit was signalled

    @property
    def is_alive(self) -> bool:
        """Somebody sits here."""
        return self.stage in (Stage.TAKEN, Stage.LEAVING, Stage.FROZEN)

    def send_signal(self, number: int) -> None:
        """Signal the child. It is our own and not reaped, so its pid is nobody else's."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Departure(NamedTuple):
    """A child has died."""

    seat: Seat
    pid: int
    code: int  # exit code, or minus the signal
    ran: list[Running]  # at the moment of death
    epoch: int
    sentence: Sentence | None
    is_early: bool
    was_leaving: bool  # it had been told to stop

    @property
    def is_expected(self) -> bool:
        """It ended as a child should; one that was told very early has no handler yet."""
        if self.was_leaving and self.code == -signal.SIGTERM:
            return True
        return self.code in (EXIT_STOPPED, EXIT_RECYCLED)


class Seats:
    """All seats of a worker; ``target`` of them are to be taken."""

    def __init__(
        self, board: Board, target: int, lanes: int, now: Callable[[], float] = monotonic_s
    ) -> None:
        self.target = target
        self._board = board
        self._lanes = lanes
        self._now = now
        self._seats: list[Seat] = []

    def __iter__(self) -> Iterator[Seat]:
        return iter(self._seats)

    def alive(self) -> list[Seat]:
        """Seats in which somebody sits."""
        return [seat for seat in self._seats if seat.is_alive]

    def asked(self) -> list[Seat]:
        """Seats whose child was asked for."""
        return [seat for seat in self._seats if seat.stage is Stage.ASKED]

    @property
    def are_empty(self) -> bool:
        """Nobody sits anywhere, and nobody is expected."""
        return all(seat.stage is Stage.EMPTY for seat in self._seats)

    @property
    def are_ready(self) -> bool:
        """As many as wanted claim tasks."""
        ready = sum(seat.stage is Stage.TAKEN and seat.slot.is_ready for seat in self._seats)
        return ready >= self.target

    def to_fill(self) -> list[Seat]:
        """Seats to ask a child for, now."""
        wanted = self._wanted()
        now = self._now()
        room = _MOST_ASKED - len(self.asked())
        return [seat for seat in wanted if seat.not_before_s <= now][: max(room, 0)]

    def to_clear(self) -> list[Seat]:
        """Seats beyond the target whose child is to leave: those first that run nothing."""
        taken = [seat for seat in self._seats if seat.stage is Stage.TAKEN]
        surplus = len(taken) - self.target
        if surplus <= 0:
            return []
        return sorted(taken, key=lambda seat: (bool(seat.slot.running()), -seat.slot.index))[
            :surplus
        ]

    def starting(self) -> list[Seat]:
        """Whose child has been forked and has not said that it claims."""
        return [
            seat for seat in self._seats if seat.stage is Stage.TAKEN and not seat.slot.is_ready
        ]

    def next_at(self) -> float | None:
        """When a seat is to be filled that may not be filled yet."""
        now = self._now()
        paused = [seat.not_before_s for seat in self._wanted() if seat.not_before_s > now]
        return min(paused, default=None)

    def _wanted(self) -> list[Seat]:
        """Empty seats that are to be taken; one whose child is leaving is not empty yet."""
        empty = [seat for seat in self._seats if seat.stage is Stage.EMPTY]
        missing = self.target - (len(self._seats) - len(empty))
        while len(empty) < missing:
            empty.append(Seat(Slot(self._board, len(self._seats), lanes=self._lanes)))
            self._seats.append(empty[-1])
        return empty[: max(missing, 0)]

    def ask(self, seat: Seat) -> int:
        """Open the seat's pipe for the next child; gives the end that the child writes to."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        seat.slot.read_fd = reading
        seat.generation = seat.slot.vacate()
        seat.done_before = seat.slot.done
        seat.asked_s = self._now()
        seat.stage = Stage.ASKED
        return writing

    def take(self, number: int, generation: int, pid: int) -> Seat | None:
        """The nursery has forked; None where the seat is not waiting for this child any more."""
        seat = self._seats[number]
        if seat.stage is not Stage.ASKED or seat.generation != generation:
            return None
        seat.pid = pid
        seat.taken_s = self._now()
        seat.stage = Stage.TAKEN
        seat.warned.clear()
        return seat

    def not_born(self, number: int, generation: int) -> None:
        """The nursery could not be asked, or could not fork: try again after a pause."""
        seat = self._seats[number]
        if seat.stage is Stage.ASKED and seat.generation == generation:
            self._vacate(seat)
            seat.not_before_s = self._now() + _FORK_PAUSE_S

    def disown_asked(self) -> None:
        """The nursery is gone: end who may have been forked, and ask again."""
        for seat in self.asked():
            pid = seat.slot.disown()
            if pid:
                seat.pid = pid
                seat.taken_s = self._now()
                seat.stage = Stage.LEAVING
                seat.send_signal(signal.SIGKILL)
            else:
                self._vacate(seat)

    def by_pid(self, pid: int) -> Seat | None:
        """Who has this pid."""
        return next((seat for seat in self._seats if seat.is_alive and seat.pid == pid), None)

    def died(self, seat: Seat, code: int) -> Departure:
        """Empty a seat whose child is dead."""
        is_early = not seat.slot.is_ready or (
            self._now() - seat.taken_s < _EARLY_S
            and seat.slot.done == seat.done_before
            and not seat.slot.running()
        )
        # Only a child that nobody had told to go, and that did not go in order, failed to start.
        is_early = is_early and seat.stage is Stage.TAKEN and code != EXIT_RECYCLED
        departure = Departure(
            seat=seat,
            pid=seat.pid,
            code=code,
            ran=seat.slot.running(),
            epoch=seat.slot.epoch,
            sentence=seat.sentence,
            is_early=is_early,
            was_leaving=seat.stage is Stage.LEAVING,
        )
        seat.early_deaths = seat.early_deaths + 1 if is_early else 0
        pause_s = 0.0
        if seat.early_deaths:
            pause_s = min(_FIRST_PAUSE_S * 2 ** (seat.early_deaths - 1), _LONGEST_PAUSE_S)
        self._vacate(seat)
        seat.not_before_s = self._now() + pause_s
        return departure

    @property
    def are_hopeless(self) -> bool:
        """Nobody works, and children keep dying before they do."""
        return (
            not any(seat.is_alive and seat.slot.is_ready for seat in self._seats)
            and max((seat.early_deaths for seat in self._seats), default=0) >= MOST_EARLY_DEATHS
        )

    def _vacate(self, seat: Seat) -> None:
        os.close(seat.slot.read_fd)
        seat.slot.read_fd = -1
        seat.pid = 0
        seat.sentence = None
        seat.stage = Stage.EMPTY
