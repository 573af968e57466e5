"""What a child tells its supervisor without a system call: shared memory, and one pipe per child.

Layout. One anonymous mapping, made by the supervisor before the first fork, of 64-bit words in the
machine's order. A store or load of one word is one machine instruction, so no word is ever torn.

    word 0            next_look: the monotonic ns at which the supervisor looks again by itself
    words 1 to 3      of the orders (``orders.py``), which lie behind the words
    word 4            the worker's logical clock, for its events
    lanes  (1,024 x 8 words)  token+1 | epoch | started_ns | soft_ns | hard_ns | manners
    slots  (1,024 x 8 words)  epoch | done | due_us | ready | generation | pid | watches | up
    behind the orders         of each slot, how many of each task have ended (1,024 x 1,024 words)

A *slot* is the seat of one child; prefork gives it the lane of its own number, the threads pool is
slot 0 with one lane per thread. A lane says what runs: the writer clears the token, writes the
rest, and stores the token last; a reader that finds the same token before and after has read what
belongs to it. Limits are absolute monotonic times; 0 is none.

The give-back pipe holds one record (epoch, token) per message that is leased and not begun. Child
and supervisor read from the same pipe, and the kernel gives each record to one of them: that is
all the locking there is, and a SIGKILL can't leave it locked. Records of an older epoch are
skipped by both: tokens are unique within one epoch only.

Of the idle children one *watches* the broker; the others sleep on a pipe that holds one byte, the
right to watch. Without it each message wakes them all, and on a busy machine the ones that find
nothing delay the one that has found it. A child keeps the right while it runs what is known to be
short, passes it on before anything else, and the supervisor puts it back when its holder has died.
"""

from __future__ import annotations

import mmap
import os
import struct
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from umbel.model.clock import monotonic_ns, unix_s
from umbel.model.lamport import LamportClock
from umbel.worker.orders import AREA_BYTES, OrderBook, Orders
from umbel.worker.rates import Rates
from umbel.worker.waiting import readable

LANES = 1024
_ROW = 8  # words in a lane and in a slot's row
_NEXT_LOOK = 0
_CLOCK = 4
_FIRST_LANE = _ROW
_FIRST_SLOT = _FIRST_LANE + LANES * _ROW
_WORDS = _FIRST_SLOT + LANES * _ROW
# How many of each task have run in a slot. Pages that nobody touches cost nothing.
_COUNTED = 1024
_COUNTS = LANES * _COUNTED

_TOKEN, _LANE_EPOCH, _STARTED, _SOFT, _HARD, _MANNERS = range(6)
_EPOCH, _DONE, _DUE, _READY, _GENERATION, _PID, _WATCHES, _UP = range(8)

_AWAKE = 2**63
_LONGEST_LIMIT_S = 1e9
_RECORD = struct.Struct("=QQ")
_DRAIN_BYTES = 65536  # what a pipe holds


class Running(NamedTuple):
    """What one lane runs."""

    token: int
    started_ns: int
    soft_ns: int  # monotonic ns at which the soft limit passes; 0: none
    hard_ns: int
    lane: int
    epoch: int
    manners: int = 0  # what a death means for it, see ``Plan.manners``


class Board:
    """The shared memory of one worker."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _WORDS * 8 + AREA_BYTES + _COUNTS * 8)
        whole = memoryview(self._memory)
        self.words = whole[: _WORDS * 8].cast("Q")
        behind = _WORDS * 8
        self.orders = OrderBook(self.words, whole[behind : behind + AREA_BYTES])
        self.counts = whole[behind + AREA_BYTES :].cast("Q")
        self.clock = LamportClock(self.words, _CLOCK)
        self.rates = Rates()
        self.stay_awake()
        # The right to watch: one byte, held by a child or lying here.
        self.watch_read, self.watch_write = os.pipe()
        os.set_blocking(self.watch_read, False)
        os.set_blocking(self.watch_write, False)
        self._close = weakref.finalize(self, _close_both, self.watch_read, self.watch_write)
        self._put_watch_back()

    def stay_awake(self) -> None:
        """The supervisor is looking right now: whoever has news pokes it."""
        self.words[_NEXT_LOOK] = _AWAKE

    def mend_watch(self) -> None:
        """Put the right to watch back if it has died with its holder."""
        is_held = any(self.words[_FIRST_SLOT + number * _ROW + _WATCHES] for number in range(LANES))
        if not is_held and not readable([self.watch_read], 0):
            self._put_watch_back()

    def _put_watch_back(self) -> None:
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self.watch_write, b"w")

    def close(self) -> None:
        """Let go of the pipe; the memory goes with its last process."""
        self._close()

    def sleep_until(self, deadline_ns: int) -> None:
        """The supervisor will look again then: news that can wait until then need no poke."""
        self.words[_NEXT_LOOK] = deadline_ns


class Slot:
    """The seat of one child. The child and the supervisor each hold one over the same memory."""

    def __init__(
        self,
        board: Board,
        number: int,
        *,
        lanes: int = 1,
        read_fd: int = -1,
        write_fd: int = -1,
        poke_fd: int = -1,
    ) -> None:
        if not 0 <= number < LANES or not 1 <= lanes <= LANES - number:
            raise ValueError(f"slot {number} with {lanes} lanes; there are {LANES} lanes")
        self.index = number
        self.lanes = lanes
        self.read_fd = read_fd
        self.write_fd = write_fd
        self.poke_fd = poke_fd
        self._board = board
        self._words = board.words
        self._lane = _FIRST_LANE + number * _ROW
        self._row = _FIRST_SLOT + number * _ROW
        self._counts = board.counts
        self._counted = number * _COUNTED
        # Task -> its number, for counting; 0 are all others.
        self.task_numbers: Mapping[str, int] = {}

    # What the child does.

    def claim(self, generation: int, pid: int) -> bool:
        """Sit down; False where the supervisor has given this seat to a later child."""
        self._words[self._row + _PID] = pid
        return self._words[self._row + _GENERATION] == generation

    def open_epoch(self) -> int:
        """The next epoch of this slot: a new consumer, whose tokens start anew."""
        epoch = self._words[self._row + _EPOCH] + 1
        self._words[self._row + _EPOCH] = epoch
        return epoch

    def consumer(self, worker: str, epoch: int | None = None) -> str:
        """The name of the consumer of this epoch, or of the current one."""
        return f"{worker}.{self.index}.{self.epoch if epoch is None else epoch}"

    def mark_up(self) -> None:
        """The process has started, and its app knows of it."""
        self._words[self._row + _UP] = 1

    def mark_ready(self) -> None:
        """The child is enlisted and claims."""
        self._words[self._row + _READY] = 1
        self._poke()

    def offer(self, tokens: Sequence[int]) -> None:
        """Lay out what is leased and not begun, in the order in which it will be taken."""
        epoch = self.epoch
        os.write(self.write_fd, b"".join([_RECORD.pack(epoch, token) for token in tokens]))

    def take(self) -> int | None:
        """The next unstarted token; None when the supervisor took the rest, or none is left."""
        while True:
            try:
                record = os.read(self.read_fd, _RECORD.size)
            except BlockingIOError:
                return None
            epoch, token = _RECORD.unpack(record)
            if epoch == self.epoch:
                return int(token)

    def begin(self, token: int, soft_s: float | None, hard_s: float | None, lane: int = 0) -> None:
        """A task starts now; its limits are counted from here."""
        words = self._words
        at = self._lane + lane * _ROW
        now = monotonic_ns()
        soft_ns = _limit_ns(now, soft_s)
        hard_ns = _limit_ns(now, hard_s)
        words[at] = 0
        words[at + _LANE_EPOCH] = words[self._row + _EPOCH]
        words[at + _STARTED] = now
        words[at + _SOFT] = soft_ns
        words[at + _HARD] = hard_ns
        words[at] = token + 1
        if (soft_ns or hard_ns) and _first(soft_ns, hard_ns) < words[_NEXT_LOOK]:
            self._poke()

    def set_manners(self, manners: int, lane: int = 0) -> None:
        """What the death of this process means for what this lane is about to run."""
        self._words[self._lane + lane * _ROW + _MANNERS] = manners

    def end(self, lane: int = 0) -> None:
        """The task has ended, whatever becomes of it."""
        self._words[self._lane + lane * _ROW] = 0

    def is_past_soft_limit(self, lane: int = 0) -> bool:
        """Whether what runs in this lane has outrun its soft limit: for the signal's handler,
        which may come late and meet another task."""
        at = self._lane + lane * _ROW
        soft_ns = self._words[at + _SOFT]
        return bool(self._words[at]) and 0 < soft_ns <= monotonic_ns()

    @property
    def rates(self) -> Rates:
        """Whose turn it is, of the tasks that have a rate limit."""
        return self._board.rates

    def add_done(self, number: int, task: int = 0) -> None:
        """So many more tasks have ended, of the one that has this number."""
        self._words[self._row + _DONE] += number
        self._counts[self._counted + task] += number

    def note_due(self, unix_seconds: float) -> None:
        """The child has parked a message that is due then: the supervisor sweeps at that time."""
        words, at = self._words, self._row + _DUE
        now = unix_s()
        due_us = max(int(unix_seconds * 1e6), 1)
        if words[at] > now * 1e6 and words[at] <= due_us:
            return
        words[at] = due_us
        if monotonic_ns() + int((unix_seconds - now) * 1e9) < words[_NEXT_LOOK]:
            self._poke()

    @property
    def watch_fd(self) -> int:
        """Readable when nobody watches the broker."""
        return self._board.watch_read

    def take_watch(self) -> bool:
        """Become the one child that watches the broker, if nobody does."""
        try:
            os.read(self._board.watch_read, 1)
        except BlockingIOError:
            return False
        self._words[self._row + _WATCHES] = 1
        return True

    def pass_watch(self) -> None:
        """Let another one watch."""
        if self._words[self._row + _WATCHES]:
            self._words[self._row + _WATCHES] = 0
            with suppress(BlockingIOError, BrokenPipeError):
                os.write(self._board.watch_write, b"w")

    @property
    def orders_version(self) -> int:
        """Another number when there are new orders."""
        return self._board.orders.version

    def orders(self) -> tuple[int, Orders]:
        """What an operator has ordered, and the version that it is of."""
        return self._board.orders.read()

    @property
    def clock(self) -> LamportClock:
        """The logical clock of the worker's events."""
        return self._board.clock

    # What the supervisor does.

    def vacate(self) -> int:
        """Make the seat ready for the next child; gives that child's generation."""
        words, row = self._words, self._row
        generation = words[row + _GENERATION] + 1
        words[row + _GENERATION] = generation
        words[row + _READY] = 0
        words[row + _UP] = 0
        words[row + _DUE] = 0
        words[row + _PID] = 0
        words[row + _WATCHES] = 0
        self._board.mend_watch()
        for lane in range(self.lanes):
            words[self._lane + lane * _ROW] = 0
            words[self._lane + lane * _ROW + _MANNERS] = 0
        return generation

    def disown(self) -> int:
        """Let nobody sit down here any more; gives the pid of who may have done so, or 0."""
        self._words[self._row + _GENERATION] += 1
        return self._words[self._row + _PID]

    def drain(self) -> dict[int, list[int]]:
        """Take all unstarted tokens away from the child, by epoch, in order."""
        tokens: dict[int, list[int]] = {}
        try:
            found = os.read(self.read_fd, _DRAIN_BYTES)
        except BlockingIOError:
            return tokens
        for epoch, token in _RECORD.iter_unpack(found):
            tokens.setdefault(epoch, []).append(token)
        return tokens

    def end_soft_limit(self, lane: int) -> None:
        """Let the soft limit of what a frozen child runs in this lane have passed."""
        self._words[self._lane + lane * _ROW + _SOFT] = 1

    def running(self) -> list[Running]:
        """What the lanes of this slot run now."""
        found = []
        for lane in range(self.lanes):
            at = self._lane + lane * _ROW
            while self._words[at]:
                token, epoch, started, soft, hard, manners = self._words[at : at + 6].tolist()
                if token and token == self._words[at]:
                    found.append(Running(token - 1, started, soft, hard, lane, epoch, manners))
                    break
        return found

    @property
    def epoch(self) -> int:
        """The current epoch; 0 before the first."""
        return self._words[self._row + _EPOCH]

    @property
    def done(self) -> int:
        """How many tasks ended in this slot, in all its children's lives."""
        return self._words[self._row + _DONE]

    def counts(self, tasks: int) -> list[int]:
        """How many of each task ended in this slot, by number, for the first ``tasks``."""
        found = self._counts[self._counted : self._counted + min(tasks, _COUNTED)].tolist()
        return found + [0] * (tasks - len(found))

    def number_of(self, task: str) -> int:
        """By which a task is counted."""
        number = self.task_numbers.get(task, 0)
        return number if number < _COUNTED else 0

    @property
    def due_s(self) -> float | None:
        """When the earliest message is due that the child noted (unix seconds)."""
        due_us = self._words[self._row + _DUE]
        return due_us / 1e6 if due_us else None

    @property
    def is_up(self) -> bool:
        """Whether the child's process has started."""
        return bool(self._words[self._row + _UP])

    @property
    def is_ready(self) -> bool:
        """Whether the child has come so far as to claim."""
        return bool(self._words[self._row + _READY])

    def _poke(self) -> None:
        # A full pipe is a poke already; a closed one has nobody behind it.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self.poke_fd, b"p")


def _close_both(reading: int, writing: int) -> None:
    os.close(reading)
    os.close(writing)


def _limit_ns(now: int, limit_s: float | None) -> int:
    # A task's own limit may be any number; a word of the board holds 292 years.
    return now + int(min(max(limit_s, 0.0), _LONGEST_LIMIT_S) * 1e9) if limit_s else 0


def _first(soft_ns: int, hard_ns: int) -> int:
    return min(soft_ns or hard_ns, hard_ns or soft_ns)


class LocalSlot:
    """The same seat without processes: for a worker that runs inside another program.

    ``on_due`` is told of parked messages; ``on_ready`` when the worker claims.
    """

    def __init__(
        self,
        number: int = 0,
        *,
        on_due: Callable[[float], None] | None = None,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.index = number
        self.epoch = 0
        self.done = 0
        self.is_ready = False
        self.orders_version = 0
        self._orders = Orders()
        self.clock = LamportClock()
        self._on_due = on_due
        self._on_ready = on_ready
        self._rates: Rates | None = None
        # popleft is atomic, so that another thread may drain.
        self._unstarted: deque[int] = deque()
        self._running: dict[int, Running] = {}

    def open_epoch(self) -> int:
        """The next epoch; what the last one had laid out is forgotten."""
        self._unstarted.clear()
        self.epoch += 1
        return self.epoch

    def consumer(self, worker: str, epoch: int | None = None) -> str:
        """The name of the consumer of this epoch, or of the current one."""
        return f"{worker}.{self.index}.{self.epoch if epoch is None else epoch}"

    def mark_up(self) -> None:
        """It runs in a process that has started long ago."""

    def mark_ready(self) -> None:
        """The worker is enlisted and claims."""
        self.is_ready = True
        if self._on_ready is not None:
            self._on_ready()

    def offer(self, tokens: Sequence[int]) -> None:
        """Lay out what is leased and not begun."""
        self._unstarted.extend(tokens)

    def take(self) -> int | None:
        """The next unstarted token, or None."""
        try:
            return self._unstarted.popleft()
        except IndexError:
            return None

    def drain(self) -> dict[int, list[int]]:
        """Take all unstarted tokens away, by epoch, in order."""
        tokens: list[int] = []
        while (token := self.take()) is not None:
            tokens.append(token)
        return {self.epoch: tokens} if tokens else {}

    def begin(self, token: int, soft_s: float | None, hard_s: float | None, lane: int = 0) -> None:
        """A task starts now."""
        now = monotonic_ns()
        self._running[lane] = Running(
            token,
            now,
            _limit_ns(now, soft_s),
            _limit_ns(now, hard_s),
            lane,
            self.epoch,
        )

    def set_manners(self, manners: int, lane: int = 0) -> None:
        """There is no process of its own that could die."""

    def end(self, lane: int = 0) -> None:
        """The task has ended."""
        self._running.pop(lane, None)

    def is_past_soft_limit(self, lane: int = 0) -> bool:
        """Whether what runs in this lane has outrun its soft limit."""
        running = self._running.get(lane)
        return running is not None and 0 < running.soft_ns <= monotonic_ns()

    @property
    def watch_fd(self) -> int:
        """There is nobody to share with."""
        return -1

    def take_watch(self) -> bool:
        """The only child always watches."""
        return True

    def pass_watch(self) -> None:
        """To nobody."""

    @property
    def rates(self) -> Rates:
        """Whose turn it is, of the tasks that have a rate limit."""
        if self._rates is None:
            self._rates = Rates()
        return self._rates

    def add_done(self, number: int, task: int = 0) -> None:
        """So many more tasks have ended."""
        self.done += number

    def number_of(self, task: str) -> int:
        """Nobody counts by task."""
        return 0

    def note_due(self, unix_seconds: float) -> None:
        """The worker has parked a message that is due then."""
        if self._on_due is not None:
            self._on_due(unix_seconds)

    def orders(self) -> tuple[int, Orders]:
        """What was ordered, and the version that it is of."""
        return self.orders_version, self._orders

    def order(self, **changes: Any) -> Orders:
        """Change fields of what is ordered; the worker sees it when it is woken."""
        self._orders = self._orders._replace(**changes)
        self.orders_version += 2
        return self._orders

    def running(self) -> list[Running]:
        """What runs now."""
        return list(self._running.values())
