"""A living child settles for the dead: with error callbacks, chains and chords, and once."""

import os
import signal
import time

import pytest
from rig import until

from umbel import chain, chord
from umbel.exceptions import ChordError, TimeLimitExceeded, WorkerLostError

pytestmark = pytest.mark.slow
SYSTEMS = ["sqlite", pytest.param("redis", marks=pytest.mark.redis)]


@pytest.fixture(params=SYSTEMS)
def bench(request, bench_of):
    settings = {"worker_lease_seconds": 2.0, "worker_lease_heartbeat": 0.5}
    return bench_of(request.param, settings=settings)


def told(bench):
    """What the error callbacks were told."""
    return sorted(run.key for run in bench.trace.runs() if run.kind == "errback")


def flows_with(bench, bad):
    """A chain and a chord that the same bad task belongs to, with an error callback each."""
    errback = bench.tasks.errback
    after = bench.tasks.work.si("after").on_error(errback.s("chain"))
    body = bench.tasks.total.s("body").on_error(errback.s("chord"))
    return (
        chain(bad.clone().on_error(errback.s("member")), after).apply_async(),
        chord([bench.tasks.work.si("good"), bad.clone()], body).apply_async(),
    )


def test_a_hard_time_limit_ends_chain_and_chord(bench):
    bench.start_worker()

    chained, chorded = flows_with(bench, bench.tasks.work.si("bad", 30).set(time_limit=0.7))

    with pytest.raises(TimeLimitExceeded):
        chained.get(timeout=20)
    with pytest.raises(ChordError, match="TimeLimitExceeded"):
        chorded.get(timeout=20)
    until(lambda: len(told(bench)) == 2)
    assert told(bench) == ["chord ChordError", "member TimeLimitExceeded"]
    assert bench.trace.begun() == {"bad": 2, "good": 1}
    until(lambda: not any(bench.depth()))


@pytest.mark.parametrize("who", ["child", "worker"])
def test_a_task_at_most_once_that_is_lost_ends_chain_and_chord(bench, who):
    worker = bench.start_worker()

    chained, chorded = flows_with(bench, bench.tasks.once.si("bad", 30))
    until(lambda: bench.trace.begun()["bad"] == 2)
    lost = time.monotonic()
    if who == "child":
        for pid in worker.children():
            os.kill(pid, signal.SIGKILL)
    else:
        worker.kill_all()
        bench.start_worker()

    with pytest.raises(WorkerLostError, match="acks_late is False"):
        chained.get(timeout=20)
    with pytest.raises(ChordError, match="WorkerLostError"):
        chorded.get(timeout=20)
    assert time.monotonic() - lost < 12
    until(lambda: len(told(bench)) == 2)
    assert told(bench) == ["chord ChordError", "member WorkerLostError"]
    assert bench.trace.begun() == {"bad": 2, "good": 1}
    until(lambda: not any(bench.depth()))
