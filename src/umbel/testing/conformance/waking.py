"""Cases of ``Broker.wait``: woken at once by whatever makes a message ready, asleep otherwise."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence

import pytest

from umbel.model.clock import monotonic_s
from umbel.model.lease import Lease
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


class GivingCases:
    """A message that may be leased to who waits for it, as it is published."""

    def test_a_waiter_is_given_a_message_once(self, engine: Harness) -> None:
        broker, waiting = engine.open().broker, engine.open().broker
        _begin_to_wait(waiting)
        broker.enlist("w.1.1", 60)
        started = monotonic_s()

        broker.publish(messages("a"))

        assert waiting.wait(("q",), 10, None)
        assert monotonic_s() - started < _AT_ONCE_S
        (held,) = waiting.cycle("w.0.1", (), ("q",), 5, waits=True)[1]
        assert held.raw == b"a"
        assert not held.redelivered
        assert lease(broker, "w.1.1") == []
        assert waiting.cycle("w.0.1", [Settlement(held.token)], ("q",), 5) == ([True], [])

    def test_what_a_waiter_was_given_comes_though_it_was_not_told(self, engine: Harness) -> None:
        broker, waiting = engine.open().broker, engine.open().broker
        _begin_to_wait(waiting)
        broker.publish(messages("a"))
        broker.publish(messages("b"))
        broker.publish(messages("c", "another"))

        # It settles before it looks, and looks elsewhere first.
        assert waiting.cycle("w.0.1", [Settlement(99)], ("another",), 0) == ([False], [])
        found = waiting.cycle("w.0.1", (), ("another", "q"), 9)[1]
        found += waiting.cycle("w.0.1", (), ("another", "q"), 9, waits=True)[1]

        assert sorted(held.raw for held in found) == [b"a", b"b", b"c"]
        assert [held.raw for held in found if held.queue == "q"] == [b"a", b"b"]
        assert len({held.token for held in found}) == 3
        settled = [Settlement(held.token) for held in found]
        assert waiting.cycle("w.0.1", settled, ("q",), 0) == ([True] * 3, [])

    @pytest.mark.parametrize("is_dead", [False, True], ids=["retired", "dead"])
    def test_what_a_waiter_was_given_goes_back_uncounted(
        self, engine: Harness, is_dead: bool
    ) -> None:
        broker, waiting = engine.open().broker, engine.open().broker
        _begin_to_wait(waiting)
        broker.publish(messages("a"))
        broker.publish(messages("b"))

        if is_dead:
            broker.recover("w.0.1", [], engine.policy)
        else:
            waiting.retire("w.0.1")

        broker.enlist("w.1.1", 60)
        found = lease(broker, "w.1.1", 5)
        assert [(held.raw, held.deliveries) for held in found] == [(b"a", 0), (b"b", 0)]

    def test_a_waiter_that_is_gone_is_given_nothing(self, engine: Harness) -> None:
        broker, waiting = engine.open().broker, engine.open().broker
        broker.enlist("w.1.1", 60)
        _begin_to_wait(waiting)
        waiting.retire("w.0.1")
        broker.publish(messages("a"))
        assert [held.raw for held in lease(broker, "w.1.1", 5)] == [b"a"]

    def test_a_waiter_is_given_nothing_before_its_turn(self, engine: Harness) -> None:
        broker, waiting = engine.open().broker, engine.open().broker
        _begin_to_wait(waiting)
        broker.publish(messages("a", "q"))
        first = waiting.cycle("w.0.1", (), ("q",), 1)[1]
        _begin_to_wait(waiting, settles=first)

        broker.publish([*messages("b"), *messages("c")])
        broker.publish(messages("d"))

        found = waiting.cycle("w.0.1", (), ("q",), 9)[1]
        assert [held.raw for held in found] == [b"b", b"c", b"d"]

    def test_a_waiter_gets_a_large_message(self, engine: Harness) -> None:
        broker, waiting = engine.open().broker, engine.open().broker
        _begin_to_wait(waiting)
        raw = b"x" * 3_000_000

        broker.publish([message("a")._replace(raw=raw)])

        assert waiting.wait(("q",), 10, None)
        assert [held.raw for held in waiting.cycle("w.0.1", (), ("q",), 5)[1]] == [raw]

    def test_many_waiters_get_each_message_once(self, engine: Harness) -> None:
        broker = engine.open().broker
        waiting = {f"w.{number}.1": engine.open().broker for number in range(3)}
        for name, one in waiting.items():
            _begin_to_wait(one, name)
        sent = [f"m{number}".encode() for number in range(40)]
        found = []
        for number, raw in enumerate(sent):
            broker.publish(messages(raw.decode()))
            name = f"w.{number % 3}.1"
            leases = waiting[name].cycle(name, (), ("q",), 2, waits=True)[1]
            found += [held.raw for held in leases]
            waiting[name].cycle(name, [Settlement(h.token) for h in leases], ("q",), 0)
        for name, one in waiting.items():
            while leases := one.cycle(name, (), ("q",), 9, waits=True)[1]:
                found += [held.raw for held in leases]

        assert sorted(found) == sorted(sent)


def _begin_to_wait(broker: Broker, consumer: str = "w.0.1", settles: Sequence[Lease] = ()) -> None:
    broker.enlist(consumer, 60)
    settled = [Settlement(held.token) for held in settles]
    assert broker.cycle(consumer, settled, ("q",), 5, waits=True)[1] == []
