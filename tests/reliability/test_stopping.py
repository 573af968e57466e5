"""Stopping loses nothing, whichever way; and what we stop ourselves is not held against a task."""

import signal

import pytest
from rig import until

from umbel import chain

pytestmark = pytest.mark.slow
SYSTEMS = ["sqlite", pytest.param("redis", marks=pytest.mark.redis)]


@pytest.fixture(params=SYSTEMS)
def bench_with(request, bench_of):
    return lambda **settings: bench_of(request.param, settings=settings)


def begun_again(bench, key, number):
    """Wait until it has begun so often; gives the runs."""
    until(lambda: bench.trace.begun()[key] >= number, 30)
    return [run for run in bench.trace.runs() if run.key == key and run.kind == "begin"]


def test_sigquit_hands_back_at_once_and_counts_nothing(bench_with):
    bench = bench_with(task_max_deliveries=2)
    flow = chain(bench.tasks.work.si("long", 1.5, 1), bench.tasks.step.s("after")).apply_async()
    waiting = [bench.tasks.work.delay(f"short-{n}", 0, n) for n in range(5)]

    for stops in range(1, 5):
        worker = bench.start_worker(concurrency=1)
        begun_again(bench, "long", stops)
        worker.stop(signal.SIGQUIT, 5)
    bench.start_worker()

    assert flow.get(timeout=20) == 2
    assert [one.get(timeout=10) for one in waiting] == list(range(5))
    assert [run.is_repeated for run in begun_again(bench, "long", 5)] == [False] + [True] * 4
    assert bench.trace.ended()["long"] == 1


def test_a_soft_shutdown_lets_end_what_can_and_hands_back_the_rest_uncounted(bench_with):
    bench = bench_with(task_max_deliveries=2, worker_soft_shutdown_timeout=1.0)
    long_one = bench.tasks.work.delay("long", 3.0, "long")

    for stops in range(1, 4):
        worker = bench.start_worker()
        begun_again(bench, "long", stops)
        short = bench.tasks.work.delay(f"short-{stops}", 0.5, stops)
        begun_again(bench, f"short-{stops}", 1)
        worker.stop(signal.SIGTERM, 10)
        assert short.get(timeout=5) == stops
        assert bench.trace.begun()[f"short-{stops}"] == 1
    bench.start_worker()

    assert long_one.get(timeout=20) == "long"
    assert bench.trace.begun()["long"] == 4


def test_sigterm_may_be_told_to_be_sigquit(bench_with, monkeypatch):
    monkeypatch.setenv("REMAP_SIGTERM", "SIGQUIT")
    bench = bench_with()
    long_one = bench.tasks.work.delay("long", 3.0, "long")
    worker = bench.start_worker()
    begun_again(bench, "long", 1)

    worker.stop(signal.SIGTERM, 2)
    bench.start_worker()

    assert long_one.get(timeout=20) == "long"
    assert bench.trace.begun()["long"] == 2
    assert bench.trace.ended()["long"] == 1


def test_sigterm_claims_nothing_more_and_hands_back_what_has_not_begun(bench_with):
    bench = bench_with()
    worker = bench.start_worker(concurrency=1)
    running = bench.tasks.work.delay("running", 2.0, "running")
    begun_again(bench, "running", 1)
    waiting = [bench.tasks.work.delay(f"waiting-{n}", 0, n) for n in range(10)]

    worker.stop(signal.SIGTERM, 10)

    assert running.get(timeout=5) == "running"
    assert bench.trace.begun() == {"running": 1}
    bench.start_worker()
    assert [one.get(timeout=15) for one in waiting] == list(range(10))
    assert max(bench.trace.begun().values()) == 1


@pytest.mark.redis
@pytest.mark.parametrize("system", ["redis+redis", "sqlite+redis"])
def test_what_could_not_be_settled_before_the_end_runs_again_as_a_repetition(system, bench_of):
    bench = bench_of(system)
    worker = bench.start_worker(concurrency=1)
    bench.tasks.work.delay("before", 0, 1).get(timeout=10)
    result = bench.tasks.work.delay("unsettled", 0.5, "value")
    begun_again(bench, "unsettled", 1)
    bench.results.kill()
    until(lambda: bench.trace.ended()["unsettled"])

    worker.stop(signal.SIGTERM, 30)
    bench.results.start()
    bench.start_worker()

    assert result.get(timeout=20) == "value"
    assert [run.is_repeated for run in begun_again(bench, "unsettled", 2)] == [False, True]
