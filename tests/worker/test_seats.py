"""The book of children, with a clock of our own."""

import os
import signal

import pytest

from umbel.worker.options import EXIT_RECYCLED
from umbel.worker.seats import MOST_EARLY_DEATHS, Seats, Stage
from umbel.worker.slots import Board


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def seats(clock):
    made = Seats(Board(), 2, 1, now=clock)
    yield made
    for seat in made:
        if seat.slot.read_fd >= 0:
            os.close(seat.slot.read_fd)


def fill(seats, pid=1000):
    filled = []
    for seat in seats.to_fill():
        os.close(seats.ask(seat))
        filled.append(seats.take(seat.slot.index, seat.generation, pid + seat.slot.index))
    return filled


def claims(seat):
    """What a child does that has come so far."""
    reading, seat.slot.poke_fd = os.pipe()
    seat.slot.mark_ready()
    os.close(seat.slot.poke_fd)
    os.close(reading)


def test_a_worker_grows_and_shrinks_to_its_target(seats):
    fill(seats)

    seats.target = 3
    grown = [seat.slot.index for seat in fill(seats)]
    seats.target = 1
    leaving = [seat.slot.index for seat in seats.to_clear()]

    assert grown == [2]
    assert leaving == [2, 1]
    assert seats.to_fill() == []


def test_children_that_run_something_are_the_last_to_leave(seats):
    seats.target = 3
    fill(seats)
    busy = list(seats)[2]
    busy.slot.open_epoch()
    busy.slot.begin(1, None, None)

    seats.target = 1
    leaving = [seat.slot.index for seat in seats.to_clear()]

    assert leaving == [1, 0]


def test_a_worker_is_ready_when_all_its_children_are(seats):
    first, second = fill(seats)

    claims(first)
    early = seats.are_ready
    claims(second)

    assert not early
    assert seats.are_ready


def test_a_death_at_start_makes_the_next_child_wait_longer_each_time(seats, clock):
    pauses = []

    for _ in range(4):
        [first, *_] = fill(seats) or [None]
        seats.died(first, 1)
        pauses.append(round(first.not_before_s - clock.now, 3))
        clock.now = first.not_before_s

    assert pauses == [0.1, 0.2, 0.4, 0.8]


def test_a_worker_whose_children_all_die_at_start_is_hopeless(seats, clock):
    seats.target = 1

    for _ in range(MOST_EARLY_DEATHS):
        before = seats.are_hopeless
        [seat] = fill(seats)
        seats.died(seat, 1)
        clock.now += 20.0

    assert not before
    assert seats.are_hopeless


def test_one_child_at_work_is_hope(seats, clock):
    first, second = fill(seats)
    claims(first)

    for _ in range(MOST_EARLY_DEATHS):
        seats.died(second, 1)
        clock.now += 20.0
        [second] = fill(seats)

    assert not seats.are_hopeless


def test_a_child_that_dies_of_its_first_task_did_not_die_at_start(seats):
    first, _ = fill(seats)
    claims(first)
    first.slot.begin(1, None, None)

    departure = seats.died(first, -11)

    assert not departure.is_early
    assert [running.token for running in departure.ran] == [1]


def test_a_recycled_child_is_replaced_at_once(seats, clock):
    first, _ = fill(seats)

    departure = seats.died(first, EXIT_RECYCLED)

    assert not departure.is_early
    assert departure.is_expected
    assert seats.to_fill() == [first]


def test_a_late_answer_for_a_seat_that_was_asked_for_anew_is_ignored(seats):
    seat = seats.to_fill()[0]
    os.close(seats.ask(seat))
    old = seat.generation

    seats.not_born(0, old)
    os.close(seats.ask(seat))

    assert seats.take(0, old, 1234) is None
    assert seats.take(0, seat.generation, 1235) is seat


def test_a_nursery_that_dies_between_two_words_leaves_no_second_child(seats):
    unborn, born = seats.to_fill()
    for seat in (unborn, born):
        os.close(seats.ask(seat))
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    assert born.slot.claim(born.generation, pid)

    seats.disown_asked()
    _, status = os.waitpid(pid, 0)

    assert unborn.stage is Stage.EMPTY
    assert born.stage is Stage.LEAVING
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert not unborn.slot.claim(unborn.generation, 4321)
