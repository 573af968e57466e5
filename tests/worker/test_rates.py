"""Whose turn it is under a rate limit: turns of one worker, decided in shared memory."""

import heapq
import itertools
import os
import signal
from collections import deque

import pytest

from umbel import Celery
from umbel.app.rates import interval_ns
from umbel.worker.child import Child
from umbel.worker.options import ChildOptions
from umbel.worker.rates import Rates
from umbel.worker.slots import LocalSlot

SECOND = 1_000_000_000


class Clock:
    def __init__(self):
        self.ns = 100 * SECOND

    def __call__(self):
        return self.ns


class Queue:
    """A queue and its due set, in a time of its own: what children and broker do with messages."""

    def __init__(self, limit_ns, lateness_ns=3_000_000):
        self.clock = Clock()
        self.rates = Rates(self.clock)
        self.limit_ns = limit_ns
        self.lateness_ns = lateness_ns
        self.claims = {}
        self.ran = []  # (ns, message)
        self.ready = deque()
        self.due = []  # (ns, number, message)
        self._numbers = itertools.count()

    def send(self, message, due_ns):
        heapq.heappush(self.due, (due_ns, next(self._numbers), message))

    def run(self, until_ns=None):
        while self.ready or self.due:
            if self.due and (not self.ready or self.due[0][0] <= self.clock.ns):
                # What has come due is served next, as on Redis.
                due_ns, _, message = heapq.heappop(self.due)
                self.clock.ns = max(self.clock.ns, due_ns)
            else:
                message = self.ready.popleft()
            if until_ns is not None and self.clock.ns > until_ns:
                self.send(message, self.clock.ns)
                return
            self.clock.ns += 20_000
            self.claims[message] = self.claims.get(message, 0) + 1
            wait = self.rates.wait_ns("task", message, self.limit_ns)
            if wait:
                self.send(message, self.clock.ns + wait + self.lateness_ns)
            else:
                self.ran.append((self.clock.ns, message))


def test_a_task_within_its_limit_never_waits():
    clock = Clock()
    rates = Rates(clock)

    waits = []
    for number in range(100):
        waits.append(rates.wait_ns("task", number, SECOND // 10))
        clock.ns += SECOND // 10

    assert waits == [0] * 100


def test_what_comes_too_early_is_told_its_own_time():
    clock = Clock()
    rates = Rates(clock)

    waits = [rates.wait_ns("task", number, SECOND) for number in range(4)]

    assert waits == [0, SECOND, 2 * SECOND, 3 * SECOND]


def test_ten_thousand_messages_run_in_order_at_the_rate_and_are_claimed_a_few_times():
    queue = Queue(SECOND // 10)
    queue.ready.extend(range(10_000))

    queue.run()

    # In their order, but for a few places where one looks again just when a token lies there.
    assert len(queue.ran) == 10_000
    assert max(abs(place - ran[1]) for place, ran in enumerate(queue.ran)) <= 8
    took_s = (queue.ran[-1][0] - queue.ran[0][0]) / SECOND
    assert 999 <= took_s <= 1020
    assert sum(queue.claims.values()) < 60_000
    assert max(queue.claims.values()) < 15


def test_a_day_of_messages_is_not_claimed_over_and_over():
    queue = Queue(60 * SECOND)
    queue.ready.extend(range(1440))

    queue.run()

    assert [message for _, message in queue.ran] == list(range(1440))
    assert max(queue.claims.values()) < 110  # each quarter of an hour


def test_newcomers_do_not_go_ahead_of_those_who_wait():
    queue = Queue(SECOND // 10)
    queue.ready.extend(range(100))
    for number in range(100, 200):
        queue.send(number, queue.clock.ns + number * SECOND // 40)

    queue.run()

    assert [message for _, message in queue.ran] == list(range(200))


def test_a_pause_of_the_whole_worker_is_no_burst_afterwards():
    queue = Queue(SECOND // 10)
    queue.ready.extend(range(300))
    queue.run(queue.clock.ns + 5 * SECOND)

    queue.clock.ns += 10 * SECOND
    resumed = queue.clock.ns
    queue.run()

    in_the_next_second = [ns for ns, _ in queue.ran if resumed <= ns < resumed + SECOND]
    assert len(in_the_next_second) <= 12
    assert len(queue.ran) == 300
    assert max(queue.claims.values()) < 20


def test_a_raised_limit_holds_at_once_for_what_comes_back():
    queue = Queue(10 * SECOND)
    queue.ready.extend(range(200))
    queue.run(queue.clock.ns + 30 * SECOND)
    began = queue.clock.ns

    queue.limit_ns = SECOND // 100
    queue.run()

    assert len(queue.ran) == 200
    assert queue.ran[-1][0] - began < 1000 * SECOND  # not the 2,000 that they were told


def test_what_another_worker_took_is_not_waited_for():
    queue = Queue(SECOND // 10)
    queue.ready.extend(range(200))
    queue.run(queue.clock.ns + SECOND // 20)

    queue.due = [entry for entry in queue.due if entry[2] % 2]
    heapq.heapify(queue.due)
    for number in range(200, 260):
        queue.send(number, queue.clock.ns + SECOND)
    queue.run()

    assert len(queue.ran) == 161
    assert max(queue.claims.values()) < 8


def test_tasks_have_turns_of_their_own():
    rates = Rates(Clock())

    waits = [rates.wait_ns(f"task{number}", 1, SECOND) for number in range(2000)]

    # More than a thousand share the turns of others.
    assert waits[:1024] == [0] * 1024


def test_children_share_turns_and_a_killed_one_leaves_no_lock():
    rates = Rates()
    began, ready = os.pipe()
    hungry = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            for number in itertools.count():
                if not rates.wait_ns("task", (os.getpid(), number), SECOND // 50):
                    os.write(ready, b"r")
        hungry.append(pid)

    os.set_blocking(began, True)
    ran = len(os.read(began, 1))
    for pid in hungry:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    assert ran == 1
    wait = rates.wait_ns("another", 1, SECOND)
    assert wait == 0
    os.close(began)
    os.close(ready)


def test_one_token_is_taken_once_by_many_processes():
    rates = Rates()
    reading, writing = os.pipe()
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            for _ in range(3000):
                if not rates.wait_ns("task", os.urandom(8), 3600 * SECOND):
                    os.write(writing, b"r")
            os._exit(0)
        pids.append(pid)

    for pid in pids:
        os.waitpid(pid, 0)

    os.close(writing)
    assert os.read(reading, 100) == b"r"
    os.close(reading)


def test_an_operator_may_set_change_and_lift_a_limit_while_it_runs():
    app = Celery("limits", broker="memory://", backend="memory://", set_as_current=False)
    work = app.task(name="work")(lambda: None)
    app.finalize()
    options = ChildOptions("test@here#1", "test@here", 0, "solo", 1, ("celery",), 30.0)
    child = Child(app, options, LocalSlot())
    plan = child.plan_of("work")

    intervals = [plan.interval_ns]
    for limit in ("10/s", "1/m", 4, None):
        child.slot.order(rate_limits={work.name: limit})
        child.heed_orders()
        intervals.append(plan.interval_ns)
    child.close()

    assert intervals == [0, SECOND // 10, 60 * SECOND, SECOND // 4, 0]


@pytest.mark.parametrize("limit", ["10/d", "ten/s", "/s", "", -1, "-1/s", "inf/s", "nan"])
def test_what_is_no_rate_is_refused_with_what_was_wanted(limit):
    with pytest.raises(ValueError, match=r"is no rate limit; wanted '10/s'"):
        interval_ns(limit)
