"""Cases with other processes: killed by SIGKILL between and within steps, frozen, forked.

The victims are forks of the test process that connect anew. Where a kill is to hit the inside of a
step, the victim repeats the step as fast as it can and is killed after a few milliseconds, several
times over; what must hold is then checked on what is left.
"""

from __future__ import annotations

import os
import random
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

import pytest

from umbel.model.clock import monotonic_s
from umbel.model.errors import LeaseLost
from umbel.model.join import JoinClosing, JoinOpening
from umbel.model.lease import Lease, Loss
from umbel.model.settlement import Fate, Settlement
from umbel.testing.conformance.harness import (
    BEGUN,
    Harness,
    document,
    drain,
    lease,
    message,
    messages,
    names,
    part,
)

ROUNDS = 6


class _Victim:
    """A child process that runs a function, and a pipe on which it tells how far it is."""

    def __init__(self, life: Callable[[_Victim], None]) -> None:
        self._read, self._write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                life(self)
            finally:
                os._exit(1)

    def tell(self, byte: bytes = b".") -> None:
        """From inside: one byte for the parent."""
        os.write(self._write, byte)

    def listen(self, within_s: float = 10.0, length: int = 1) -> bytes:
        """From outside: what it told, one byte or one piece of this length."""
        assert select.select([self._read], [], [], within_s)[0], "the victim says nothing"
        return os.read(self._read, length)

    def die(self) -> NoReturn:
        """From inside: SIGKILL."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("not reached")

    def kill_after(self, seconds: float) -> bytes:
        """From outside: SIGKILL, then everything that it told and nobody listened to."""
        threading.Event().wait(seconds)
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()[1]

    def wait(self) -> tuple[int, bytes]:
        """Its exit code (-9: killed), and what it told."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self._write)
        told = b""
        while piece := os.read(self._read, 65536):
            told += piece
        os.close(self._read)
        return os.waitstatus_to_exitcode(status), told


class CrashCases:
    """Kills, freezes and forks."""

    def test_published_is_stored_when_the_publisher_is_killed(self, engine: Harness) -> None:
        def publish(victim: _Victim) -> None:
            broker = engine.open().broker
            while True:
                broker.publish(messages("a b c d e f g"))
                victim.tell()

        accepted = 0
        for kill_after_s in _moments():
            victim = _Victim(publish)
            victim.listen()
            accepted += 1 + len(victim.kill_after(kill_after_s))

        stored = engine.open().broker.depth("q").ready
        # What was stored but not yet told may be there, whole.
        assert stored % 7 == 0
        assert 0 <= stored // 7 - accepted <= ROUNDS

    def test_settle_is_atomic_when_the_consumer_is_killed(self, engine: Harness) -> None:
        pair = engine.open()
        tasks = [f"t{number}" for number in range(3000)]
        pair.broker.publish([message(task) for task in tasks])

        def work(victim: _Victim) -> None:
            broker = engine.open().broker
            broker.enlist("w.0.1", 60)
            victim.tell()
            settlements: list[Settlement] = []
            while True:
                _, leases = broker.cycle("w.0.1", settlements, ("q",), 7)
                settlements = [_full_settlement(held) for held in leases]

        for kill_after_s in _moments():
            victim = _Victim(work)
            victim.listen()
            victim.kill_after(kill_after_s)
            pair.broker.recover("w.0.1", [], engine.policy)

            left = {raw.decode() for raw in pair.broker.peek("q", len(tasks) + 1)}
            follow = Counter(raw.decode() for raw in pair.broker.peek("next", len(tasks) + 1))
            records = pair.store.get(tasks)
            done = {task for task, data in zip(tasks, records, strict=True) if data is not None}
            assert done.isdisjoint(left)
            assert done | left == set(tasks)
            assert follow == Counter(done)
            assert len(pair.store.parts("g")) == len(done)

    def test_order_is_kept_when_a_consumer_is_killed(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish([message(str(number)) for number in range(400)])

        def claim(victim: _Victim) -> None:
            mine = engine.open().broker
            mine.enlist("w.0.1", 60)
            victim.tell()
            while lease(mine, "w.0.1", 5):
                victim.tell()
            victim.die()

        victim = _Victim(claim)
        victim.listen()
        victim.kill_after(0.004)
        broker.recover("w.0.1", [], engine.policy)

        broker.enlist("w.0.2", 60)
        leases = drain(broker, "w.0.2")
        assert names(leases) == " ".join(str(number) for number in range(400))

    def test_a_lease_not_renewed_runs_again_when_its_worker_is_killed(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        broker.publish(messages("a b"))

        def claim(victim: _Victim) -> None:
            mine = engine.open().broker
            mine.enlist("w.0.1", engine.lease_s)
            assert len(lease(mine, "w.0.1", 2)) == 2
            victim.die()

        broker.enlist("v.0.1", engine.lease_s)
        assert _Victim(claim).wait()[0] == -signal.SIGKILL
        given_up = engine.sweep_for(engine.lease_s + 2 * engine.interval_s, broker, ["v.0.1"])

        assert given_up == ("w.0.1",)
        leases = drain(broker, "v.0.1")
        assert names(leases) == "a b"
        assert [held.deliveries for held in leases] == [0, 0]

    def test_what_had_begun_is_not_run_again_when_its_process_is_killed(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        broker.publish(messages("a b"))

        def begin(victim: _Victim) -> None:
            mine = engine.open().broker
            mine.enlist("w.0.1", 60)
            (held,) = lease(mine, "w.0.1", 1)
            mine.cycle("w.0.1", [Settlement(held.token, Fate.BEGUN)], ("q",), 1)
            victim.die()

        _Victim(begin).wait()
        broker.recover("w.0.1", [], engine.policy)

        broker.enlist("w.0.2", 60)
        leases = drain(broker, "w.0.2")
        assert [(held.raw, held.verdict) for held in leases] == [(b"a", BEGUN), (b"b", None)]

    def test_a_join_completes_once_when_its_members_are_killed(self, engine: Harness) -> None:
        pair = engine.open()
        members = [f"{number}" for number in range(60)]
        pair.broker.publish([message(name) for name in members], [JoinOpening("g", len(members))])

        def work(victim: _Victim) -> None:
            broker = engine.open().broker
            broker.enlist("w.0.1", 60)
            victim.tell()
            settlements: list[Settlement] = []
            while True:
                _, leases = broker.cycle("w.0.1", settlements, ("q",), 3)
                settlements = [_member_settlement(held) for held in leases]
                if not leases:
                    victim.tell(b"!")
                    threading.Event().wait(60)
                # So that kills fall into the middle of the join, and of the step after it.
                threading.Event().wait(0.001)

        is_done = False
        for kill_after_s in [0.002, 0.004, 0.006, 0.008, *([10.0] * 4)]:
            victim = _Victim(work)
            victim.listen()
            if kill_after_s == 10.0:
                assert victim.listen() == b"!"
                is_done = True
            victim.kill_after(0 if is_done else kill_after_s)
            pair.broker.recover("w.0.1", [], engine.policy)

        assert is_done
        assert pair.broker.peek("next", 9) == [b"body"]
        assert tuple(pair.broker.depth("q")) == (0, 0, 0, 0)
        assert pair.store.parts("g") == []

    def test_a_zombie_changes_nothing(self, engine: Harness) -> None:
        pair = engine.open()
        pair.broker.publish(messages("a"))

        def freeze(victim: _Victim) -> None:
            broker = engine.open().broker
            broker.enlist("w.0.1", engine.lease_s)
            (held,) = lease(broker, "w.0.1")
            victim.tell()
            os.kill(os.getpid(), signal.SIGSTOP)
            try:
                late = Settlement(held.token, documents=(document("t", data=b"zombie"),))
                broker.cycle("w.0.1", [late], ("q",), 1)
            except LeaseLost:
                victim.tell(b"r")
                os._exit(0)

        victim = _Victim(freeze)
        victim.listen()
        os.waitpid(victim.pid, os.WUNTRACED)
        engine.lose("w.0.1", pair.broker)
        pair.broker.enlist("v.0.1", 60)
        (held,) = lease(pair.broker, "v.0.1")
        os.kill(victim.pid, signal.SIGCONT)

        assert victim.wait() == (0, b"r")
        assert pair.store.get(["t"]) == [None]
        settled, _ = pair.broker.cycle(
            "v.0.1", [Settlement(held.token, documents=(document("t", data=b"alive"),))], ("q",), 0
        )
        assert settled == [True]
        assert pair.store.get(["t"]) == [b"alive"]

    def test_a_supervisor_recovers_what_another_process_ran(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish(messages("a b c"))

        def run(victim: _Victim) -> None:
            mine = engine.open().broker
            mine.enlist("w.0.1", 60)
            held = lease(mine, "w.0.1", 2)
            victim.tell(held[0].token.to_bytes(8, "little"))
            victim.die()

        victim = _Victim(run)
        token = int.from_bytes(victim.listen(length=8), "little")
        victim.wait()
        recovered = broker.recover("w.0.1", [Loss(token)], engine.policy)

        broker.enlist("w.0.2", 60)
        leases = drain(broker, "w.0.2")
        assert recovered == 2
        assert [(held.raw, held.deliveries) for held in leases] == [
            (b"a", 1),
            (b"b", 0),
            (b"c", 0),
        ]

    @pytest.mark.parametrize("is_used_before", [True, False])
    def test_a_forked_connection_is_opened_anew(
        self, engine: Harness, is_used_before: bool
    ) -> None:
        pair = engine.open()
        if is_used_before:
            pair.broker.publish(messages("parent"))
            pair.store.put([document("parent")])

        def use(victim: _Victim) -> None:
            pair.broker.publish(messages("child"))
            pair.store.put([document("child")])
            pair.broker.close()
            pair.store.close()
            os._exit(0)

        assert _Victim(use).wait()[0] == 0
        pair.broker.publish(messages("after"))

        stored = [raw.decode() for raw in pair.broker.peek("q", 9)]
        assert stored == (["parent"] if is_used_before else []) + ["child", "after"]
        assert pair.store.get(["child"]) == [b"{}"]

    def test_a_publish_wakes_a_waiter_in_another_process(self, engine: Harness) -> None:
        broker = engine.open().broker
        latencies = []

        def wait(victim: _Victim) -> None:
            mine = engine.open().broker
            mine.enlist("w.0.1", 60)
            batch = lease(mine, "w.0.1")
            victim.tell()
            while True:
                if mine.wait(("q",), 10, None):
                    batch = lease(mine, "w.0.1")
                    if batch:
                        victim.tell(b"!")
                        mine.cycle("w.0.1", [Settlement(held.token) for held in batch], ("q",), 0)

        victim = _Victim(wait)
        victim.listen()
        for _ in range(20):
            time.sleep(0.02)  # so that it sleeps deeply
            published = monotonic_s()
            broker.publish(messages("a"))
            assert victim.listen() == b"!"
            latencies.append(monotonic_s() - published)
        victim.kill_after(0)

        # A few milliseconds, and no poll in between on the worst day of a loaded machine.
        assert sorted(latencies)[len(latencies) // 2] < 0.02

    def test_stored_is_told_to_another_process(self, engine: Harness) -> None:
        store = engine.open().store

        def watch(victim: _Victim) -> None:
            with engine.open().store.watch(["t"]) as changes:
                assert changes.changes(0) == {}
                victim.tell()
                assert changes.changes(10) == {"t": b"{}"}
                victim.tell(b"!")
                os._exit(0)

        victim = _Victim(watch)
        victim.listen()
        threading.Event().wait(0.05)
        stored = monotonic_s()
        store.put([document("t")])

        assert victim.listen() == b"!"
        assert monotonic_s() - stored < 0.3
        assert victim.wait()[0] == 0


def _moments() -> list[float]:
    """When to kill: seeded, so that a failure is the same again as far as the machine allows."""
    chance = random.Random(7)
    return [chance.uniform(0.001, 0.03) for _ in range(ROUNDS)]


def _full_settlement(held: Lease) -> Settlement:
    task = held.raw.decode()
    return Settlement(
        held.token,
        documents=(document(task),),
        messages=(message(task, "next"),),
        parts=(part("g", int(task[1:]), task),),
    )


def _member_settlement(held: Lease) -> Settlement:
    name = held.raw.decode()
    if name == "join g":
        return Settlement(
            held.token,
            messages=(message("body", "next"),),
            closes=(JoinClosing("g", failed=False),),
        )
    return Settlement(held.token, parts=(part("g", int(name)),))
