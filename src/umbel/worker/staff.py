"""All children of a worker: hired, watched, held to their limits, buried.

The supervisor tells this room what the world says (a child was forked, a process changed its
state) and calls ``keep`` each turn; what children held when they died, and what waits behind their
long tasks, goes from here to the upkeep.
"""

from __future__ import annotations

import logging
import os
import select
import signal

from umbel.model.clock import monotonic_ns, monotonic_s
from umbel.worker import limits, losses
from umbel.worker.briefing import Briefing
from umbel.worker.giveback import GiveBack
from umbel.worker.nursery import Nursery
from umbel.worker.options import ChildOptions
from umbel.worker.seats import Seat, Seats, Stage
from umbel.worker.slots import Board, Running
from umbel.worker.upkeep import Upkeep

logger = logging.getLogger(__name__)

# A nursery that does not fork for so long hangs in user code.
_FORK_LIMIT_S = 30.0
_ORPHAN_LOOK_NS = 20_000_000


class Staff:
    """The children of one worker."""

    def __init__(
        self,
        *,
        worker: str,
        node: str,
        briefing: Briefing,
        board: Board,
        poll: select.poll,
        nursery: Nursery,
        upkeep: Upkeep,
    ) -> None:
        self.seats = Seats(board, briefing.children, briefing.threads)
        self.last_death = 0  # exit code, or minus the signal
        self._worker = worker
        self._node = node
        self._briefing = briefing
        self._nursery = nursery
        self._upkeep = upkeep
        self._give_back = GiveBack(poll)
        self._is_hiring = True
        self._is_killing = False
        # Without a subreaper: children whose parent, the nursery, is dead.
        self._orphans: list[Seat] = []
        # Deaths of processes that the nursery has not told of yet.
        self._strangers: dict[int, int] = {}

    # - What the world says

    def welcome(self, number: int, generation: int, pid: int) -> None:
        """The nursery has forked a child."""
        seat = self.seats.take(number, generation, pid)
        if seat is None:
            return
        self._give_back.add(seat)
        if pid in self._strangers:
            self.notice(pid, self._strangers.pop(pid))
        elif self._is_killing:
            seat.send_signal(signal.SIGKILL)
        elif not self._is_hiring:
            _dismiss(seat)

    def notice(self, pid: int, status: int) -> None:
        """A process has died or was stopped: a child, or an orphan that a task left behind."""
        seat = self.seats.by_pid(pid)
        if os.WIFSTOPPED(status):
            if seat is not None and seat.stage is Stage.FROZEN:
                self._convict(seat)
        elif seat is not None:
            self._bury(seat, os.waitstatus_to_exitcode(status))
        elif self.seats.asked():
            self._strangers[pid] = status

    def nursery_died(self, *, are_orphans: bool) -> None:
        """Nobody will tell of children that were asked for; ``are_orphans``: nor of deaths."""
        self.seats.disown_asked()
        for pid in list(self._strangers):
            # Forked, and dead before we knew that it was one of ours.
            if self.seats.by_pid(pid) is not None:
                self.notice(pid, self._strangers.pop(pid))
        if are_orphans:
            self._orphans = self.seats.alive()
            for seat in self._orphans:
                seat.send_signal(signal.SIGKILL)

    # - What is kept up, turn by turn

    def keep(self) -> int | None:
        """Hire, dismiss, watch; gives when to look again (monotonic ns)."""
        if self._is_hiring:
            self._keep_seats()
        self._watch_nursery()
        self._end_what_is_lost()
        wakes = [
            self._keep_limits(),
            self._keep_giving_back(),
            self._keep_orphans(),
            self._keep_starting(),
        ]
        if self._is_hiring:
            wakes.append(_ns(self.seats.next_at()))
        return min((wake for wake in wakes if wake is not None), default=None)

    def consumers(self) -> list[str]:
        """Who is to be renewed."""
        alive = self.seats.alive()
        return [seat.slot.consumer(self._worker) for seat in alive if seat.slot.epoch]

    def counts(self) -> tuple[int, int]:
        """How many tasks run, and how many have ended here."""
        slots = [seat.slot for seat in self.seats]
        return sum(len(slot.running()) for slot in slots), sum(slot.done for slot in slots)

    def noted_due_s(self) -> float | None:
        """The earliest due time that a child has noted since the last call (unix seconds)."""
        noted = []
        for seat in self.seats.alive():
            due_s = seat.slot.due_s
            if due_s is not None and due_s != seat.noted_due_s:
                seat.noted_due_s = due_s
                noted.append(due_s)
        return min(noted, default=None)

    def announce_orders(self) -> None:
        """Wake children that sleep, so that they look at the orders."""
        for seat in self.seats.alive():
            seat.send_signal(signal.SIGUSR2)

    def end_task(self, seat: Seat, running: Running, task: str, signal_name: str) -> None:
        """End what runs there from outside, if it still runs when the child stands still."""
        if seat.stage in (Stage.TAKEN, Stage.LEAVING):
            limits.freeze(seat, limits.termination(running, task, signal_name))

    def give_back_unstarted(self, seat: Seat) -> None:
        """Let what a child has leased and not begun be leased anew."""
        for epoch, tokens in seat.slot.drain().items():
            self._upkeep.release(seat.slot.consumer(self._worker, epoch), tokens)

    def replace_all(self) -> None:
        """Let everybody finish what runs and leave; others come in their place."""
        for seat in self.seats.alive():
            _dismiss(seat)

    def dismiss_all(self) -> None:
        """Hire nobody, and let everybody finish what runs."""
        self._is_hiring = False
        for seat in self.seats.alive():
            _dismiss(seat)

    def kill_all(self) -> None:
        """End everybody at once; what ran is not held against its task."""
        self._is_hiring = False
        self._is_killing = True
        if self.seats.asked():
            # It may be forking just now: with it gone, what it forked is known.
            self._nursery.kill()
        for seat in self.seats.alive():
            seat.send_signal(signal.SIGKILL)

    def log_picture(self) -> None:
        """One line per child, for an operator who asks with SIGUSR1."""
        now_ns = monotonic_ns()
        for seat in self.seats:
            tasks = [
                f"token {running.token} for {(now_ns - running.started_ns) / 1e9:.1f} s"
                for running in seat.slot.running()
            ]
            logger.warning(
                "%s pid:%d %s, %d done, runs %s",
                self._name_of(seat),
                seat.pid,
                seat.stage.value,
                seat.slot.done,
                ", ".join(tasks) or "nothing",
            )

    def close_in_fork(self) -> None:
        """In a forked process: let go of the pipes, which are the supervisor's."""
        for seat in self.seats:
            if seat.slot.read_fd >= 0:
                os.close(seat.slot.read_fd)

    # - Steps

    def _keep_seats(self) -> None:
        if not self.seats.asked():
            self._strangers.clear()
        for seat in self.seats.to_clear():
            _dismiss(seat)
        if self._nursery.is_ready:
            for seat in self.seats.to_fill():
                if not self._ask_for(seat):
                    break

    def _ask_for(self, seat: Seat) -> bool:
        writing = self.seats.ask(seat)
        options = self._options_of(seat.slot.index)
        files = [seat.slot.read_fd, writing]
        asked = self._nursery.ask_fork(options._asdict(), seat.generation, files)
        os.close(writing)
        if not asked:
            self.seats.not_born(seat.slot.index, seat.generation)
        return asked

    def _options_of(self, number: int) -> ChildOptions:
        briefing = self._briefing
        return ChildOptions(
            worker=self._worker,
            hostname=self._node,
            number=number,
            pool=briefing.pool,
            threads=briefing.threads,
            queues=briefing.queues,
            lease_s=briefing.lease_s,
            max_tasks=briefing.max_tasks,
            max_memory_kib=briefing.max_memory_kib,
            time_limit=briefing.time_limit,
            soft_time_limit=briefing.soft_time_limit,
            prefetch_multiplier=briefing.prefetch_multiplier,
            worker_pid=os.getpid(),
        )

    def _watch_nursery(self) -> None:
        now = monotonic_s()
        if self._nursery.pid and any(
            now - seat.asked_s > _FORK_LIMIT_S for seat in self.seats.asked()
        ):
            logger.error(
                "The process that holds the app has not forked for %d s: user code hangs in it. "
                "It is killed and started again.",
                _FORK_LIMIT_S,
            )
            self._nursery.kill()

    def _keep_starting(self) -> int | None:
        """A child whose start takes too long hangs in user code, and is replaced."""
        limit_s = self._briefing.start_limit_s
        if limit_s is None:
            return None
        starting = [seat for seat in self.seats.starting() if not seat.slot.is_up]
        late = [seat for seat in starting if monotonic_s() - seat.taken_s >= limit_s]
        for seat in late:
            logger.error(
                "Process %r pid:%d has not started within %s s (worker_proc_alive_timeout); "
                "it is replaced",
                self._name_of(seat),
                seat.pid,
                limit_s,
                extra={"event": "child-start-timeout", "pid": seat.pid},
            )
            seat.send_signal(signal.SIGKILL)
        waiting = [seat.taken_s + limit_s for seat in starting if seat not in late]
        return _ns(min(waiting, default=None))

    def _end_what_is_lost(self) -> None:
        """What has lost its lease can't settle; who asks for it has it ended at once."""
        given_up = self._upkeep.newly_given_up()
        if not given_up or not self._briefing.is_ending_what_is_lost:
            return
        for seat in self.seats.alive():
            if seat.slot.running() and seat.slot.consumer(self._worker) in given_up:
                logger.warning(
                    "Process %r pid:%d is ended: what it runs was lost with the connection, and "
                    "runs elsewhere",
                    self._name_of(seat),
                    seat.pid,
                    extra={"event": "child-lost-lease", "pid": seat.pid},
                )
                seat.stage = Stage.LEAVING
                seat.send_signal(signal.SIGKILL)

    def _keep_limits(self) -> int | None:
        look = limits.look(self.seats, monotonic_ns())
        for exceeded in look.soft:
            if limits.warn(exceeded):
                logger.warning(
                    "Soft time limit (%ss) exceeded in %s",
                    exceeded.soft_limit_s,
                    self._name_of(exceeded.seat),
                    extra={"event": "soft-time-limit", "pid": exceeded.seat.pid},
                )
        for exceeded in look.hard:
            limits.freeze(exceeded.seat, limits.hard_limit(exceeded))
        return look.next_ns

    def _keep_orphans(self) -> int | None:
        """Nobody tells of the deaths of these: look for them, until all are gone."""
        for seat in self._orphans:
            try:
                os.kill(seat.pid, 0)
            except ProcessLookupError:
                self._bury(seat, -signal.SIGKILL)
        self._orphans = [seat for seat in self._orphans if seat.is_alive]
        return monotonic_ns() + _ORPHAN_LOOK_NS if self._orphans else None

    def _keep_giving_back(self) -> int | None:
        for given in self._give_back.look(monotonic_ns()):
            consumer = given.slot.consumer(self._worker, given.epoch)
            self._upkeep.release(consumer, given.tokens)
        return self._give_back.next_ns()

    def is_readable(self, fd: int) -> None:
        """``poll`` has named a descriptor that is a child's pipe."""
        self._give_back.is_readable(fd, monotonic_ns())

    def _convict(self, seat: Seat) -> None:
        sentence = seat.sentence
        if limits.convict(seat) and sentence is not None:
            losses.log_sentence(sentence, self._name_of(seat), seat.pid)

    def _bury(self, seat: Seat, code: int) -> None:
        """A child is dead: its seat is free, and what it held goes back."""
        self._give_back.remove(seat)
        self.last_death = code
        departure = self.seats.died(seat, code)
        losses.log_death(departure, self._name_of(seat), is_our_stop=self._is_killing)
        if departure.epoch:
            self._upkeep.recover(
                seat.slot.consumer(self._worker, departure.epoch),
                losses.losses_of(departure, is_our_stop=self._is_killing),
            )

    def _name_of(self, seat: Seat) -> str:
        if self._briefing.pool == "prefork":
            return f"ForkPoolWorker-{seat.slot.index + 1}"
        return f"{self._briefing.pool} worker"


def _dismiss(seat: Seat) -> None:
    if seat.stage is Stage.TAKEN:
        seat.stage = Stage.LEAVING
        seat.send_signal(signal.SIGTERM)
    elif seat.stage is Stage.FROZEN:
        # Told when it runs again; if it is convicted, there is nobody to tell.
        seat.stage_before = Stage.LEAVING
        seat.send_signal(signal.SIGTERM)


def _ns(at_s: float | None) -> int | None:
    return None if at_s is None else int(at_s * 1e9)
