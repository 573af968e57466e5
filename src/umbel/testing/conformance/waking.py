"""Cases of ``Broker.wait``: woken at once by whatever makes a message ready, asleep otherwise."""

from __future__ import annotations

import os
import threading
import time

from umbel.model.clock import monotonic_s
from umbel.model.settlement import Settlement
from umbel.ports.broker import Broker
from umbel.testing.conformance.harness import Harness, lease, message, messages

# Far above the few milliseconds that it takes on an idle machine, far below any poll.
_AT_ONCE_S = 0.3
# For the waiter to fall asleep.
_PAUSE_S = 0.1


class _Waiter:
    """A thread that waits for messages of its queues and notes when it was woken."""

    def __init__(
        self,
        broker: Broker,
        queues: tuple[str, ...] = ("q",),
        timeout_s: float = 10.0,
        wake_fd: int | None = None,
    ) -> None:
        self.found: bool | None = None
        self.woken_at = 0.0
        self.cpu_s = 0.0
        self._broker = broker
        self._queues = queues
        self._timeout_s = timeout_s
        self._wake_fd = wake_fd
        self._is_about_to_wait = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._is_about_to_wait.wait(10)
        threading.Event().wait(_PAUSE_S)

    def _run(self) -> None:
        self._broker.enlist("waiter.0.1", 60)
        leases = lease(self._broker, "waiter.0.1", 10, self._queues)
        assert leases == []
        self._is_about_to_wait.set()
        cpu = time.thread_time()
        self.found = self._broker.wait(self._queues, self._timeout_s, self._wake_fd)
        self.woken_at = monotonic_s()
        self.cpu_s = time.thread_time() - cpu

    def join(self) -> None:
        self._thread.join(15)
        assert self.found is not None, "the waiter ended badly, or not at all"


class WakeCases:
    """Waiting is quick and costs nothing."""

    def test_a_publish_wakes_a_waiter(self, engine: Harness) -> None:
        broker = engine.open().broker
        waiter = _Waiter(engine.open().broker, ("other", "q"))

        started = monotonic_s()
        broker.publish(messages("a"))
        waiter.join()

        assert waiter.found
        assert waiter.woken_at - started < _AT_ONCE_S

    def test_a_publish_wakes_a_waiter_whatever_the_priority(self, engine: Harness) -> None:
        broker = engine.open().broker
        waiter = _Waiter(engine.open().broker)

        started = monotonic_s()
        broker.publish([message(priority=9)])
        waiter.join()

        assert waiter.found
        assert waiter.woken_at - started < _AT_ONCE_S

    def test_a_publish_wakes_a_waiter_that_is_about_to_wait(self, engine: Harness) -> None:
        broker, waiting = engine.open().broker, engine.open().broker
        waiting.enlist("w.0.1", 60)
        for _ in range(3):
            batch = lease(waiting, "w.0.1")
            while batch:
                batch = waiting.cycle(
                    "w.0.1", [Settlement(held.token) for held in batch], ("q",), 9
                )[1]
            broker.publish(messages("a"))
            started = monotonic_s()

            assert waiting.wait(("q",), 10, None)
            assert monotonic_s() - started < _AT_ONCE_S

    def test_a_publish_wakes_a_waiter_by_a_settlement(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a", "elsewhere"))
        (held,) = lease(broker, "w.0.1", 1, ("elsewhere",))
        waiter = _Waiter(engine.open().broker)

        started = monotonic_s()
        broker.cycle("w.0.1", [Settlement(held.token, messages=(message(),))], ("elsewhere",), 0)
        waiter.join()

        assert waiter.found
        assert waiter.woken_at - started < _AT_ONCE_S

    def test_a_release_wakes_a_waiter(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1", 1)
        waiter = _Waiter(engine.open().broker)

        started = monotonic_s()
        broker.release("w.0.1", [held.token])
        waiter.join()

        assert waiter.found
        assert waiter.woken_at - started < _AT_ONCE_S

    def test_a_recovery_wakes_a_waiter(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        lease(broker, "w.0.1", 1)
        waiter = _Waiter(engine.open().broker)

        started = monotonic_s()
        broker.recover("w.0.1", [], engine.policy)
        waiter.join()

        assert waiter.found
        assert waiter.woken_at - started < _AT_ONCE_S

    def test_a_due_message_wakes_a_waiter(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish([message("a", due=engine.now() + 0.2)])
        waiter = _Waiter(engine.open().broker)

        engine.advance(0.25)
        started = monotonic_s()
        broker.sweep(engine.policy)
        waiter.join()

        assert waiter.found
        assert waiter.woken_at - started < _AT_ONCE_S

    def test_a_waiter_is_woken_by_its_file_descriptor(self, engine: Harness) -> None:
        reading, writing = os.pipe()
        waiter = _Waiter(engine.open().broker, wake_fd=reading)

        started = monotonic_s()
        os.write(writing, b"w")
        waiter.join()
        os.close(reading)
        os.close(writing)

        assert waiter.woken_at - started < _AT_ONCE_S

    def test_a_waiter_sleeps_until_the_time_is_up(self, engine: Harness) -> None:
        started = monotonic_s()
        waiter = _Waiter(engine.open().broker, timeout_s=1.0)
        waiter.join()

        assert not waiter.found
        assert 1.0 <= waiter.woken_at - started < 3.0
        assert waiter.cpu_s < 0.02

    def test_a_message_of_another_queue_is_not_waited_for(self, engine: Harness) -> None:
        broker = engine.open().broker
        waiter = _Waiter(engine.open().broker, timeout_s=0.4)

        broker.publish(messages("a", "another"))
        waiter.join()

        assert not waiter.found
