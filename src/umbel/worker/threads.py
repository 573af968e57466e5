"""The threads pool: one child process, many tasks at once.

The child's own thread claims, decodes and settles; the pool's threads only run. A batch is never
larger than the number of free threads, so nothing waits here behind a slow task.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from typing import NamedTuple

from umbel.model.errors import LeaseLost
from umbel.model.lease import Lease
from umbel.model.outcome import Outcome
from umbel.model.settlement import Fate, Settlement
from umbel.worker import report
from umbel.worker.child import IDLE_S, Child
from umbel.worker.intake import Admitted, Job
from umbel.worker.interrupting import Interrupter
from umbel.worker.options import EXIT_RECYCLED, EXIT_STOPPED
from umbel.worker.waiting import readable

logger = logging.getLogger(__name__)


class Assigned(NamedTuple):
    """A job on its way through a thread."""

    job: Job
    lane: int
    # The identity that holds the lease: after a lost lease tokens of the old one mean nothing.
    consumer: str


class Threads:
    """The loop of the threads pool."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.free_lanes = list(range(child.options.threads - 1, -1, -1))
        self.running = 0
        child.interrupter = Interrupter(child.slot.is_past_soft_limit)
        self._todo: queue.SimpleQueue[Assigned | None] = queue.SimpleQueue()
        # Filled by the threads, emptied by the loop; deque's append and popleft are atomic.
        self._ended: deque[tuple[Assigned, Outcome]] = deque()
        self._threads = [
            threading.Thread(target=self._work, name=f"umbel-task-{number}", daemon=True)
            for number in range(child.options.threads)
        ]

    def serve(self) -> int:
        """Run until told to stop; gives the exit code."""
        child = self.child
        child.consumer.enlist()
        child.slot.mark_ready()
        for thread in self._threads:
            thread.start()
        pending: list[Settlement] = []
        exit_code = EXIT_STOPPED
        while not child.is_stopping:
            if child.slot.orders_version != child.orders_version:
                child.heed_orders()
            if child.is_used_up():
                exit_code = EXIT_RECYCLED
                break
            pending += self._settlements()
            wanted = len(self.free_lanes)
            try:
                settling, pending = pending, []
                if not wanted and not settling:
                    self._await_an_end()
                    continue
                leases = child.exchange(settling, wanted, holding=self.running, waits=bool(wanted))
            except LeaseLost:
                continue
            pending += self._assign(leases)
            if wanted and not leases and not pending and not self._ended:
                child.hint_due()
                child.consumer.idle(IDLE_S)
        self._finish(pending)
        return exit_code

    def _assign(self, leases: list[Lease]) -> list[Settlement]:
        settled: list[Settlement] = []
        begun: list[Assigned] = []
        for lease in leases:
            admitted: Admitted | Settlement
            if lease.redelivered:
                # Nothing runs in a free lane, so what is looked at may stand there.
                admitted = self.child.admit_again(lease, self.free_lanes[-1])
            else:
                admitted = self.child.intake.admit(lease)
            if isinstance(admitted, Settlement):
                settled.append(admitted)
                continue
            if not isinstance(admitted, Job):
                settled.append(self.child.settlement_of(admitted))
                continue
            if admitted.plan.is_at_most_once:
                # It counts for no join, so no lease comes back.
                begin = Settlement(lease.token, Fate.BEGUN)
                self.child.exchange([begin], 0, holding=self.running + 1)
            report.received(admitted)
            if self.child.telling is not None:
                self.child.telling.begins(admitted)
            self.running += 1
            begun.append(Assigned(admitted, self.free_lanes.pop(), self.child.consumer.name))
        if self.child.telling is not None:
            # Before they run: what a task tells of itself comes behind its start.
            self.child.telling.flush()
        for assigned in begun:
            self._todo.put(assigned)
        return settled

    def _work(self) -> None:
        while True:
            assigned = self._todo.get()
            if assigned is None:
                return
            outcome = self.child.attempt(assigned.job, assigned.lane)
            self._ended.append((assigned, outcome))
            self.child.wake()

    def _settlements(self) -> list[Settlement]:
        settlements: list[Settlement] = []
        while self._ended:
            assigned, outcome = self._ended.popleft()
            if assigned.consumer == self.child.consumer.name:
                settlements.append(self.child.settler.settle(assigned.job, outcome))
            else:
                logger.warning(
                    "task %s ended after its lease was lost; it runs elsewhere",
                    assigned.job.request.id,
                )
            if assigned.job.lease.redelivered:
                self.child.slot.end(assigned.lane)
            self.running -= 1
            self.free_lanes.append(assigned.lane)
        return settlements

    def _await_an_end(self) -> None:
        readable([self.child.wake_fd], None)
        self.child.consumer.clear_wake()

    def _finish(self, pending: list[Settlement]) -> None:
        """Let what runs end, and settle it. Joins that it completes go back when we retire."""
        while self.running or pending:
            pending += self._settlements()
            try:
                if pending:
                    settling, pending = pending, []
                    self.child.exchange(settling, 0, holding=self.running)
            except LeaseLost:
                continue
            if self.running and not self._ended:
                self._await_an_end()
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()
