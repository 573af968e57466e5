"""The seat of a child: what one process writes, another one reads."""

import os
import time

import pytest

from umbel.worker.slots import LANES, Board, LocalSlot, Slot


@pytest.fixture
def seat():
    """The same slot, as its child and as its supervisor hold it."""
    board = Board()
    reading, writing = os.pipe()
    poked, poking = os.pipe()
    for fd in (reading, writing, poked, poking):
        os.set_blocking(fd, False)
    child = Slot(board, 3, lanes=2, read_fd=reading, write_fd=writing, poke_fd=poking)
    supervisor = Slot(board, 3, lanes=2, read_fd=reading)

    def was_poked():
        try:
            return bool(os.read(poked, 100))
        except BlockingIOError:
            return False

    yield board, child, supervisor, was_poked
    for fd in (reading, writing, poked, poking):
        os.close(fd)


def test_each_epoch_is_another_consumer(seat):
    _, child, supervisor, _ = seat

    child.open_epoch()
    first = supervisor.consumer("celery@host#ab")
    child.open_epoch()

    assert first == "celery@host#ab.3.1"
    assert supervisor.consumer("celery@host#ab") == "celery@host#ab.3.2"
    assert supervisor.consumer("celery@host#ab", 1) == first


def test_what_runs_is_seen_with_its_limits_until_it_ends(seat):
    _, child, supervisor, _ = seat
    child.open_epoch()

    before = time.monotonic_ns()
    child.begin(0, 1.5, 2.5, lane=1)
    [running] = supervisor.running()
    child.end(lane=1)

    assert running.token == 0
    assert running.lane == 1
    assert running.epoch == 1
    assert before <= running.started_ns <= time.monotonic_ns()
    assert running.soft_ns - running.started_ns == 1_500_000_000
    assert running.hard_ns - running.started_ns == 2_500_000_000
    assert supervisor.running() == []


def test_no_limit_is_none(seat):
    _, child, supervisor, _ = seat

    child.begin(7, None, 0)

    assert supervisor.running()[0][2:4] == (0, 0)
    assert not child.is_past_soft_limit()


def test_a_soft_limit_is_past_only_for_the_task_that_it_was_set_for(seat):
    _, child, _, _ = seat

    child.begin(1, 0.000_001, None)
    time.sleep(0.001)
    late = child.is_past_soft_limit()
    child.end()
    ended = child.is_past_soft_limit()
    child.begin(2, 60.0, None)

    assert late
    assert not ended
    assert not child.is_past_soft_limit()


def test_unstarted_tokens_come_out_once_and_in_order(seat):
    _, child, supervisor, _ = seat
    child.open_epoch()

    child.offer([5, 6, 7, 8])
    taken = child.take()
    drained = supervisor.drain()

    assert taken == 5
    assert drained == {1: [6, 7, 8]}
    assert child.take() is None
    assert supervisor.drain() == {}


def test_tokens_of_a_lost_epoch_are_not_taken(seat):
    _, child, supervisor, _ = seat
    child.open_epoch()
    child.offer([5, 6])

    child.open_epoch()
    child.offer([1])

    assert child.take() == 1
    child.offer([2])
    assert supervisor.drain() == {2: [2]}


def test_two_readers_share_out_every_token_exactly_once(seat):
    _, child, supervisor, _ = seat
    child.open_epoch()
    answer, told = os.pipe()

    for start in range(0, 3000, 30):
        child.offer(list(range(start, start + 30)))
    pid = os.fork()
    if pid == 0:
        mine = []
        while (token := child.take()) is not None:
            mine.append(token)
        os.write(told, b"".join(token.to_bytes(4, "little") for token in mine))
        os._exit(0)
    theirs = supervisor.drain().get(1, [])
    os.waitpid(pid, 0)
    os.close(told)
    data = b""
    while piece := os.read(answer, 65536):
        data += piece
    os.close(answer)
    taken = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]

    assert sorted(taken + theirs) == list(range(3000))


def test_only_news_that_can_not_wait_for_the_next_look_pokes(seat):
    board, child, _, was_poked = seat
    board.sleep_until(time.monotonic_ns() + 1_000_000_000)

    child.begin(1, None, None)
    child.begin(2, None, 60.0)
    child.note_due(time.time() + 60.0)
    quiet = was_poked()
    child.begin(3, 0.1, 60.0)
    by_limit = was_poked()
    child.note_due(time.time() + 0.1)

    assert not quiet
    assert by_limit
    assert was_poked()


def test_a_supervisor_that_is_awake_is_always_poked(seat):
    board, child, _, was_poked = seat
    board.stay_awake()

    child.begin(1, None, 60.0)

    assert was_poked()


def test_the_earliest_due_time_stands(seat):
    _, child, supervisor, _ = seat
    soon, later = time.time() + 10.0, time.time() + 20.0

    child.note_due(later)
    child.note_due(soon)
    child.note_due(later)

    assert supervisor.due_s == pytest.approx(soon, abs=0.001)


def test_a_due_time_that_has_passed_gives_way_to_a_later_one(seat):
    _, child, supervisor, _ = seat
    later = time.time() + 20.0

    child.note_due(time.time() - 1.0)
    child.note_due(later)

    assert supervisor.due_s == pytest.approx(later, abs=0.001)


def test_a_child_of_an_earlier_generation_is_not_wanted(seat):
    _, child, supervisor, _ = seat
    first = supervisor.vacate()
    second = supervisor.vacate()

    assert not child.claim(first, 100)
    assert child.claim(second, 101)
    assert supervisor.disown() == 101
    assert not child.claim(second, 101)


def test_a_seat_that_is_vacated_runs_nothing(seat):
    _, child, supervisor, _ = seat
    child.mark_ready()
    child.begin(1, None, None)
    child.begin(2, None, None, lane=1)

    supervisor.vacate()

    assert supervisor.running() == []
    assert not supervisor.is_ready


def test_lanes_beyond_the_board_are_refused():
    with pytest.raises(ValueError, match="there are 1024 lanes"):
        Slot(Board(), LANES - 1, lanes=2)


def test_a_local_slot_does_the_same_without_processes():
    dues = []
    slot = LocalSlot(on_due=dues.append)
    slot.open_epoch()

    slot.offer([2, 3, 4])
    slot.begin(1, 0.5, None)
    running = slot.running()
    slot.end()
    slot.add_done(1)
    slot.note_due(5.0)

    assert slot.consumer("worker") == "worker.0.1"
    assert slot.take() == 2
    assert slot.drain() == {1: [3, 4]}
    assert [task.token for task in running] == [1]
    assert slot.running() == []
    assert slot.done == 1
    assert dues == [5.0]


def test_what_has_ended_is_counted_by_task(seat):
    board, child, supervisor, _ = seat
    child.task_numbers = {"first": 1, "third": 3, "beyond": 5000}
    other = Slot(board, 4)

    for name in ("first", "third", "third", "unknown", "beyond"):
        child.add_done(1, child.number_of(name))
    other.add_done(1, 1)

    assert supervisor.done == 5
    assert supervisor.counts(4) == [2, 1, 0, 2]
    assert supervisor.counts(2000)[:5] == [2, 1, 0, 2, 0]
    assert len(supervisor.counts(2000)) == 2000
