"""Wake-ups between the processes that share an SQLite file, and what happens when they fail."""

import os
import shutil
import signal
import threading
import time

import pytest

from umbel.engines.opening import open_pair
from umbel.engines.sqlite.wakeup import Board
from umbel.model.clock import monotonic_s
from umbel.testing.conformance.harness import document, lease, messages


@pytest.fixture
def path(tmp_path):
    return tmp_path / "umbel.db"


@pytest.fixture
def board_of(path):
    boards = []

    def board_of():
        boards.append(Board(str(path)))
        return boards[-1]

    yield board_of
    for board in boards:
        board.close()


@pytest.fixture
def connect(path):
    pairs = []

    def connect():
        url = f"sqlite:///{path}"
        pairs.append(open_pair(url, url))
        return pairs[-1]

    yield connect
    for pair in pairs:
        pair.broker.close()
        pair.store.close()


def waiting(broker, worker="w", timeout_s=10.0):
    """A thread that waits; gives it and a list that gets (found, when)."""
    found = []

    def wait():
        broker.enlist(f"{worker}.0.1", 60)
        lease(broker, f"{worker}.0.1")
        found.append((broker.wait(("q",), timeout_s, None), monotonic_s()))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    return thread, found


def test_a_message_wakes_no_more_sleepers_than_it_needs(board_of):
    board = board_of()
    seats = [board.sit() for _ in range(5)]
    for seat in seats:
        seat.sleep_for_messages(["q"])

    board_of().tell_messages({"q": 1})

    # One, and one more in case that one is just being killed.
    assert sum(bool(_received(seat)) for seat in seats) == 2
    for seat in seats:
        seat.close()


def test_a_sleeper_is_woken_for_its_queues_only(board_of):
    board = board_of()
    mine, other, many = board.sit(), board.sit(), board.sit()
    mine.sleep_for_messages(["a", "q"])
    other.sleep_for_messages(["b"])
    many.sleep_for_messages([f"queue{number}" for number in range(20)])

    board_of().tell_messages({"q": 5})

    # Who sleeps for more queues than a row can hold is woken for each.
    assert [bool(_received(seat)) for seat in (mine, other, many)] == [True, False, True]
    for seat in (mine, other, many):
        seat.close()


def test_a_dropped_datagram_makes_a_watcher_read_everything(connect):
    store = connect().store
    ids = [f"t{number}" for number in range(3000)]

    with connect().store.watch(ids) as watch:
        watch.changes(0)
        for task_id in ids:
            store.put([document(task_id)])
        started = monotonic_s()
        changes = watch.changes(10)

    assert set(changes) == set(ids)
    assert monotonic_s() - started < 0.4


def test_the_seat_of_a_killed_sleeper_is_taken_again(path, board_of):
    def sit():
        board = Board(str(path))
        board.sit().sleep_for_messages(["q"])
        os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            try:
                sit()
            finally:
                os._exit(1)
        os.waitpid(pid, 0)
    board = board_of()
    board.tell_messages({"q": 9})
    seat = board.sit()

    assert seat._number == 0
    seat.close()


def test_a_sleeper_wakes_by_itself_when_nobody_tells_it(connect, path):
    broker = connect().broker
    thread, found = waiting(connect().broker)
    shutil.rmtree(f"{path}-peers")

    started = monotonic_s()
    broker.publish(messages("a"))
    thread.join(10)

    assert found[0][0]
    assert found[0][1] - started < 2


def test_the_folder_is_made_anew_for_the_next_sleep(connect, path):
    broker, sleeper = connect().broker, connect().broker
    thread, _ = waiting(sleeper, timeout_s=0.05)
    thread.join(10)
    shutil.rmtree(f"{path}-peers")

    thread, found = waiting(sleeper)
    started = monotonic_s()
    broker.publish(messages("a"))
    thread.join(10)

    assert found[0][0]
    assert found[0][1] - started < 0.3


def test_a_path_too_long_for_a_socket_address_still_wakes(tmp_path):
    folder = tmp_path / ("deep" * 20) / ("deeper" * 10)
    folder.mkdir(parents=True)
    url = f"sqlite:///{folder}/umbel.db"
    publisher, sleeper = open_pair(url, None).broker, open_pair(url, None).broker
    thread, found = waiting(sleeper)

    started = monotonic_s()
    publisher.publish(messages("a"))
    thread.join(10)

    assert found[0][0]
    assert found[0][1] - started < 0.3
    publisher.close()
    sleeper.close()


def test_a_due_message_is_found_without_a_sweep(connect):
    from umbel.testing.conformance.harness import message

    broker = connect().broker
    thread, found = waiting(connect().broker)
    due = time.time() + 0.3

    broker.publish([message("a", due=due)])
    thread.join(10)

    assert found[0][0]
    assert 0 <= time.time() - due < 0.15


def test_a_sleeping_process_costs_nothing(connect):
    broker = connect().broker
    broker.enlist("w.0.1", 60)
    lease(broker, "w.0.1")
    cpu = time.thread_time()

    broker.wait(("q",), 3.0, None)

    assert time.thread_time() - cpu < 0.01


def _received(seat):
    try:
        return seat._socket.recv(100)
    except BlockingIOError:
        return b""


def test_who_sits_down_while_another_leaves_is_heard(board_of, monkeypatch):
    """The seat that is left is empty before its socket is gone, and somebody looks for one then."""
    teller, leaving, coming = board_of(), board_of(), board_of()
    first, seats = leaving.sit(), []
    sits_down = threading.Thread(target=lambda: seats.append(coming.sit()))
    unlink = os.unlink

    def unlink_late(path):
        if not sits_down.is_alive() and not seats:
            sits_down.start()
            sits_down.join(0.3)  # it waits for who leaves, or has the seat already
        unlink(path)

    monkeypatch.setattr(os, "unlink", unlink_late)
    first.close()
    sits_down.join(10)
    seats[0].watch(["task"])
    teller.tell_records(["task"])

    assert seats[0].drained() == {"task"}
    seats[0].close()
