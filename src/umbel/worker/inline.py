"""The loop of prefork and solo: one task at a time, in the thread that claims and settles.

``child.py`` says where a task can be at any moment. This room decides the order: what of a batch
runs, what goes back because it would wait, when what has ended is settled, and who of the idle
children listens at the broker.
"""

from __future__ import annotations

from umbel.model.clock import monotonic_ns
from umbel.model.errors import LeaseLost
from umbel.model.lease import Lease
from umbel.model.settlement import Fate, Settlement
from umbel.worker import points, report
from umbel.worker.child import IDLE_S, Child
from umbel.worker.intake import Admitted, Job
from umbel.worker.options import EXIT_RECYCLED, EXIT_STOPPED
from umbel.worker.pace import BUDGET_S, Pace
from umbel.worker.telling import Telling

# So long after an answer of the broker this process may take it that it is not given up.
TRUST_S = 0.1


class Inline:
    """The loop of prefork and solo: one task at a time, in this thread."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.pending: list[Settlement] = []
        self.pending_since_ns = 0
        # Joins that a settlement without a claim has completed: leases of ours, to be carried out.
        self.joined: list[Lease] = []
        # When the broker last said that we are known to it.
        self.known_ns = 0
        # Of a worker's idle children one listens at the broker.
        self.is_watching = False
        most = child.options.prefetch_multiplier
        self.pace = Pace(most) if most else Pace()

    def serve(self) -> int:
        """Run until told to stop; gives the exit code."""
        child = self.child
        child.consumer.enlist()
        child.slot.mark_ready()
        while not child.is_stopping:
            if child.slot.orders_version != child.orders_version:
                child.heed_orders()
            if child.is_used_up():
                self._flush()
                return EXIT_RECYCLED
            try:
                pending, self.pending = self.pending, []
                joined, self.joined = self.joined, []
                limit = 0 if joined else self.pace.limit
                if pending:
                    points.passed("settles")
                leases = joined + child.exchange(
                    pending, limit, holding=len(joined), waits=self.is_watching
                )
                self.known_ns = monotonic_ns()
                if pending:
                    points.passed("settled")
                if leases:
                    points.passed("claimed")
                    self._run_batch(leases)
                    if len(leases) == 1 and leases[0].body is not None:
                        self._run_ahead()
                elif not self.pending:
                    self._idle()
            except LeaseLost:
                self.pending, self.joined = [], []
                while child.slot.take() is not None:
                    pass
        self._flush()
        child.slot.pass_watch()
        return EXIT_STOPPED

    def _idle(self) -> None:
        """Watch the broker until there may be work, or wait for a sibling that does."""
        child = self.child
        if not self.is_watching:
            self.is_watching = child.slot.take_watch()
            while not self.is_watching and not child.is_stopping:
                child.consumer.sleep_on(child.slot.watch_fd)
                self.is_watching = child.slot.take_watch()
            # What came while a sibling watched was not told to us; and who is to wait says so to
            # the broker when it looks.
            return
        child.hint_due()
        child.consumer.idle(IDLE_S)

    def _pass_watch(self) -> None:
        if self.is_watching:
            self.is_watching = False
            self.child.slot.pass_watch()

    def _run_batch(self, leases: list[Lease]) -> None:
        child = self.child
        looked = monotonic_ns()
        jobs = self._jobs_of(leases)
        if not jobs:
            # They only wait for their time; with more of them a claim, what is behind comes sooner.
            self.pace.adapt(len(leases), (monotonic_ns() - looked) / 1e9)
            return
        if len(leases) >= self.pace.limit or not self.pace.is_short(jobs[-1].plan.name):
            # There may be more than we can take, or this will take a while.
            self._pass_watch()
        if len(jobs) > 1:
            child.slot.offer([job.lease.token for job in jobs[1:]])
        started = monotonic_ns()
        ran = 0
        for job in jobs:
            if ran and child.slot.take() != job.lease.token:
                # The supervisor took the rest of the batch, and gave it back.
                break
            if child.is_stopping or (child.options.max_tasks and child.is_used_up()):
                self._hand_back(jobs[ran:])
                break
            self._run(job)
            ran += 1
        self.pace.adapt(ran, (monotonic_ns() - started) / 1e9)

    def _run_ahead(self) -> None:
        """Run successor after successor, each while the broker settles the one before.

        Only behind one that was leased in the step that sent it, so that no other copy of it can
        have been sent; and only what is short, so that it is soon known whether it counts. A step
        of a chain takes two thirds of the time so.
        """
        child = self.child
        began = monotonic_ns()
        while len(self.pending) == 1 and child.may_run_ahead():
            now = monotonic_ns()
            if now - began > BUDGET_S * 1e9 or now - self.known_ns > TRUST_S * 1e9:
                # The turn of others; or this process was frozen, and may be given up.
                return
            points.passed("settles")
            lease = child.consumer.run_ahead(self.pending[0])
            if lease is None:
                return
            self.pending = []
            # Who watches is about to be busy.
            self._pass_watch()
            job = child.intake.admit(lease)
            runs = isinstance(job, Job) and self._may_begin_unconfirmed(job)
            if isinstance(job, Job) and runs:
                self._run(job)
            is_ours = child.consumer.confirm()
            self.known_ns = monotonic_ns()
            points.passed("settled")
            if not is_ours:
                self.pending = []
            elif not runs:
                self._run_batch([lease])

    def _may_begin_unconfirmed(self, job: Job) -> bool:
        return not job.plan.is_at_most_once and self.pace.is_short(job.plan.name)

    def _jobs_of(self, leases: list[Lease]) -> list[Job]:
        """Decode a batch, settle what need not run, and cut it behind the first slow task."""
        jobs: list[Job] = []
        for place, lease in enumerate(leases):
            if lease.redelivered:
                again = self.child.admit_again(lease)
                if isinstance(again, Settlement):
                    self._add(again)
                    continue
                admitted: Admitted = again
            else:
                admitted = self.child.intake.admit(lease)
            if not isinstance(admitted, Job):
                self._add(self.child.settlement_of(admitted))
                continue
            jobs.append(admitted)
            if not self.pace.is_short(admitted.plan.name):
                self._return([behind.token for behind in leases[place + 1 :]])
                break
        return jobs

    def _hand_back(self, jobs: list[Job]) -> None:
        """Return jobs that have not begun; the token of the first one is out of the pipe."""
        tokens = [jobs[0].lease.token]
        for _ in jobs[1:]:
            token = self.child.slot.take()
            if token is None:
                break
            tokens.append(token)
        self._return(tokens)

    def _return(self, tokens: list[int]) -> None:
        # Newest first, so that the oldest is at the consuming end when all are back.
        for token in reversed(tokens):
            self._add(Settlement(token, Fate.RETURN))

    def _run(self, job: Job) -> None:
        name = job.plan.name
        if job.plan.is_at_most_once:
            self._add(Settlement(job.lease.token, Fate.BEGUN))
            self._flush()
        elif self.pending and (not self.pace.is_short(name) or self._is_pending_old()):
            self._flush()
        report.received(job)
        if self.child.telling is not None:
            self._tell_begun(self.child.telling, job)
        started = monotonic_ns()
        outcome = self.child.attempt(job)
        self.pace.ran(name, (monotonic_ns() - started) / 1e9)
        self._add(self.child.settler.settle(job, outcome))
        if job.lease.redelivered:
            self.child.slot.end()

    def _tell_begun(self, telling: Telling, job: Job) -> None:
        telling.begins(job)
        if telling.is_old or not self.pace.is_short(job.plan.name):
            telling.flush()

    def _add(self, settlement: Settlement) -> None:
        if not self.pending:
            self.pending_since_ns = monotonic_ns()
        self.pending.append(settlement)

    def _is_pending_old(self) -> bool:
        return monotonic_ns() - self.pending_since_ns > BUDGET_S * 1e9

    def _flush(self) -> None:
        pending, self.pending = self.pending, []
        if pending:
            points.passed("settles")
            self.joined += self.child.exchange(pending, 0, holding=1)
            points.passed("settled")
