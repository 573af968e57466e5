"""How many children there are to be: between two bounds, by what waits and what is idle."""

import pytest

from umbel.model.errors import OperationalError
from umbel.ports.broker import Depth
from umbel.worker.autoscale import Autoscaler
from umbel.worker.seats import Seats, Stage
from umbel.worker.slots import Board

KEEPALIVE_S = 30.0


class World:
    """Seats, a broker with so much waiting, and a clock."""

    def __init__(self, most=10, least=1):
        self.now_s = 1000.0
        self.waiting = 0
        self.asked = 0
        self.is_away = False
        self.seats = Seats(Board(), least, 1, now=self.now)
        self.scaler = Autoscaler(
            self.seats,
            self,
            lambda: ["celery"],
            (most, least),
            keepalive_s=KEEPALIVE_S,
            now=self.now,
        )

    def now(self):
        return self.now_s

    def depth(self, queue):
        self.asked += 1
        if self.is_away:
            raise OperationalError("away")
        return Depth(ready=self.waiting, due=99, leased=99, lane=0)

    def pass_time(self, seconds, busy=0):
        """Let time pass; the first ``busy`` children run something all the while."""
        for _ in range(int(seconds)):
            self.seats.to_fill()
            for number, seat in enumerate(self.seats):
                seat.stage = Stage.TAKEN if number < self.seats.target else Stage.EMPTY
                if number < min(busy, self.seats.target):
                    seat.slot.begin(1, None, None)
                else:
                    seat.slot.end()
            self.now_s += 1.0
            self.scaler.keep()


def test_children_come_at_once_when_work_waits_and_never_more_than_allowed():
    world = World(most=10, least=2)

    world.waiting = 5
    world.pass_time(1, busy=2)
    some = world.seats.target
    world.waiting = 500
    world.pass_time(1, busy=some)

    assert some == 7
    assert world.seats.target == 10


def test_no_child_comes_while_one_is_free():
    world = World(most=10, least=2)

    world.waiting = 5
    world.pass_time(10, busy=1)

    assert world.seats.target == 2
    assert world.asked == 0


def test_idle_children_leave_after_half_a_minute_and_not_before():
    world = World(most=10, least=2)
    world.waiting = 8
    world.pass_time(1, busy=2)
    world.waiting = 0

    world.pass_time(KEEPALIVE_S - 2)
    before = world.seats.target
    world.pass_time(3)

    assert before == 10
    assert world.seats.target == 2


def test_as_many_stay_as_were_needed_at_the_busiest_moment_of_late():
    world = World(most=10, least=1)
    world.waiting = 9
    world.pass_time(1, busy=1)
    world.waiting = 0

    for _ in range(10):
        world.pass_time(5, busy=4)
        world.pass_time(5, busy=2)

    assert world.seats.target == 4


def test_with_none_at_least_the_first_message_brings_a_child():
    world = World(most=3, least=0)

    world.pass_time(100)
    idle = world.seats.target
    world.waiting = 1
    world.pass_time(1)

    assert idle == 0
    assert world.seats.target == 1


def test_a_broker_that_is_away_changes_nothing():
    world = World(most=10, least=2)
    world.is_away = True

    world.pass_time(100, busy=2)

    assert world.seats.target == 2


def test_what_pool_grow_has_set_widens_the_bounds():
    world = World(most=4, least=2)

    world.seats.target = 6
    world.pass_time(1)
    grown = (world.scaler.most, world.seats.target)
    world.seats.target = 1
    world.pass_time(1)

    assert grown == (6, 6)
    assert world.scaler.least == 1


def test_bounds_may_be_changed_and_may_not_cross():
    world = World(most=4, least=2)

    assert world.scaler.set_bounds(8, 5) == (8, 5)
    assert world.seats.target == 5
    assert world.scaler.set_bounds(None, 3) == (8, 3)
    with pytest.raises(ValueError, match="wanted 0 <= min <= max"):
        world.scaler.set_bounds(2, None)
    with pytest.raises(ValueError, match="a max of 1 to 1024"):
        world.scaler.set_bounds(0, 0)
    with pytest.raises(ValueError, match="a max of 1 to 1024"):
        world.scaler.set_bounds(5000, 1)
