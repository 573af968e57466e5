"""Wake-ups between processes: a board that says who sleeps, and a datagram socket per sleeper.

Theory of operation. The board is a file that all processes map. A *seat* on it belongs to one
connection that waits; its byte says for what (messages, records), and its row says for which queues
or tasks, by checksum. A sleeper *arms* its seat, then looks at the database, then sleeps on its
socket. Whoever has committed something looks at the board (0.1 us where nobody sleeps), disarms the
seats that want it and sends each a datagram. So either the sleeper's look finds the commit, or the
committer's look finds the seat.

Nothing depends on it: a datagram that is lost (a killed sender, a full socket, a deleted folder)
costs a sleeper the rest of its slow poll.

Board layout: one byte per seat (0 nobody sleeps, 1 messages, 2 records, 3 records and a datagram
was dropped: read everything, 4 what is said on exchanges or put into boxes), then 64 bytes per
seat: pid (4), number of checksums (2, 65535: wants everything), 2 unused, 14 checksums.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import select
import socket
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from umbel.engines.sqlite.peers import folder_of, socket_path

logger = logging.getLogger(__name__)

_SEATS = 1024
_ROW = struct.Struct("<IHH14I")
_MOST_SUMS = 14
_EVERYTHING = 0xFFFF
_SIZE = _SEATS + _SEATS * _ROW.size
_NOBODY = bytes(_SEATS)

_ASLEEP, _WATCHING, _MISSED, _LISTENING = 1, 2, 3, 4
# More ids than this in one datagram, and a watcher reads everything.
_MOST_IDS = 500
# Ids in a datagram end with this.
_SEPARATOR = b"\n"

# How long a sleeper sleeps at most before it looks again by itself.
POLL_S = 1.0


def checksum(name: str) -> int:
    """What stands for a queue or a task on the board."""
    return zlib.crc32(name.encode("utf-8", "surrogatepass"))


class Board:
    """One process's view of the board of a database."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._folder = ""
        self._map: mmap.mmap | None = None
        self._identity = (0, 0)
        self._sender: socket.socket | None = None
        self._sender_pid = 0

    # - Telling

    def tell_messages(self, queues: Mapping[str, int]) -> None:
        """Messages are ready (how many in each queue): wake as many sleepers, and one more."""
        board = self._current()
        if board is None or (armed := board[:_SEATS]) == _NOBODY:
            return
        wanted = {checksum(queue): number + 1 for queue, number in queues.items()}
        for seat in _seats(armed, _ASLEEP):
            for found in _hits(board, seat, wanted):
                if wanted[found] > 0:
                    wanted[found] -= 1
                    board[seat] = 0
                    self._send(seat, b"m")
                    break

    def tell_records(self, task_ids: Sequence[str]) -> None:
        """Records were stored: wake who watches them."""
        board = self._current()
        if board is None or (armed := board[:_SEATS]) == _NOBODY:
            return
        watching = [*_seats(armed, _WATCHING), *_seats(armed, _MISSED)]
        if not watching:
            return
        wanted = {checksum(task_id): 1 for task_id in task_ids}
        text = _SEPARATOR.join(task_id.encode("utf-8", "surrogatepass") for task_id in task_ids)
        for seat in watching:
            if not _hits(board, seat, wanted):
                continue
            if len(task_ids) > _MOST_IDS or not self._send(seat, b"r" + text):
                board[seat] = _MISSED
                self._send(seat, b"r")

    def has_listeners(self, names: Iterable[str]) -> bool:
        """Whether somebody listens to one of these."""
        return bool(self._listening(names))

    def tell_listeners(self, names: Iterable[str]) -> int:
        """Something was said: wake who listens; gives how many live. A full socket holds a word
        that wakes them too."""
        seats = self._listening(names)
        for seat in seats:
            self._send(seat, b"n")
        # A seat whose process was found to be gone is empty now.
        return sum(bool(self._map is not None and self._map[seat]) for seat in seats)

    def _listening(self, names: Iterable[str]) -> list[int]:
        board = self._current()
        if board is None or (armed := board[:_SEATS]) == _NOBODY:
            return []
        seats = _seats(armed, _LISTENING)
        if not seats:
            return []
        wanted = {checksum(name): 1 for name in names}
        return [seat for seat in seats if _hits(board, seat, wanted)]

    def _send(self, seat: int, text: bytes) -> bool:
        """False where the datagram was dropped because the sleeper has many."""
        if self._sender is None or self._sender_pid != os.getpid():
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._sender_pid = os.getpid()
        try:
            self._sender.sendto(text, socket_path(self._folder, str(seat)))
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if isinstance(error, ConnectionRefusedError | FileNotFoundError):
                # Its process is gone.
                if self._map is not None:
                    self._map[seat] = 0
                return True
            return False
        return True

    # - Sitting

    def sit(self) -> Seat | None:
        """A free seat; None where all are taken, or the folder can't be written to."""
        try:
            board = self._current(make=True)
            if board is None:
                return None
            return self._sit(board)
        except OSError as error:
            logger.debug("no seat on the board of %s: %s", self._database, error)
            return None

    def _sit(self, board: mmap.mmap) -> Seat | None:
        with self._locked():
            for number in range(_SEATS):
                if self._holder(board, number) == 0 or not self._is_taken(number):
                    return Seat(self, number)
        return None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time takes a seat or leaves one."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _holder(self, board: mmap.mmap, seat: int) -> int:
        pid: int = struct.unpack_from("<I", board, _SEATS + seat * _ROW.size)[0]
        return pid

    def _is_taken(self, number: int) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(socket_path(self._folder, str(number)))
            except OSError as error:
                return not isinstance(error, ConnectionRefusedError | FileNotFoundError)
        return True

    # - The file

    @property
    def _path(self) -> str:
        return os.path.join(self._folder, "board")

    def found(self) -> tuple[int, int]:
        """Which file stands there now; a seat on another one is void."""
        return self._identity if self._current() is not None else (0, 0)

    @property
    def folder(self) -> str:
        """Where the sockets are."""
        return self._folder

    def _current(self, *, make: bool = False) -> mmap.mmap | None:
        """The map of the file that stands there now."""
        path = f"{self._database}-peers/board"
        try:
            found = os.stat(path)
        except OSError:
            if not make:
                return None
            folder_of(self._database)
        else:
            if (found.st_dev, found.st_ino) == self._identity:
                return self._map
        return self._mapped(path)

    def _mapped(self, path: str) -> mmap.mmap | None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            # Read-only for this user: it wakes nobody.
            logger.debug("the board of %s can't be used: %s", self._database, error)
            return None
        try:
            if os.fstat(descriptor).st_size < _SIZE:
                os.ftruncate(descriptor, _SIZE)
            found = os.fstat(descriptor)
            self._map = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
        self._folder = os.path.dirname(path)
        self._identity = (found.st_dev, found.st_ino)
        return self._map

    def write_row(self, seat: int, kind: int, names: Iterable[str] | None) -> None:
        """Arm a seat for these names, or for everything."""
        board = self._map
        if board is None:
            return
        sums = None if names is None else [checksum(name) for name in names]
        if sums is None or len(sums) > _MOST_SUMS:
            number, sums = _EVERYTHING, []
        else:
            number = len(sums)
        padded = sums + [0] * (_MOST_SUMS - len(sums))
        _ROW.pack_into(board, _SEATS + seat * _ROW.size, os.getpid(), number, 0, *padded)
        board[seat] = kind

    def has_missed(self, seat: int) -> bool:
        """Whether a datagram was dropped; asked before everything is read, so it is armed again."""
        if self._map is None or self._map[seat] != _MISSED:
            return False
        self._map[seat] = _WATCHING
        return True

    def disarm(self, seat: int) -> None:
        """Nobody sleeps there."""
        if self._map is not None:
            self._map[seat] = 0

    def leave(self, seat: int) -> None:
        """The seat is free again."""
        board = self._map
        if board is None:
            return
        with suppress(OSError), self._locked():
            # Else who sits down in this moment would lose the socket that is deleted here.
            self.disarm(seat)
            struct.pack_into("<I", board, _SEATS + seat * _ROW.size, 0)
            os.unlink(socket_path(self._folder, str(seat)))

    def close(self) -> None:
        """Let go of the sending socket; the map goes with its last user."""
        if self._sender is not None and self._sender_pid == os.getpid():
            self._sender.close()
        self._sender = None


class Seat:
    """One sleeper's place: a bound socket and a row on the board."""

    def __init__(self, board: Board, number: int) -> None:
        self._board = board
        self._number = number
        self._pid = os.getpid()
        self._identity = board.found()
        path = socket_path(board.folder, str(number))
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.bind(path)
            board.write_row(number, 0, ())
        except BaseException:
            self._socket.close()
            raise

    @property
    def is_valid(self) -> bool:
        """False in a forked child, and where the board was replaced."""
        return self._pid == os.getpid() and self._identity == self._board.found()

    def fileno(self) -> int:
        """To poll on."""
        return self._socket.fileno()

    def sleep_for_messages(self, queues: Sequence[str]) -> None:
        """Arm; look at the database after this, before sleeping."""
        self._board.write_row(self._number, _ASLEEP, queues)

    def watch(self, task_ids: Sequence[str]) -> None:
        """Arm, until ``leave``."""
        self._board.write_row(
            self._number, _WATCHING, task_ids if len(task_ids) <= _MOST_SUMS else None
        )

    def listen(self, names: Sequence[str]) -> None:
        """Arm for notices, until ``leave``."""
        self._board.write_row(self._number, _LISTENING, names)

    def disarm(self) -> None:
        """Awake."""
        self._board.disarm(self._number)

    def drained(self) -> set[str] | None:
        """Which records were told of; None: one was dropped, read everything."""
        told: set[str] = set()
        is_complete = True
        while True:
            try:
                text = self._socket.recv(1 << 18)
            except BlockingIOError:
                break
            if text == b"r":
                is_complete = False
            elif text.startswith(b"r"):
                ids = text[1:].decode("utf-8", "surrogatepass")
                told.update(ids.split(_SEPARATOR.decode()))
        if self._board.has_missed(self._number):
            is_complete = False
        return told if is_complete else None

    def close(self) -> None:
        """Give the seat up; in a forked child only its copy of the socket."""
        if self.is_valid:
            self._board.leave(self._number)
        self._socket.close()


def sleep(seat: Seat | None, wake_fd: int | None, seconds: float) -> tuple[bool, bool]:
    """Sleep until the seat is woken or ``wake_fd`` is readable; which of the two it was."""
    poll = select.poll()
    if seat is not None:
        poll.register(seat.fileno(), select.POLLIN)
    if wake_fd is not None:
        poll.register(wake_fd, select.POLLIN)
    # Rounded up: a poll that ends a fraction of a millisecond early would spin.
    ready = {descriptor for descriptor, _ in poll.poll(max(0, int(seconds * 1000) + 1))}
    return seat is not None and seat.fileno() in ready, wake_fd in ready


def _seats(armed: bytes, kind: int) -> list[int]:
    found, seat = [], armed.find(kind)
    while seat >= 0:
        found.append(seat)
        seat = armed.find(kind, seat + 1)
    return found


def _hits(board: mmap.mmap, seat: int, wanted: Mapping[int, int]) -> list[int]:
    """Which of the wanted checksums a seat sleeps for."""
    _, number, _, *sums = _ROW.unpack_from(board, _SEATS + seat * _ROW.size)
    if number == _EVERYTHING:
        return list(wanted)
    return [each for each in sums[:number] if each in wanted]
