"""One process that runs tasks: it claims, runs and settles by itself.

Theory of operation. A child is one consumer. Its loop is *claim a batch - run - settle*, and the
settlements of one batch travel in the same write as the claim of the next. A task is, at any
moment, in one of these places:

- *leased and not begun*: its token lies in the give-back pipe of the slot. The child takes a token
  out before it begins; the supervisor may take out the rest first, and releases it at the broker.
  A crash here costs nothing: the message goes back uncounted;
- *running*: its token stands in the slot's lane. A crash counts one delivery for it;
- *ended, settlement pending*: in ``pending`` only. A crash here repeats the task (at least once),
  so pending settlements are written before anything that is not known to be short begins.

The loops are in ``inline.py`` and ``threads.py``; what runs coroutines later is a third one.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, Protocol

from umbel.app import logs, rates, signals
from umbel.app.app import App
from umbel.app.execution import Plan, execute, traceback_of
from umbel.model.clock import monotonic_ns, unix_s
from umbel.model.errors import OperationalError, SoftTimeLimitExceeded
from umbel.model.lamport import LamportClock
from umbel.model.lease import Lease
from umbel.model.outcome import Failed, Outcome
from umbel.model.request import running
from umbel.model.settlement import Settlement
from umbel.wire import serializers
from umbel.wire.event_notices import Speaker
from umbel.worker import points, report, titles
from umbel.worker.consumer import Consumer
from umbel.worker.intake import Decided, Intake, Job, Joined, Parked, Unreadable, zone_of
from umbel.worker.interrupting import Interrupter
from umbel.worker.options import ChildOptions
from umbel.worker.orders import Orders
from umbel.worker.rates import Rates
from umbel.worker.revoked import Revoked
from umbel.worker.settler import Settler
from umbel.worker.telling import Telling
from umbel.worker.workloop import Worker

logger = logging.getLogger(__name__)

# How long an idle child sleeps at most before it looks at its queues again: the backstop for a
# wake-up that the network swallowed.
IDLE_S = 60.0
# A supervisor is asked to look for due messages at most this often by one child.
HINT_NS = 50_000_000


class Slot(Protocol):
    """What a child tells its supervisor, through shared memory and a pipe."""

    def open_epoch(self) -> int: ...

    def consumer(self, worker: str) -> str: ...

    def offer(self, tokens: Sequence[int]) -> None: ...

    def take(self) -> int | None: ...

    def begin(
        self, token: int, soft_s: float | None, hard_s: float | None, lane: int = 0
    ) -> None: ...

    def set_manners(self, manners: int, lane: int = 0) -> None: ...

    def end(self, lane: int = 0) -> None: ...

    def is_past_soft_limit(self, lane: int = 0) -> bool: ...

    def add_done(self, number: int, task: int = 0) -> None: ...

    def number_of(self, task: str) -> int: ...

    def note_due(self, unix_seconds: float) -> None: ...

    @property
    def rates(self) -> Rates: ...

    @property
    def watch_fd(self) -> int: ...

    def take_watch(self) -> bool: ...

    def pass_watch(self) -> None: ...

    def mark_up(self) -> None: ...

    def mark_ready(self) -> None: ...

    @property
    def orders_version(self) -> int: ...

    def orders(self) -> tuple[int, Orders]: ...

    @property
    def clock(self) -> LamportClock: ...


class Child:
    """What the loops of all pools share: plans, intake, settler, consumer, stopping."""

    def __init__(self, app: App, options: ChildOptions, slot: Slot) -> None:
        self.app = app
        self.options = options
        self.slot = slot
        self.is_stopping = False
        # How a task that outran its soft limit is told, where it runs in another thread.
        self.interrupter: Interrupter | None = None
        # When the supervisor was last asked to look for due messages, or will be.
        self._hinted_ns = 0
        self.done = 0
        self.telling: Telling | None = None  # None: nobody wants to hear of the tasks
        app.clock = slot.clock
        self.orders = Orders()
        self.orders_version = 0
        self._plans: dict[str, Plan] = {}
        self._outputs = [
            output for output in (sys.stdout, sys.stderr) if isinstance(output, logs.LoggingProxy)
        ]
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        conf = app.conf
        accept = serializers.content_types(conf.accept_content)
        result_accept = serializers.content_types(conf.result_accept_content or conf.accept_content)
        self.pair = app.open_pair()
        assert self.pair.broker is not None  # asked for by the supervisor
        revoked = Revoked(self.pair.broker.revocations)
        self.intake = Intake(
            app,
            self.plan_of,
            hostname=options.hostname,
            accept=accept,
            timezone=zone_of(conf),
            revoked=revoked,
            rates=lambda: slot.rates,
        )
        self.settler = Settler(app, self.pair.store, result_accept)
        self.consumer = Consumer(
            self.pair,
            slot,
            worker=options.worker,
            queues=options.queues,
            lease_s=options.lease_s,
            wake_fd=self._wake_read,
            revoked=revoked,
            is_stopping=lambda: self.is_stopping,
        )
        self._tells_sent = bool(conf.task_send_sent_event)

    def stop(self) -> None:
        """Claim nothing more; from a signal handler or another thread."""
        self.is_stopping = True
        self.wake()

    @property
    def wake_fd(self) -> int:
        """Readable after ``wake``."""
        return self._wake_read

    def wake(self) -> None:
        """End a wait of the loop."""
        with suppress(BlockingIOError):
            os.write(self._wake_write, b"w")

    def hint_due(self) -> None:
        """Before a wait: let the supervisor look when the next message is due.

        The last wake may have been for a message that waits for its time, of which no lease tells.
        Not for every message: what comes too soon after a look is looked for at the next.
        """
        now_ns = monotonic_ns()
        if self._hinted_ns <= now_ns:
            self._hinted_ns = max(now_ns, self._hinted_ns + HINT_NS)
            self.slot.note_due(unix_s() + (self._hinted_ns - now_ns) / 1e9)

    def plan_of(self, name: str) -> Plan | None:
        """How a task is run, worked out once per task."""
        plan = self._plans.get(name)
        if plan is None:
            task = self.app.tasks.get(name)
            if task is None:
                return None
            plan = self._plans[name] = Plan(task)
            plan.number = self.slot.number_of(name)
            plan.interval_ns = self._interval_ns(task)
            if name in self.orders.time_limits:
                plan.soft_time_limit, plan.time_limit = self.orders.time_limits[name]
        return plan

    def heed_orders(self) -> None:
        """An operator has changed something: it holds from the next claim on."""
        self.orders_version, self.orders = self.slot.orders()
        queues = self.orders.queues
        self.consumer.set_queues(self.options.queues if queues is None else queues)
        for name, (soft_s, hard_s) in self.orders.time_limits.items():
            plan = self._plans.get(name)
            if plan is not None:
                plan.soft_time_limit, plan.time_limit = soft_s, hard_s
        for plan in self._plans.values():
            plan.interval_ns = self._interval_ns(plan.task)
        if self.orders.events != (self.telling is not None):
            self.telling = self._make_telling() if self.orders.events else None

    def _make_telling(self) -> Telling:
        assert self.pair.broker is not None
        options, conf = self.options, self.app.conf
        # Whoever tells of a task is the worker, which is known by its first process.
        pid = options.worker_pid or os.getpid()
        speaker = Speaker(options.hostname, pid, conf.event_exchange, conf.event_serializer)
        return Telling(self.pair.broker.bus, speaker, self.slot.clock)

    def exchange(
        self,
        settlements: Sequence[Settlement],
        limit: int,
        *,
        holding: int = 0,
        waits: bool = False,
    ) -> list[Lease]:
        """``Consumer.exchange``, and what monitors are told of what was settled."""
        if self.telling is not None and self.telling.is_pressing:
            self.telling.flush()
        leases = self.consumer.exchange(settlements, limit, holding=holding, waits=waits)
        if self.telling is not None:
            self.telling.flush()
        if self._tells_sent and settlements:
            self.app.publisher.tell_sent(
                [message for settlement in settlements for message in settlement.messages]
            )
        return leases

    def _interval_ns(self, task: Any) -> int:
        """From one start of a task to the next, as an operator, the task or the app says."""
        if self.app.conf.worker_disable_rate_limits:
            return 0
        limit = self.orders.rate_limits.get(task.name, task.rate_limit)
        try:
            return rates.interval_ns(limit)
        except ValueError as error:
            # Of a task that was made after the worker's start, which refuses such a limit.
            logger.error("task %s runs without a rate limit: %s", task.name, error)
            return 0

    def limits_of(self, job: Job) -> tuple[float | None, float | None]:
        """(soft, hard) seconds: of the message, the task, or this worker."""
        hard, soft = job.request.timelimit or (None, None)
        options = self.options
        if hard is None:
            hard = job.plan.time_limit if job.plan.time_limit is not None else options.time_limit
        if soft is None:
            soft = job.plan.soft_time_limit
            if soft is None:
                soft = options.soft_time_limit
        return soft, hard

    def settlement_of(self, admitted: Joined | Parked | Decided | Unreadable) -> Settlement:
        """What is settled without running."""
        if isinstance(admitted, Parked):
            self.slot.note_due(admitted.due)
            if self.telling is not None and admitted.request is not None:
                self.telling.received(admitted.request)
            return self.settler.parked(admitted)
        if isinstance(admitted, Joined):
            # Its parts are read first, and a store that is away must not end this process.
            return self.consumer.read(lambda: self.settler.settle_join(admitted))
        if isinstance(admitted, Decided):
            report.decided(admitted, self.plan_of(admitted.request.task or ""))
            if self.telling is not None:
                self.telling.decided(admitted)
            return self.settler.decided(admitted)
        report.rejected(admitted.lease, None, None)
        return self.settler.unreadable(admitted)

    def admit_again(self, lease: Lease, lane: int = 0) -> Job | Settlement:
        """What a process had when it died is looked at as if it ran: a death counts against it.

        Without it a message whose decoding, verdict, callbacks or join end the process would do so
        for ever, because what has not begun goes back uncounted.
        """
        self.slot.begin(lease.token, None, None, lane)
        try:
            admitted = self.intake.admit_again(lease)
            return admitted if isinstance(admitted, Job) else self.settlement_of(admitted)
        finally:
            self.slot.end(lane)

    def may_run_ahead(self) -> bool:
        """Whether a task may begin while the broker's answer to the last settlement is awaited.

        Then nothing else may be asked of it; and where events are told, they are told of what has
        been settled.
        """
        return (
            self.telling is None
            and not self._tells_sent
            and not self.is_stopping
            and self.slot.orders_version == self.orders_version
            and not self.is_used_up()
        )

    def is_used_up(self) -> bool:
        """Whether this process has run its tasks, or has grown too large."""
        options = self.options
        if not self.done:
            # As in Celery: one that is too large when it is born runs a task all the same. Else
            # none would ever be run.
            return False
        if options.max_tasks is not None and self.done >= options.max_tasks:
            return True
        return options.max_memory_kib is not None and _resident_kib() > options.max_memory_kib

    def attempt(self, job: Job, lane: int = 0) -> Outcome:
        """Run one job, between ``begin`` and ``end`` in the slot."""
        if job.plan.track_started:
            self._tell_started(job)
        soft_s, hard_s = self.limits_of(job)
        if job.plan.manners:
            self.slot.set_manners(job.plan.manners, lane)
        # Before the limits count: who has outrun one has run at least that long.
        started = monotonic_ns()
        self.slot.begin(job.lease.token, soft_s, hard_s, lane)
        points.passed("begins")
        try:
            if soft_s is None or self.interrupter is None:
                outcome = execute(job.plan, job.request, job.args, job.kwargs)
            else:
                outcome = self.interrupter.run(
                    lane, partial(execute, job.plan, job.request, job.args, job.kwargs)
                )
        except SoftTimeLimitExceeded as error:
            # The signal came between two lines of ours, after the function had returned.
            outcome = Failed(error, f"SoftTimeLimitExceeded: {error}\n")
        except BaseException as error:  # noqa: BLE001 - hooks and receivers are user code too
            # Else the message would end this process, and the next one, without being counted.
            outcome = Failed(error, traceback_of(error))
            report.internal_error(job, error)
        finally:
            self.slot.end(lane)
            if job.plan.manners:
                self.slot.set_manners(0, lane)
        if job.lease.redelivered:
            # The loop ends it, when all that follows from it is worked out: see ``admit_again``.
            self.slot.begin(job.lease.token, None, None, lane)
        points.passed("ended")
        for output in self._outputs:
            # A print without a line end belongs to this task, not to the next one that prints.
            output.flush()
        self.done += 1
        self.slot.add_done(1, job.plan.number)
        runtime_s = (monotonic_ns() - started) / 1e9
        if soft_s is not None and runtime_s > soft_s:
            report.outran(job, soft_s)
        report.ended(job, outcome, runtime_s)
        if self.telling is not None:
            self.telling.ended(job, outcome, runtime_s)
        return outcome

    def _tell_started(self, job: Job) -> None:
        document = self.settler.started(job)
        if document is None or self.pair.store is None:
            return
        try:
            self.pair.store.put([document])
        except OperationalError as error:
            # Only a state on the way; what the task comes to is settled through all trouble.
            logger.warning("STARTED of task %s could not be stored: %s", job.request.id, error)

    def close(self, *, gives_back: bool = True) -> None:
        """Leave the broker, giving back what is held.

        Not where the loop ended by an error: what it held may have run, and so is given back by
        who finds this process dead, marked as what was delivered before.
        """
        try:
            if gives_back:
                self.consumer.retire()
            if self.telling is not None:
                self.telling.flush()
        finally:
            if self.pair.broker is not None:
                self.pair.broker.close()
            if self.pair.store is not None:
                self.pair.store.close()
            os.close(self._wake_read)
            os.close(self._wake_write)


def run(app: App, options: ChildOptions, slot: Slot) -> int:
    """The life of a child process; gives its exit code."""
    logs.set_process_name(_process_name(options))
    titles.set_title(options.hostname, _title(options))
    child = Child(app, options, slot)
    _install_signals(child)
    signals.worker_process_init.send(sender=None)
    slot.mark_up()
    code: int | None = None  # None: it did not end in order
    try:
        code = Worker(lambda: serve(child)).workloop()
        return code
    finally:
        child.close(gives_back=code is not None)
        exit_code = 1 if code is None else code
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=exit_code)


def serve(child: Child) -> int:
    """Run the loop of the child's pool."""
    if child.options.pool == "threads":
        from umbel.worker.threads import Threads

        return Threads(child).serve()
    from umbel.worker.inline import Inline

    return Inline(child).serve()


def _title(options: ChildOptions) -> str:
    return _process_name(options) if options.pool == "prefork" else f"{options.pool} worker"


def _process_name(options: ChildOptions) -> str:
    # Celery's names, which log parsers know; solo and threads run in the main process there.
    if options.pool == "prefork":
        return f"ForkPoolWorker-{options.number + 1}"
    return "MainProcess"


def _install_signals(child: Child) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        child.stop()

    def look(number: int, frame: FrameType | None) -> None:
        # There are new orders, and the loop may be asleep.
        child.wake()

    def soft_limit(number: int, frame: FrameType | None) -> None:
        # One that comes late meets another task, or none, and is nobody's.
        if child.interrupter is not None:
            child.interrupter.interrupt_late()
        elif running.get() and child.slot.is_past_soft_limit():
            raise SoftTimeLimitExceeded()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, soft_limit)
    signal.signal(signal.SIGUSR2, look)


def _resident_kib() -> int:
    peak: Any = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform != "darwin" else int(peak) // 1024
