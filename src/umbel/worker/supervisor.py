"""The outer process of a worker: it keeps children, and nothing that a task does can stop it.

It is single-threaded, imports no app and runs no user code. It holds the heartbeat at the broker,
sees every death within milliseconds, recovers what the dead held, keeps time limits, gives back
what waits behind long tasks, and stops the worker in order. Between events it sleeps in one
``poll``; an idle worker costs a sweep a second and a heartbeat every two.

Theory of operation. *Starting* until the nursery has imported the app; *working*; then *warm*
(children were told to stop, finish what runs and hand back the rest) or *cold* (children are
killed, and what ran is handed back, uncounted); *leaving* when all seats are empty and the broker
knows of it, while the app says good-bye; *over*. A crash of this process at any point ends nursery
and children by the kernel's hand; their leases run out, and the next worker's sweep brings
everything back.
"""

from __future__ import annotations

import logging
import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Any

from umbel.model.clock import monotonic_ns, monotonic_s
from umbel.model.errors import ImproperlyConfigured, OperationalError, UmbelError
from umbel.ports.broker import Broker, SweepPolicy
from umbel.ports.engine import Pair
from umbel.worker import briefing as briefings
from umbel.worker import losses, nodes, parentage, verdicts
from umbel.worker.alarms import Alarms
from umbel.worker.briefing import Briefing
from umbel.worker.desk import Desk
from umbel.worker.duties import Duties
from umbel.worker.health import Health, Picture
from umbel.worker.nursery import Nursery
from umbel.worker.orders import Orders
from umbel.worker.rearing import Prepare
from umbel.worker.reloading import Reloader
from umbel.worker.saying import forget_logs, say, set_up_logs
from umbel.worker.slots import Board
from umbel.worker.staff import Staff
from umbel.worker.upkeep import Upkeep

logger = logging.getLogger(__name__)

_HEEDED = (
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
)
# The longest sleep; deaths and requests end it sooner.
_LONGEST_SLEEP_NS = 5_000_000_000
# How long a stopping worker waits for a broker that is away, and for user code in the nursery.
_BROKER_PATIENCE_S = 10.0
_NURSERY_PATIENCE_S = 5.0

EXIT_OK = 0
EXIT_FAILED = 1

OpenPair = Callable[[Briefing], Pair]


class Phase(IntEnum):
    """How far a worker has come; it only grows."""

    STARTING = 0
    WORKING = 1
    WARM = 2
    COLD = 3
    LEAVING = 4
    OVER = 5


class Supervisor:
    """One worker; ``run`` is its life."""

    def __init__(
        self,
        node: str,
        prepare: Prepare,
        open_pair: OpenPair,
        *,
        remaps_term: bool = False,
        health: Health | None = None,
        is_reloading: bool = False,
    ) -> None:
        self.node = node
        self.worker = nodes.worker_id(node)
        self.phase = Phase.STARTING
        self.wants_restart = False
        self._open_pair = open_pair
        self._remaps_term = remaps_term  # REMAP_SIGTERM=SIGQUIT, as Heroku's users set it
        self._exit_code = EXIT_OK
        self._board = Board()
        self._poll = select.poll()
        self._alarms = Alarms(_HEEDED)
        self._poke_read, self._poke_write = os.pipe()
        os.set_blocking(self._poke_read, False)
        os.set_blocking(self._poke_write, False)
        self._poll.register(self._alarms.fileno(), select.POLLIN)
        self._poll.register(self._poke_read, select.POLLIN)
        self._health = health
        if health is not None:
            health.begin(self._picture, self._poll)
        # --reload: who watches the app's files.
        self._reloader = Reloader(self._poll, self._reload) if is_reloading else None
        self._is_adopting = parentage.become_subreaper()
        self._nursery = Nursery(
            self._board,
            prepare,
            poke_fd=self._poke_write,
            is_adopting=self._is_adopting,
            poll=self._poll,
            forget=self._forget_in_fork,
        )
        self._pair: Pair | None = None
        # The next three are there from WORKING on.
        self._upkeep: Upkeep | None = None
        self._staff: Staff | None = None
        self._duties: Duties | None = None
        self._started_s = monotonic_s()
        self._is_restarting = False  # the nursery, to import the app anew for new children
        self._grace_s = 0.0
        self._was_ready = False
        self._cold_at_s: float | None = None  # when the grace of a warm stop ends
        self._leave_at_s: float | None = None  # when what is away is waited for no more

    @property
    def target(self) -> int:
        """How many children there are to be; the worker grows or shrinks to it."""
        return self._staff.seats.target if self._staff is not None else 0

    @target.setter
    def target(self, children: int) -> None:
        if self._staff is not None:
            self._staff.seats.target = children

    def stop(self, by: str) -> None:
        """Finish what runs, and end."""
        self._stop_warm(by)

    def beat(self) -> None:
        """Send a heartbeat event, where events are sent."""
        if self._duties is not None:
            self._duties.beat()

    def restart_pool(self) -> None:
        """Import the app anew; when that has worked, replace all children.

        Where it fails children go on with the app that they have, and it is tried again.
        """
        if self.phase is Phase.WORKING:
            self._is_restarting = True
            self._nursery.kill()

    def _reload(self) -> None:
        self._nursery.hasten()
        self.restart_pool()

    def order(self, **changes: Any) -> Orders:
        """Change fields of the children's orders; gives what stands. Raises ``ValueError``."""
        orders = self._board.orders.change(**changes)
        if self._staff is not None:
            self._staff.announce_orders()
        return orders

    def run(self) -> int:
        """Live; gives the exit code."""
        try:
            self._nursery.start()
            while self.phase is not Phase.OVER:
                self._turn()
        finally:
            self._close()
        return self._exit_code

    # - One turn of the loop

    def _turn(self) -> None:
        self._board.stay_awake()
        wake_ns = self._keep()
        if self.phase is Phase.OVER:
            return
        # Whoever has news that can't wait until then pokes us, from before the look above on.
        self._board.sleep_until(wake_ns)
        events = self._poll.poll(max((wake_ns - monotonic_ns()) / 1e6, 0.0))
        self._board.stay_awake()
        for fd, _ in events:
            if fd == self._alarms.fileno():
                for number in self._alarms.rung():
                    self._heed(number)
            elif fd == self._poke_read:
                with suppress(BlockingIOError):
                    os.read(self._poke_read, 65536)
            elif fd == self._nursery.fileno():
                self._listen()
            elif not self._is_a_guests(fd) and self._staff is not None:
                self._staff.is_readable(fd)

    def _is_a_guests(self, fd: int) -> bool:
        if self._duties is not None and self._duties.is_readable(fd):
            return True
        if self._reloader is not None and self._reloader.is_readable(fd):
            return True
        return self._health is not None and self._health.is_readable(fd)

    def _keep(self) -> int:
        """Do what is due; gives when to look again (monotonic ns)."""
        wakes: list[int | None] = [monotonic_ns() + _LONGEST_SLEEP_NS]
        if self.phase is Phase.WORKING and not self._nursery.pid:
            if monotonic_s() >= self._nursery.start_at_s:
                self._nursery.start()
            else:
                wakes.append(_ns(self._nursery.start_at_s))
        if self._staff is not None and self._upkeep is not None:
            wakes.append(self._staff.keep())
            wakes.append(self._keep_up(self._staff, self._upkeep))
            self._keep_working(self._staff)
            if self._duties is not None:
                wakes.append(
                    self._duties.keep(
                        is_working=self.phase is Phase.WORKING,
                        is_leaving=self.phase >= Phase.LEAVING,
                    )
                )
        wakes.append(self._keep_stopping())
        if self._health is not None:
            wakes.append(_ns(self._health.keep()))
        return min(wake for wake in wakes if wake is not None)

    def _picture(self) -> Picture:
        """How this worker is, for whoever watches over it."""
        state = "working" if self._was_ready else "starting"
        if self.phase >= Phase.WARM:
            state = "stopping"
        return Picture(
            self.node,
            state,
            alive=0 if self._staff is None else len(self._staff.seats.alive()),
            wanted=self.target,
            outage_s=None if self._upkeep is None else self._upkeep.outage.lasted_s,
        )

    def _keep_up(self, staff: Staff, upkeep: Upkeep) -> int:
        due_s = staff.noted_due_s()
        if due_s is not None:
            upkeep.note_due(due_s)
        upkeep.tend(staff.consumers())
        return int(upkeep.next_at() * 1e9)

    def _keep_working(self, staff: Staff) -> None:
        if self.phase is not Phase.WORKING:
            return
        if staff.seats.are_hopeless:
            self._fail(
                "children die at start, again and again; the last one with "
                f"{losses.words(staff.last_death)}. What they wrote stands above"
            )
        elif not self._was_ready and staff.seats.are_ready:
            self._was_ready = True
            logger.info("%s ready.", self.node, extra={"event": "worker-ready"})
            self._nursery.tell("worker_ready", {})

    # - What the world says

    def _heed(self, number: int) -> None:
        if number == signal.SIGTERM and self._remaps_term:
            number = signal.SIGQUIT
        match number:
            case signal.SIGCHLD:
                self._reap()
            case signal.SIGTERM:
                self._stop_warm("SIGTERM")
            case signal.SIGINT if self.phase < Phase.WARM:
                say("worker: Hitting Ctrl+C again will terminate all running tasks!")
                self._stop_warm("SIGINT")
            case signal.SIGINT:
                self._stop_cold("SIGINT")
            case signal.SIGQUIT:
                self._stop_cold("SIGQUIT")
            case signal.SIGHUP:
                # Asked for by an operator, or of a terminal that was closed.
                self.wants_restart = self.phase < Phase.WARM and not os.isatty(0)
                self._stop_warm("SIGHUP")
            case signal.SIGUSR1 if self._staff is not None:
                self._staff.log_picture()

    def _listen(self) -> None:
        for said in self._nursery.arrived():
            match said["is"]:
                case "ready" if self.phase is Phase.STARTING:
                    self._begin(briefings.from_dict(said["briefing"]))
                case "ready" if self._is_restarting and self._staff is not None:
                    self._is_restarting = False
                    self._staff.replace_all()
                case "answer" if self._duties is not None:
                    self._duties.answered(said["number"], said["text"])
                    self._heed_stop(said["stops"])
                case "forked" if self._staff is not None:
                    self._staff.welcome(said["number"], said["generation"], said["pid"])
                case "unforked" if self._staff is not None:
                    logger.error("No child could be forked: %s", said["error"])
                    self._staff.seats.not_born(said["number"], said["generation"])
                case "changed":
                    self._notice(said["pid"], said["status"])
            if said["is"] == "ready" and self._reloader is not None:
                self._reloader.watch(said["briefing"]["files"])

    def _heed_stop(self, wish: str) -> None:
        """A user's command may raise what ends a worker."""
        if wish == "WorkerShutdown":
            self._stop_warm("a command")
        elif wish == "WorkerTerminate":
            self._stop_cold("a command")

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if not pid:
                return
            self._notice(pid, status)

    def _notice(self, pid: int, status: int) -> None:
        if pid == self._nursery.pid:
            if not os.WIFSTOPPED(status):
                self._nursery_died(os.waitstatus_to_exitcode(status))
        elif self._staff is not None:
            self._staff.notice(pid, status)

    def _nursery_died(self, code: int) -> None:
        self._listen()  # what it said before
        self._nursery.died()
        if self._duties is not None:
            self._duties.forget_asked()
        if self._staff is not None:
            self._staff.nursery_died(are_orphans=not self._is_adopting)
        if self.phase is Phase.STARTING:
            if not self._nursery.has_failed:
                say(f"Error: the import of the app ended its process: {losses.words(code)}")
            self._exit_code = EXIT_FAILED
            self.phase = Phase.OVER
        elif self.phase is Phase.WORKING and not self._is_restarting:
            logger.error(
                "The process that holds the app ended with %r; it is started again, and children "
                "go on.",
                losses.words(code),
                extra={"event": "nursery-ended"},
            )

    def _begin(self, briefing: Briefing) -> None:
        """The app is known: reach the broker and ask for children."""
        set_up_logs(briefing.log)
        try:
            self._pair, broker = self._reach(briefing)
        except UmbelError as error:
            self._fail(str(error))
            return
        policy = SweepPolicy(
            briefing.lease_s,
            briefing.sweep_s,
            briefing.max_deliveries,
            verdicts.poison(briefing.max_deliveries),
            verdicts.begun(),
        )
        self._grace_s = briefing.grace_s
        self._upkeep = Upkeep(broker, policy, briefing.beat_s, store=self._pair.store)
        self._staff = Staff(
            worker=self.worker,
            node=self.node,
            briefing=briefing,
            board=self._board,
            poll=self._poll,
            nursery=self._nursery,
            upkeep=self._upkeep,
        )
        if briefing.events.of_tasks:
            self.order(events=True)
        desk = Desk(
            node=self.node,
            worker=self.worker,
            started_s=self._started_s,
            briefing=briefing,
            broker=broker,
            staff=self._staff,
            upkeep=self._upkeep,
            orders=self._board.orders,
            clock=self._board.clock,
            verbs=self,
        )
        self._duties = Duties(desk, self._nursery, self._poll)
        self.phase = Phase.WORKING
        self._upkeep.bind(briefing.bindings)
        self._upkeep.tend(())
        if not self._upkeep.outage.is_on:
            logger.info("Connected to %s", broker.url)
            self._warn_of_namesakes(broker)

    def _reach(self, briefing: Briefing) -> tuple[Pair, Broker]:
        pair = self._open_pair(briefing)
        if pair.broker is None:
            raise ImproperlyConfigured("a worker needs a broker: set broker_url")
        return pair, pair.broker

    def _warn_of_namesakes(self, broker: Broker) -> None:
        try:
            workers = broker.workers()
        except OperationalError:
            # The upkeep finds out, and tells, at its next turn; this was only a courtesy.
            return
        if nodes.runs_of(self.node, workers) - {self.worker}:
            logger.warning(
                "DuplicateNodenameWarning: another worker named %s uses this broker, or ended "
                "without saying so a few seconds ago. Both work, but can't be told apart: give "
                "each its own name with -n",
                self.node,
                extra={"event": "duplicate-node"},
            )

    # - Stopping

    def _stop_warm(self, by: str) -> None:
        """Finish what runs, hand back the rest."""
        if self.phase >= Phase.WARM:
            return
        say("worker: Warm shutdown (MainProcess)")
        self._announce_stop(by, "Warm", EXIT_OK)
        self.phase = Phase.WARM
        if self._grace_s > 0:
            self._cold_at_s = monotonic_s() + self._grace_s
        if self._duties is not None:
            self._duties.stop()
        if self._staff is not None:
            self._staff.dismiss_all()

    def _stop_cold(self, by: str) -> None:
        """Kill what runs, hand back everything."""
        if self.phase >= Phase.COLD:
            return
        say("worker: Cold shutdown (MainProcess)")
        if self.phase < Phase.WARM:
            self._announce_stop(by, "Cold", EXIT_FAILED)
        self._exit_code = EXIT_FAILED
        self._kill_all()

    def _fail(self, why: str) -> None:
        """Stop because the worker can't work."""
        say(f"Error: {why}")
        self._exit_code = EXIT_FAILED
        self._kill_all()

    def _kill_all(self) -> None:
        self.phase = Phase.COLD
        if self._duties is not None:
            self._duties.stop()
        if self._staff is not None:
            self._staff.kill_all()

    def _announce_stop(self, by: str, how: str, code: int) -> None:
        self._nursery.tell("worker_shutting_down", {"sig": by, "how": how, "exitcode": code})

    def _keep_stopping(self) -> int | None:
        """Go on with a stop; gives when to look again."""
        now = monotonic_s()
        if self.phase is Phase.WARM and self._cold_at_s is not None and now >= self._cold_at_s:
            logger.warning("The grace of a warm shutdown is over; what still runs is handed back")
            self._kill_all()
        if self.phase in (Phase.WARM, Phase.COLD):
            if self._staff is not None and not self._staff.seats.are_empty:
                return _ns(self._cold_at_s) if self.phase is Phase.WARM else None
            if self._is_broker_awaited(now):
                return _ns(self._leave_at_s)
            self.phase = Phase.LEAVING
            if self._duties is not None:
                self._duties.leave()
            self._leave_at_s = now + _NURSERY_PATIENCE_S
            self._nursery.ask_stop()
        if self.phase is Phase.LEAVING:
            if not self._nursery.pid:
                self.phase = Phase.OVER
            elif self._leave_at_s is not None and now >= self._leave_at_s:
                self._nursery.kill()
                self._leave_at_s = now + _NURSERY_PATIENCE_S
            return _ns(self._leave_at_s)
        return None

    def _is_broker_awaited(self, now: float) -> bool:
        if self._upkeep is None or not self._upkeep.is_owing:
            return False
        if self._leave_at_s is None:
            self._leave_at_s = now + _BROKER_PATIENCE_S
        if now < self._leave_at_s:
            return True
        logger.error("The broker is away: what is left here comes back when the leases run out")
        return False

    def _forget_in_fork(self) -> None:
        """In the nursery: let go of what is the supervisor's alone."""
        forget_logs()
        self._alarms.forget_in_fork()
        os.close(self._poke_read)
        for guest in (self._health, self._reloader):
            if guest is not None:
                guest.close_in_fork()
        if self._duties is not None:
            self._duties.close_in_fork()
        if self._staff is not None:
            self._staff.close_in_fork()

    def _close(self) -> None:
        self._nursery.kill()
        if self._reloader is not None:
            self._reloader.close()
        if self._duties is not None:
            self._duties.close()
        if self._staff is not None:
            self._staff.kill_all()
        self._nursery.close()
        self._alarms.close()
        os.close(self._poke_read)
        os.close(self._poke_write)
        self._board.close()
        if self._pair is not None:
            for engine in (self._pair.broker, self._pair.store):
                if engine is not None:
                    engine.close()


def _ns(at_s: float | None) -> int | None:
    return None if at_s is None else int(at_s * 1e9)
