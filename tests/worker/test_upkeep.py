"""Heartbeat, sweep and debts, with a clock of our own."""

import logging

import pytest

from umbel.model.errors import OperationalError
from umbel.model.lease import Loss
from umbel.ports.broker import SweepPolicy, Swept
from umbel.worker.upkeep import Upkeep

POLICY = SweepPolicy(6.0, 1.0, 5, b"poison", b"begun")


class Broker:
    """Tells what it was asked for, by an argument's clock; away when told to be."""

    url = "broker://"

    def __init__(self, clock):
        self.calls = []
        self.error = None
        self.swept = Swept()
        self.unknown = []
        self._clock = clock

    def _note(self, *call):
        if self.error is not None:
            raise self.error
        self.calls.append((round(self._clock.now, 3), *call))

    def renew(self, consumers, lease_s):
        self._note("renew", *consumers)
        return self.unknown

    def sweep(self, policy):
        self._note("sweep")
        swept, self.swept = self.swept, Swept()
        return swept

    def recover(self, consumer, losses, policy):
        self._note("recover", consumer, *(loss.token for loss in losses))
        return 0

    def release(self, consumer, tokens):
        self._note("release", consumer, *tokens)
        return 0

    def times_of(self, verb):
        return [call[0] for call in self.calls if call[1] == verb]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Store:
    def __init__(self, expired):
        self.expired = expired
        self.calls = 0

    def expire(self, limit):
        self.calls += 1
        batch = min(self.expired, limit)
        self.expired -= batch
        return batch


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def broker(clock):
    return Broker(clock)


@pytest.fixture
def upkeep(broker, clock):
    return make(broker, clock)


def make(broker, clock, **more):
    return Upkeep(
        broker, POLICY, 2.0, now=clock, wall=lambda: 1000.0 + clock.now, jitter=lambda: 1.0, **more
    )


def live(upkeep, clock, until, consumers=("w.0.1",)):
    """Tend when it is time to, as a loop does."""
    while upkeep.next_at() <= until:
        clock.now = max(upkeep.next_at(), clock.now)
        upkeep.tend(consumers)
    clock.now = until


def test_it_beats_and_sweeps_in_its_rhythm(upkeep, broker, clock):
    live(upkeep, clock, 6.5)

    assert broker.times_of("renew") == [0, 2, 4, 6]
    assert broker.times_of("sweep") == [0, 1, 2, 3, 4, 5, 6]


def test_nobody_is_renewed_where_nobody_lives(upkeep, broker, clock):
    live(upkeep, clock, 3.0, consumers=())

    assert broker.times_of("renew") == []


def test_a_noted_message_is_swept_for_when_it_is_due(upkeep, broker, clock):
    live(upkeep, clock, 0.1)

    upkeep.note_due(1000.0 + 0.35)
    upkeep.note_due(1000.0 + 0.8)
    live(upkeep, clock, 0.7)

    assert broker.times_of("sweep") == [0, 0.35]


def test_a_sweep_tells_when_to_sweep_next(upkeep, broker, clock):
    broker.swept = Swept(next_due_s=0.4)

    live(upkeep, clock, 0.9)

    assert broker.times_of("sweep") == [0, 0.4]


def test_a_note_of_a_later_message_outlives_a_sweep_before_it(upkeep, broker, clock):
    live(upkeep, clock, 0.5)
    upkeep.note_due(1000.0 + 1.6)

    live(upkeep, clock, 1.9)

    assert broker.times_of("sweep") == [0, 1.0, 1.6]


def test_the_dead_are_recovered_at_once(upkeep, broker):
    upkeep.recover("w.0.1", [Loss(4)])

    assert broker.calls == [(0, "recover", "w.0.1", 4)]


def test_what_a_broker_that_is_away_misses_is_owed_in_order(upkeep, broker, clock, caplog):
    live(upkeep, clock, 0.1)
    broker.error = OperationalError("no route")

    with caplog.at_level(logging.WARNING):
        upkeep.release("w.1.1", [5, 6])
        upkeep.recover("w.0.1", [Loss(4)])
        live(upkeep, clock, 9.0)
        broker.error = None
        live(upkeep, clock, 15.0)

    owed = [call[1:] for call in broker.calls if call[1] in ("release", "recover")]
    assert owed == [("release", "w.1.1", 5, 6), ("recover", "w.0.1", 4)]
    assert not upkeep.is_owing
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "Connection to broker broker",
        "Connection to broker broker",
    ]
    assert "no route" in caplog.records[0].message
    assert "is back after" in caplog.records[1].message


def test_an_outage_does_not_end_because_nobody_is_left_to_renew(upkeep, broker, clock, caplog):
    broker.error = OperationalError("no route")

    with caplog.at_level(logging.WARNING):
        live(upkeep, clock, 30.0, consumers=())

    assert len(caplog.records) == 1


def test_an_outage_is_asked_after_when_those_it_began_with_are_gone(upkeep, broker, clock):
    live(upkeep, clock, 1.5)
    broker.error = OperationalError("no route")
    upkeep.beat(["w.0.1"])

    broker.error = None
    clock.now = upkeep.next_at()
    upkeep.tend(())

    assert not upkeep.outage.is_on
    assert upkeep.next_at() > clock.now


def test_a_store_that_is_away_is_no_outage_of_the_broker(broker, clock, caplog):
    store = Store(expired=10)
    store.expire = lambda limit: (_ for _ in ()).throw(OperationalError("no store"))
    upkeep = make(broker, clock, store=store)

    with caplog.at_level(logging.WARNING):
        live(upkeep, clock, 130.0)

    assert not upkeep.outage.is_on
    assert ["no store" in record.message for record in caplog.records] == [True, True]


def test_an_outage_is_tried_again_at_growing_distances(upkeep, broker, clock):
    broker.error = OperationalError("no route")
    attempts = []

    while clock.now < 20.0:
        upkeep.tend(["w.0.1"])
        attempts.append(round(upkeep.next_at() - clock.now, 3))
        clock.now = upkeep.next_at()

    assert attempts[:5] == [0.2, 0.4, 0.8, 1.6, 2.0]
    assert set(attempts[5:]) == {2.0}


def test_the_lease_is_the_first_thing_renewed_after_an_outage(upkeep, broker, clock):
    broker.error = OperationalError("no route")
    upkeep.tend(["w.0.1"])
    upkeep.recover("w.1.1", [])
    broker.error = None

    live(upkeep, clock, 0.3)

    assert [call[1] for call in broker.calls] == ["renew", "recover", "sweep"]


def test_a_recovery_takes_in_what_was_to_be_released(upkeep, broker, clock):
    broker.error = OperationalError("no route")
    upkeep.tend(["w.0.1"])

    upkeep.release("w.0.1", [5])
    upkeep.recover("w.0.1", [])
    broker.error = None
    live(upkeep, clock, 0.5, consumers=())

    assert [call[1] for call in broker.calls if call[1] in ("release", "recover")] == ["recover"]


def test_an_engine_that_breaks_is_an_outage_too(upkeep, broker, clock, caplog):
    broker.error = ZeroDivisionError("a bug")

    with caplog.at_level(logging.ERROR):
        live(upkeep, clock, 3.0)
        broker.error = None
        live(upkeep, clock, 9.0)

    assert broker.times_of("renew")
    assert sum("engine failed" in record.message for record in caplog.records) == 1


def test_consumers_that_a_sweep_gave_up_are_named_once(upkeep, broker, clock, caplog):
    live(upkeep, clock, 0.1)

    with caplog.at_level(logging.WARNING):
        broker.unknown = ["w.0.1"]
        live(upkeep, clock, 9.0)

    assert len(caplog.records) == 1
    assert "w.0.1" in caplog.text


def test_a_consumer_that_has_not_enlisted_yet_is_no_news(upkeep, broker, clock, caplog):
    broker.unknown = ["w.0.1"]

    with caplog.at_level(logging.WARNING):
        live(upkeep, clock, 9.0)

    assert not caplog.records


def test_expired_records_are_deleted_in_small_batches(broker, clock):
    store = Store(expired=1200)
    upkeep = make(broker, clock, store=store)

    live(upkeep, clock, 59.0)
    before = store.calls
    live(upkeep, clock, 62.0)

    assert before == 0
    assert store.calls == 3
    assert store.expired == 0
