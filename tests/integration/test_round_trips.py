"""What a task costs at the broker, counted and not timed: a guard against regressions.

The counts are exact. Whoever changes one on purpose changes it here, and says why.
"""

import pytest

from umbel import chain, chord, group
from umbel.engines.redis.connection import Connection
from umbel.worker.child import Child
from umbel.worker.inline import Inline
from umbel.worker.options import ChildOptions
from umbel.worker.slots import LocalSlot

pytestmark = pytest.mark.redis
BATCH = 64


class FixedPace:
    """Always a full batch, everything short: the time that tasks take must not matter here."""

    limit = BATCH

    def is_short(self, task):
        return True

    def ran(self, task, seconds):
        pass

    def adapt(self, ran, seconds):
        pass


class Counted:
    """Counts the round trips of this process and the bytes that it sends."""

    def __init__(self, monkeypatch):
        self.trips = self.begun = 0
        self.sent = 0
        exchange = Connection._exchange

        def counting(connection, payload, replies, pushes=None):
            self.trips += 1
            self.sent += len(payload)
            return exchange(connection, payload, replies, pushes)

        monkeypatch.setattr(Connection, "_exchange", counting)
        begin = Connection.begin

        def beginning(connection, payload):
            self.trips += 1
            self.begun += 1
            self.sent += len(payload)
            begin(connection, payload)

        monkeypatch.setattr(Connection, "begin", beginning)

    def start(self):
        self.trips = self.begun = self.sent = 0


@pytest.fixture
def counted(monkeypatch):
    return Counted(monkeypatch)


@pytest.fixture
def urls(redis_url):
    return {"CELERY_BROKER_URL": redis_url, "CELERY_RESULT_BACKEND": redis_url}


@pytest.fixture
def run(program):
    """Run so many tasks in this process, by the child's own loop; the first call warms up."""
    options = ChildOptions(
        worker="counting#1",
        hostname="celery@here",
        number=0,
        pool="solo",
        threads=1,
        queues=("celery",),
        lease_s=600.0,
    )
    slot = LocalSlot()
    child = Child(program.app, options, slot)
    loop = Inline(child)
    loop.pace = FixedPace()
    loop._is_pending_old = lambda: False  # on a loaded machine a batch would be settled in two
    left = [0]
    add_done = slot.add_done

    def count(number, task=0):
        left[0] -= number
        if left[0] <= 0:
            child.stop()
        add_done(number)

    slot.add_done = count

    def run_tasks(number):
        left[0], child.is_stopping = number, False
        loop.serve()

    # The first use of a script costs a round trip more.
    program.add.delay(1, 1)
    chord([program.add.s(1, 1)], program.tsum.s()).apply_async()
    run_tasks(3)
    yield run_tasks
    child.close()


def test_a_delay_is_one_round_trip(program, run, counted):
    counted.start()

    program.add.delay(1, 2)

    assert counted.trips == 1
    assert counted.sent < 1_300


def test_a_group_is_sent_in_batches_of_500(program, run, counted):
    counted.start()

    group(program.add.s(i, i) for i in range(2_000)).apply_async()

    assert counted.trips == 4


def test_a_full_batch_is_one_round_trip_and_a_task_sends_little(program, run, counted):
    group(program.add.s(i, i) for i in range(10 * BATCH)).apply_async()
    counted.start()

    run(10 * BATCH)

    # One to enlist, one per claim (which settles the batch before it), one for the last batch.
    assert counted.trips == 1 + 10 + 1
    assert counted.sent / (10 * BATCH) < 450


def test_a_step_of_a_chain_is_one_round_trip(program, run, counted):
    chain(program.add.s(1, 1), *[program.add.s(1) for _ in range(19)]).apply_async()
    counted.start()

    run(20)

    assert counted.trips == 1 + 20 + 1
    # Behind the second step each is run while the broker settles the one before.
    assert counted.begun == 18


def test_a_chord_costs_its_members_and_two_steps_more(program, run, counted):
    chord([program.add.s(i, i) for i in range(BATCH)], program.tsum.s()).apply_async()
    counted.start()

    run(BATCH + 1)

    # Enlist, claim the members, settle them and claim the join, read its parts, settle it and
    # claim the body, settle the body.
    assert counted.trips == 6
