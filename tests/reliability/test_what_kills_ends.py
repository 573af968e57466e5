"""What kills its process ends, whatever part of it kills, and the deaths are told one by one."""

import json
import subprocess
import sys
from collections import Counter

import pytest
from rig import until

from umbel import chain, chord
from umbel.exceptions import ChordError, WorkerLostError

pytestmark = pytest.mark.slow
SYSTEMS = ["sqlite", pytest.param("redis", marks=pytest.mark.redis)]
PATIENCE_S = 60


def kinds(bench, key):
    return Counter(run.kind for run in bench.trace.runs() if run.key == key)


@pytest.fixture(params=SYSTEMS)
def bench(request, bench_of):
    settings = {"accept_content": ["json", "pickle"], "worker_lease_seconds": 2.0}
    return bench_of(request.param, settings=settings | {"worker_lease_heartbeat": 0.5})


def test_the_error_and_the_dead_letter_tell_each_death(bench):
    bench.start_worker()

    result = bench.tasks.poison.delay("bad")

    with pytest.raises(WorkerLostError) as caught:
        result.get(timeout=PATIENCE_S)
    text = str(caught.value)
    assert "died 5 times" in text
    assert text.count("signal 9 (SIGKILL)") == 5
    assert text.count("UTC w0@bench") == 5
    (letter,) = bench.app.dead.list()
    assert len(letter.history) == letter.deliveries == 5
    assert all(death in text for death in letter.history)
    shown = umbel_dead_show(bench, letter.number)
    assert all(death in shown for death in letter.history)
    assert json.loads(umbel_dead_show(bench, letter.number, "--json"))["history"] == list(
        letter.history
    )


def umbel_dead_show(bench, number, *arguments):
    command = [sys.executable, "-m", "umbel", "-A", "storm_tasks", "dead", "show", str(number)]
    done = subprocess.run(
        [*command, *arguments],
        env=bench.environment(),
        cwd=bench.folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_the_deaths_of_whole_workers_are_told(bench):
    result = bench.tasks.poison_tree.delay("bad")

    worker = bench.start_worker(is_ready=False)
    while not result.ready():
        until(lambda w=worker: not w.is_running or result.ready(), PATIENCE_S)
        if not worker.is_running:
            worker = bench.start_worker(is_ready=False)

    with pytest.raises(WorkerLostError, match="lost with its whole worker") as caught:
        result.get(timeout=5)
    assert str(caught.value).count("lost with its whole worker") == 5
    assert bench.trace.begun()["bad"] == 5


def test_a_verdict_that_kills_who_carries_it_out_ends(bench):
    worker = bench.start_worker()
    errback = bench.tasks.deadly_errback.s("bad")

    after = bench.tasks.work.si("after")
    flow = chain(bench.tasks.poison.si("bad").on_error(errback), after).apply_async()

    with pytest.raises(WorkerLostError):
        flow.parent.get(timeout=PATIENCE_S)
    until(lambda: bench.app.dead.count() == 1)
    (letter,) = bench.app.dead.list()
    assert "killed 3 processes" in letter.cause
    assert len(letter.history) == 5 + 3
    assert kinds(bench, "bad") == {"begin": 5, "errback": 3}
    assert flow.get(timeout=10, propagate=False).__class__ is WorkerLostError
    assert bench.tasks.work.delay("good", 0, 7).get(timeout=10) == 7
    assert worker.is_running
    assert not any(bench.depth())


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_an_error_callback_that_kills_ends_as_the_task_that_it_belongs_to(bench, pool):
    worker = bench.start_worker("-P", pool)
    errback = bench.tasks.deadly_errback.s("bad")

    result = bench.tasks.fail.apply_async(("bad",), link_error=errback)

    with pytest.raises(WorkerLostError):
        result.get(timeout=PATIENCE_S)
    until(lambda: bench.app.dead.count() == 1)
    # The first death is nobody's: only then is the message watched.
    assert kinds(bench, "bad") == {"begin": 6, "errback": 6 + 3}
    assert bench.tasks.work.delay("good", 0, 7).get(timeout=10) == 7
    assert worker.is_running
    assert not any(bench.depth())


def test_a_chord_whose_error_callback_kills_ends(bench):
    bench.start_worker()
    body = bench.tasks.total.s("body").on_error(bench.tasks.deadly_errback.s("bad"))

    result = chord([bench.tasks.fail.si("one"), bench.tasks.work.si("two")], body).apply_async()

    with pytest.raises((WorkerLostError, ChordError)):
        result.get(timeout=PATIENCE_S)
    until(lambda: bench.app.dead.count() == 1)
    assert kinds(bench, "bad")["errback"] == 6
    assert bench.tasks.work.delay("good", 0, 7).get(timeout=10) == 7
    assert not any(bench.depth())


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_arguments_that_kill_who_decodes_them_end(bench, pool):
    worker = bench.start_worker("-P", pool)

    result = bench.tasks.work.apply_async(("bad", 0, bench.tasks.Deadly()), serializer="pickle")
    good = [bench.tasks.work.delay(f"good-{n}", 0, n) for n in range(20)]

    assert [one.get(timeout=PATIENCE_S) for one in good] == list(range(20))
    with pytest.raises(WorkerLostError):
        result.get(timeout=PATIENCE_S)
    until(lambda: bench.app.dead.count() == 1)
    (letter,) = bench.app.dead.list()
    assert letter.id == result.id
    # One unseen, five counted, five with the verdict.
    assert kinds(bench, "deadly") == {"read": 1 + 5 + 5}
    assert bench.trace.repeated() <= 20
    assert worker.is_running
    assert not any(bench.depth())
