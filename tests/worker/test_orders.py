"""Orders: what the supervisor changes in the shared memory, and how children come to obey it."""

import os
import threading

import pytest

from umbel import Celery
from umbel.worker.child import Child, serve
from umbel.worker.options import ChildOptions
from umbel.worker.orders import Orders
from umbel.worker.slots import Board, LocalSlot, Slot


def test_a_child_reads_what_was_ordered_before_and_after_its_birth():
    board = Board()
    slot = Slot(board, 0)

    before = slot.orders()
    board.orders.change(events=True, queues=("a", "b"))
    board.orders.change(time_limits={"tasks.add": (1.5, None)}, rate_limits={"tasks.add": "10/m"})
    version, orders = slot.orders()

    assert before == (0, Orders())
    assert version == slot.orders_version != 0
    assert orders == Orders(
        events=True,
        queues=("a", "b"),
        rate_limits={"tasks.add": "10/m"},
        time_limits={"tasks.add": (1.5, None)},
    )


def test_orders_that_do_not_fit_change_nothing():
    board = Board()
    board.orders.change(events=True)
    version = board.orders.version

    with pytest.raises(ValueError, match="at most 65536"):
        board.orders.change(queues=tuple(f"queue-{number}" for number in range(10_000)))

    assert board.orders.version == version
    assert board.orders.read() == (version, Orders(events=True))


def test_a_reader_in_another_process_never_reads_half_an_order():
    board = Board()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            seen = 0
            while seen < 400:
                seen, orders = board.orders.read()
                queues = orders.queues or ()
                assert len(set(queues)) <= 1
                assert not queues or len(queues) == int(queues[0])
            code = 0
        finally:
            os.write(writing, b"x")
            os._exit(code)

    for number in range(200):
        size = number * 37 % 500 + 1
        board.orders.change(queues=(str(size),) * size)

    assert os.read(reading, 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_worker_obeys_while_it_runs(pool):
    app = Celery("orders", broker="memory://", backend="memory://", set_as_current=False)

    @app.task(name="limits", time_limit=9)
    def limits():
        return child.plan_of("limits").soft_time_limit, child.plan_of("limits").time_limit

    app.finalize()
    ready = threading.Event()
    slot = LocalSlot(on_ready=ready.set)
    child = Child(
        app, ChildOptions("test@here#1", "test@here", 0, pool, 2, ("celery",), 30.0), slot
    )
    loop = threading.Thread(target=serve, args=(child,))
    loop.start()
    try:
        assert ready.wait(5)
        assert limits.delay().get(timeout=5) == [None, 9]
        elsewhere = limits.apply_async(queue="elsewhere")

        slot.order(queues=("elsewhere",), time_limits={"limits": (2.0, 3.0)})
        child.wake()

        assert elsewhere.get(timeout=5) == [2.0, 3.0]
    finally:
        child.stop()
        loop.join(10)
        child.close()
