"""A failure at each single step of publish, lease, run and settle, one after the other.

The scenario is a chord with a chain and a retry inside, and a step behind it, sent and worked off
by a worker in this process. It is repeated with a failure before and after the n-th step, n = 1, 2,
3 ... until a run meets none; on Redis also with a second failure soon after it. After each the same
must hold: the value is right, what was refused did not run, nothing was sent twice, nothing is left
at the broker. Where only connections broke, each task ran once.
"""

import contextlib
import os
from collections import Counter

import pytest
from faults import KINDS, Crash, Faults, on_redis, on_sqlite

from umbel import Celery, chain, chord
from umbel.model.clock import monotonic_s
from umbel.model.errors import OperationalError, PublishOutcomeUnknown
from umbel.model.lease import Loss
from umbel.ports.broker import SweepPolicy
from umbel.worker import verdicts
from umbel.worker.child import Child
from umbel.worker.inline import Inline
from umbel.worker.options import ChildOptions
from umbel.worker.slots import LocalSlot
from umbel.worker.upkeep import Upkeep

pytestmark = pytest.mark.slow
MOST_STEPS = 2000


class Scene:
    """An app, its tasks, and who ran what."""

    def __init__(self, url, results, *, is_chain=False):
        self.runs = runs = []
        app = self.app = Celery("steps", broker=url, backend=results, set_as_current=False)
        app.conf.broker_connection_timeout = 2.0

        def leave(request, name):
            is_again = bool((request.delivery_info or {}).get("redelivered"))
            runs.append((name, request.id, request.retries, is_again))

        @app.task(bind=True, name="give")
        def give(self, x):
            leave(self.request, f"give {x}")
            return x

        @app.task(bind=True, name="more")
        def more(self, x, by):
            leave(self.request, f"more {by}")
            return x + by

        @app.task(bind=True, name="stubborn", max_retries=3)
        def stubborn(self, x):
            leave(self.request, f"stubborn {x}")
            if self.request.retries < 1:
                raise self.retry(exc=ValueError("not yet"), countdown=0)
            return x

        @app.task(bind=True, name="total")
        def total(self, values):
            leave(self.request, "total")
            return sum(values)

        app.finalize()
        if is_chain:
            # All behind the third run before the one in front is known to be settled.
            steps = [more.s(10**n) for n in range(7)]
            self.canvas, self.value, self.size = chain(give.si(0), *steps), 1111111, 8
            self.sizes = (0, 1)
        else:
            self.canvas = chain(
                chord(
                    [chain(give.si(0), more.s(1)), give.si(10), stubborn.si(100)],
                    total.s(),
                ),
                more.s(1000),
            )
            self.value, self.size, self.sizes = 1 + 10 + 100 + 1000, 7, (0, 3)
        self.result = None
        self.close = app.close

    def has_ended(self):
        return depth_of(self.app) == 0


class WorkerHere:
    """Child, supervisor and sweep in this thread; a crash kills the child, and it is replaced."""

    POLICY = SweepPolicy(6.0, 1.0, 5, verdicts.poison(5), verdicts.begun())

    def __init__(self, scene, faults):
        self.scene = scene
        self.faults = faults
        self.slot = LocalSlot()
        self.crashes = 0
        self.child = None
        with faults.suspended():
            self.broker = scene.app.open_pair().broker
        self.upkeep = Upkeep(self.broker, self.POLICY, 2.0)
        self.limit = monotonic_s() + 30

    def work(self):
        """Until the scenario has ended."""
        while True:
            try:
                self._live()
                break
            except Crash:
                self._bury()
        with self.faults.suspended():
            while self.upkeep.is_owing:
                self.upkeep.tend(())
            self.broker.close()

    def _live(self):
        app = self.scene.app
        options = ChildOptions("here", "celery@here", 0, "solo", 1, ("celery",), 6.0)
        self.child = Child(app, options, self.slot)
        self.child.consumer.idle = self._idle
        Inline(self.child).serve()
        # It lets go of everything, also where a fault hits it there.
        child, self.child = self.child, None
        child.close()

    def _idle(self, timeout_s):
        assert monotonic_s() < self.limit, f"it hangs after a fault at {self.faults.hit}"
        with self.faults.suspended():
            if self.scene.has_ended():
                self.child.stop()
        self.upkeep.sweep() if self.faults.kind.startswith("cut") else self._sweep_unharmed()

    def _sweep_unharmed(self):
        with self.faults.suspended():
            self.upkeep.sweep()

    def _bury(self):
        """What a supervisor does when a child has died."""
        self.crashes += 1
        with self.faults.suspended():
            losses = [Loss(running.token) for running in self.slot.running()]
            for running in self.slot.running():
                self.slot.end(running.lane)
            if self.child:
                for end in self.child.pair[:2]:
                    end.close()
                for pipe in (self.child._wake_read, self.child._wake_write):
                    os.close(pipe)
                self.child = None
            if self.slot.epoch:
                self.upkeep.recover(self.slot.consumer("here"), losses)


def one_run(url, faults, leftovers, results=None, *, is_chain=False):
    """The scenario with one fault; asserts what must hold."""
    with contextlib.closing(Scene(url, results or url, is_chain=is_chain)) as scene:
        _run(scene, faults, leftovers)


def _run(scene, faults, leftovers):
    outcome = "accepted"
    try:
        scene.result = scene.canvas.apply_async()
    except (Crash, PublishOutcomeUnknown):
        outcome = "unknown"
    except OperationalError:
        outcome = "refused"
    with faults.suspended():
        depth = depth_of(scene.app)
    if outcome != "accepted":
        assert depth in scene.sizes, f"half of it was sent: {depth}"
        assert outcome == "unknown" or depth == 0, "refused, and sent all the same"
        if depth == 0:
            return
    worker = WorkerHere(scene, faults)
    worker.work()
    with faults.suspended():
        said = f"{faults.kind} step {faults.at}: {faults.hit}; {scene.runs}"
        if scene.result is not None:
            record = scene.app.archive.records([scene.result.id])[0]
            assert (record.status, record.result) == ("SUCCESS", scene.value), f"{record} {said}"
        assert len({run[:3] for run in scene.runs}) == scene.size, f"not all of it ran: {said}"
        firsts = Counter(run[:3] for run in scene.runs if not run[3])
        assert max(firsts.values()) == 1, f"sent twice: {said}"
        assert len(scene.runs) <= scene.size + 16 * worker.crashes, said
        if not worker.crashes:
            assert len(scene.runs) == scene.size, f"ran twice: {said}"
        assert depth_of(scene.app) == 0, f"left over: {said}"
        assert leftovers() == [], said


def depth_of(app):
    broker = app.open_pair().broker
    try:
        return sum(broker.depth("celery"))
    finally:
        broker.close()


def leftovers_of(server):
    found = server.say("KEYS umbel:*").decode().split()[1:]
    passing = ("umbel:p:", "umbel:d:", "umbel:final:", "umbel:swept", "umbel:waiting")
    return [key for key in found if key[0] != "$" and not key.startswith(passing)]


@pytest.mark.redis
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("then", [None, 1, 2, 3])
def test_redis_no_failure_at_a_step_loses_or_doubles_one(kind, then, redis_server, monkeypatch):
    at = 0
    while at < MOST_STEPS:
        at += 1
        redis_server.say("FLUSHALL")
        faults = Faults(kind, at, then)
        with on_redis(faults, monkeypatch):
            one_run(redis_server.url, faults, lambda: leftovers_of(redis_server))
        if not faults.was_met:
            break

    assert at > 15


@pytest.mark.redis
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("then", [None, 1, 2, 3])
def test_redis_no_failure_at_a_step_of_a_chain_doubles_one(kind, then, redis_server, monkeypatch):
    at, halves = 0, set()
    while at < MOST_STEPS:
        at += 1
        redis_server.say("FLUSHALL")
        faults = Faults(kind, at, then)
        with on_redis(faults, monkeypatch):
            one_run(redis_server.url, faults, lambda: leftovers_of(redis_server), is_chain=True)
        halves.add(faults.hit.split(" ")[0])
        if not faults.was_met:
            break

    assert at > 15
    assert {"begin", "finish"} <= halves, "nothing was run ahead"


@pytest.mark.parametrize("kind", KINDS)
def test_sqlite_no_failure_at_a_step_loses_or_doubles_one(kind, tmp_path, monkeypatch):
    at = 0
    while at < MOST_STEPS:
        at += 1
        faults = Faults(kind, at)
        with on_sqlite(faults, monkeypatch):
            one_run(f"sqlite:///{tmp_path}/{at}.db", faults, list)
        if not faults.was_met:
            break

    assert at > 30


@pytest.mark.redis
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("broker", ["redis", "sqlite"])
def test_apart_no_failure_at_a_step_loses_one(broker, kind, start_redis, tmp_path, monkeypatch):
    # Broker and results on two servers: what is acknowledged last may be done twice.
    servers = [start_redis("--appendonly", "no") for _ in ("broker", "results")]
    at = 0
    while at < MOST_STEPS:
        at += 1
        for server in servers:
            server.say("FLUSHALL")
        url = servers[0].url if broker == "redis" else f"sqlite:///{tmp_path}/{at}.db"
        faults = Faults(kind, at)
        with on_redis(faults, monkeypatch), on_sqlite(faults, monkeypatch):
            one_run(url, faults, lambda: leftovers_of(servers[0]), servers[1].url)
        if not faults.was_met:
            break

    assert at > 30
