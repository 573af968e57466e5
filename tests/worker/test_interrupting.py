"""The soft limit of a task in a thread: raised there, once, and nowhere else."""

import threading
import time

import pytest

from umbel.model.errors import SoftTimeLimitExceeded
from umbel.worker.interrupting import Interrupter


class Pool:
    """Threads that run steps, some of which are late."""

    def __init__(self):
        self.late = set()
        self.interrupter = Interrupter(self.late.__contains__)
        self.told = []

    def start(self, lane, step):
        def work():
            try:
                self.told.append((lane, self.interrupter.run(lane, step)))
            except SoftTimeLimitExceeded:
                self.told.append((lane, "late"))
            for _ in range(200):
                time.sleep(0)  # what comes after the task must not be hit

        thread = threading.Thread(target=work)
        thread.start()
        return thread


def spin_until(event):
    limit = time.monotonic() + 10
    while not event.is_set() and time.monotonic() < limit:
        pass
    return "ended"


def test_the_late_one_is_interrupted_and_its_neighbour_is_not():
    pool = Pool()
    over = threading.Event()
    threads = [pool.start(lane, lambda: spin_until(over)) for lane in (0, 1)]
    while len(pool.interrupter._armed) < 2:
        time.sleep(0.001)

    pool.late.add(0)
    pool.interrupter.interrupt_late()
    threads[0].join()
    over.set()
    threads[1].join()

    assert sorted(pool.told) == [(0, "late"), (1, "ended")]


def test_one_that_cleans_up_is_not_interrupted_again():
    pool = Pool()
    over = threading.Event()
    began = threading.Event()

    def clean():
        try:
            return spin_until(over)
        except SoftTimeLimitExceeded:
            began.set()
            return spin_until(over)

    thread = pool.start(0, clean)
    while not pool.interrupter._armed:
        time.sleep(0.001)

    pool.late.add(0)
    pool.interrupter.interrupt_late()
    assert began.wait(10)
    pool.interrupter.interrupt_late()
    over.set()
    thread.join()

    assert pool.told == [(0, "ended")]


def test_what_is_late_after_its_end_hits_nobody():
    pool = Pool()
    stopping = threading.Event()

    def interrupt():
        while not stopping.is_set():
            pool.interrupter.interrupt_late()

    pool.late.add(0)
    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    hit = []

    def work():
        for _ in range(300):
            try:
                pool.interrupter.run(0, lambda: None)
            except SoftTimeLimitExceeded:
                hit.append("in time")
            try:
                sum(range(50))
            except SoftTimeLimitExceeded:
                hit.append("too late")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    stopping.set()
    interrupting.join()

    assert "too late" not in hit


def test_the_main_thread_of_a_test_may_be_interrupted_too():
    interrupter = Interrupter(lambda lane: True)
    over = threading.Event()
    threading.Timer(0.05, interrupter.interrupt_late).start()

    with pytest.raises(SoftTimeLimitExceeded):
        interrupter.run(0, lambda: spin_until(over))
