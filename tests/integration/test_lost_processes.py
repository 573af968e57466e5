"""Nothing accepted is lost when processes die, and nothing hangs on what can't be finished."""

import os
import signal
import time

import pytest

from umbel import chain, chord
from umbel.exceptions import ChordError, TimeLimitExceeded, WorkerLostError

pytestmark = pytest.mark.slow
BACK_S = 10


def lines_of(path):
    return path.read_text().splitlines() if path.exists() else []


def until(condition, timeout_s=15.0):
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.01)


def test_a_task_whose_child_is_killed_runs_again_within_a_second(
    urls, program, start_worker, tmp_path
):
    start_worker("canvas_tasks", "-c", "2", env=urls)
    marker = tmp_path / "died"

    result = program.die_once.delay(str(marker))
    until(marker.exists)
    killed = time.monotonic()
    value = result.get(timeout=BACK_S)

    assert value == "survived"
    assert time.monotonic() - killed < 3


def test_poison_ends_after_five_runs_and_its_neighbours_run(urls, program, start_worker):
    start_worker("canvas_tasks", "-c", "2", env=urls)

    poison = program.die.delay()
    good = [program.add.delay(i, i) for i in range(20)]

    assert [result.get(timeout=20) for result in good] == [2 * i for i in range(20)]
    with pytest.raises(WorkerLostError):
        poison.get(timeout=30)


def test_a_chord_with_a_poisoned_member_is_resolved(urls, program, start_worker):
    start_worker("canvas_tasks", "-c", "2", env=urls)

    result = chord([program.die.si(), program.add.si(1, 1)], program.tsum.s()).apply_async()

    with pytest.raises(ChordError):
        result.get(timeout=40)


def test_the_work_of_a_killed_worker_is_done_by_the_next_one(urls, program, start_worker, tmp_path):
    trace = tmp_path / "trace"
    first = start_worker("canvas_tasks", "-c", "2", env=urls)
    body = chord(
        [
            # The naps come last: when the first notes are there, more than a second's work is left.
            chain(program.note.si(str(trace), f"m{i}"), program.nap.si(0.05, 1), program.add.s(i))
            for i in range(60)
        ],
        program.note.si(str(trace), "body"),
    ).apply_async()
    until(lambda: len(lines_of(trace)) > 10)

    first.kill()
    there = len(lines_of(trace))
    start_worker("canvas_tasks", "-c", "2", env=urls)
    until(lambda: len(lines_of(trace)) > there, BACK_S + 10)

    assert body.get(timeout=60) == "body"
    texts = [line.split()[1] for line in lines_of(trace)]
    assert {f"m{i}" for i in range(60)} <= set(texts)
    assert texts.count("body") == 1


def test_a_warm_stop_finishes_what_runs_and_hands_back_the_rest(urls, program, start_worker):
    first = start_worker("canvas_tasks", "-c", "1", env=urls)
    running = program.nap.delay(1.5, "ran on")
    first.wait_for("received")
    waiting = [program.add.delay(i, 0) for i in range(10)]

    exit_code = first.stop()

    assert exit_code == 0
    assert running.get(timeout=5) == "ran on"
    start_worker("canvas_tasks", "-c", "1", env=urls)
    assert [result.get(timeout=15) for result in waiting] == list(range(10))


def test_a_cold_stop_hands_back_what_runs(urls, program, start_worker, tmp_path):
    trace = tmp_path / "trace"
    first = start_worker("canvas_tasks", "-c", "1", env=urls)
    result = chain(program.note.si(str(trace), "before"), program.nap.si(3, "done")).apply_async()
    until(lambda: lines_of(trace))

    first.stop(signal.SIGQUIT)
    start_worker("canvas_tasks", "-c", "1", env=urls)

    assert result.get(timeout=20) == "done"


def test_a_countdown_is_kept_and_survives_a_kill(urls, program, start_worker):
    first = start_worker("canvas_tasks", "-c", "1", env=urls)
    sent = time.time()
    results = [program.add.apply_async((i, 0), countdown=4) for i in range(20)]
    program.add.delay(1, 1).get(timeout=10)

    first.kill()
    start_worker("canvas_tasks", "-c", "1", env=urls)
    values = [result.get(timeout=25) for result in results]

    assert values == list(range(20))
    assert time.time() - sent >= 4


def test_an_idle_worker_fires_on_time(urls, program, start_worker):
    start_worker("canvas_tasks", "-c", "1", env=urls)
    program.add.delay(1, 1).get(timeout=10)

    started = time.time()
    program.add.apply_async((1, 2), countdown=1.5).get(timeout=10)
    took = time.time() - started

    assert 1.5 <= took < 2.5


def test_at_most_once_means_one_run_and_a_told_failure(urls, program, start_worker, tmp_path):
    start_worker("canvas_tasks", "-c", "1", env=urls)
    path = tmp_path / "runs"

    result = program.die_early.delay(str(path))

    with pytest.raises(WorkerLostError):
        result.get(timeout=20)
    assert lines_of(path) == ["run"]


def test_a_hard_time_limit_ends_the_task_and_says_so(urls, program, start_worker):
    worker = start_worker("canvas_tasks", "-c", "1", env=urls)

    result = program.too_long.delay()

    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=15)
    worker.wait_for(f"exceeded for canvas_tasks.too_long[{result.id}]")
    assert program.add.delay(1, 1).get(timeout=10) == 2


def test_a_soft_time_limit_is_raised_in_the_task(urls, program, start_worker):
    worker = start_worker("canvas_tasks", "-c", "1", env=urls)

    result = program.soft_limited.delay()

    assert result.get(timeout=15) == "cleaned up"
    worker.wait_for(f"Soft time limit (0.5s) exceeded for canvas_tasks.soft_limited[{result.id}]")


@pytest.mark.parametrize("urls", [pytest.param("redis", marks=pytest.mark.redis)], indirect=True)
def test_a_zombie_that_comes_back_changes_nothing(urls, program, start_worker, tmp_path):
    trace = tmp_path / "trace"
    first = start_worker("canvas_tasks", "-c", "1", env=urls)
    result = chain(
        program.note.si(str(trace), "begun"),
        program.nap.si(2, 1),
        program.note.si(str(trace), "after"),
    ).apply_async()
    until(lambda: lines_of(trace))

    pids = [first.process.pid, *children_of(first.process.pid)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    start_worker("canvas_tasks", "-c", "1", env=urls)
    value = result.get(timeout=40)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    first.wait_for("was lost", timeout_s=20)

    assert value == "after"
    assert [line.split()[1] for line in lines_of(trace)].count("after") == 1


def children_of(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            for child in file.read().split():
                found += [int(child), *children_of(int(child))]
    return found
