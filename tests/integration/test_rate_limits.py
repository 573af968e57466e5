"""Tasks with a rate limit: so many starts a second in the whole worker, and nobody is held up."""

import importlib
import os
import signal
import sys
import time
from contextlib import suppress

import pytest

from umbel import Celery
from umbel.testing.running import running_worker

pytestmark = pytest.mark.slow  # real workers

LIMIT_S = 30.0


def until(condition, timeout_s=LIMIT_S):
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def limited(urls, tmp_path, monkeypatch):
    """The program, as a producer; its notes are read with ``limited.noted(name)``."""
    notes = tmp_path / "notes"
    notes.touch()
    urls["UMBEL_TEST_NOTES"] = str(notes)
    for name, value in urls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(os.path.join(os.path.dirname(__file__), "programs"))
    sys.modules.pop("limited_tasks", None)
    module = importlib.import_module("limited_tasks")

    def noted(name):
        lines = [line.split() for line in notes.read_text().splitlines()]
        return [(float(line[1]), *line[2:]) for line in lines if line and line[0] == name]

    module.noted = noted
    yield module
    module.app.close()
    sys.modules.pop("limited_tasks", None)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_worker_keeps_the_limit_over_its_children_and_others_flow(
    limited, urls, start_worker, pool
):
    for number in range(60):
        limited.limited.apply_async((number,), priority=3)
    for number in range(20):
        limited.free.delay(number)

    start_worker("limited_tasks", "-c", "3", "-P", pool, env=urls)
    until(lambda: len(limited.noted("limited")) == 60)

    ran = sorted(limited.noted("limited"))
    starts = [line[0] for line in ran]
    # 20 a second, with what a loaded machine makes of it: late ones are made up for a little.
    assert starts[-1] - starts[0] > 59 / 20 - 0.5
    for at in starts:
        assert len([start for start in starts if at <= start < at + 1]) <= 26
    assert {line[2:] for line in ran} == {("None", "3")}
    assert max(line[0] for line in limited.noted("free")) < starts[30]


def test_one_child_runs_them_in_their_order(limited, urls, start_worker):
    for number in range(30):
        limited.limited.delay(number)

    start_worker("limited_tasks", "-c", "1", env=urls)
    until(lambda: len(limited.noted("limited")) == 30)

    assert [int(line[1]) for line in sorted(limited.noted("limited"))] == list(range(30))


def test_what_expires_while_it_waits_for_its_turn_is_revoked_in_time(limited, urls, start_worker):
    start_worker("limited_tasks", "-c", "1", env=urls)
    first = limited.rare.delay(1)
    first.get(timeout=LIMIT_S)

    late = limited.rare.apply_async((2,), expires=1.0)
    until(lambda: late.state == "REVOKED", 10.0)

    assert len(limited.noted("rare")) == 1


def test_children_that_are_killed_keep_the_limit_and_lose_nothing(limited, urls, start_worker):
    worker = start_worker("limited_tasks", "-c", "3", env=urls)
    for number in range(60):
        limited.limited.delay(number)

    killed = 0
    limit = time.monotonic() + LIMIT_S
    # One that is killed between its note and its settlement runs again.
    while len({line[1] for line in limited.noted("limited")}) < 60:
        assert time.monotonic() < limit, worker.log
        for pid in children_of(worker.process.pid)[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        time.sleep(0.2)

    assert killed > 3
    ran = limited.noted("limited")
    assert max(line[0] for line in ran) - min(line[0] for line in ran) > 59 / 20 - 0.5


def children_of(supervisor):
    """The pids of a worker's children: those of the supervisor that are not the nursery."""
    with open(f"/proc/{supervisor}/task/{supervisor}/children") as file:
        pids = [int(pid) for pid in file.read().split()]
    return pids[1:]


def test_the_limits_of_annotations_hold_and_can_be_disabled(limited, urls, start_worker):
    start_worker("limited_tasks", "-c", "1", env=urls)
    for number in range(3):
        limited.annotated.delay(number)
    limited.free.delay(0)

    until(lambda: limited.noted("free"))

    assert len(limited.noted("annotated")) == 1


@pytest.mark.parametrize(
    ("settings", "ran"),
    [
        ({"task_default_rate_limit": "1/h"}, 1),
        ({"task_default_rate_limit": "1/h", "worker_disable_rate_limits": True}, 3),
        ({"task_default_rate_limit": "0/h"}, 3),
    ],
)
def test_the_default_limit_is_that_of_tasks_without_one(settings, ran):
    with Celery("shop", broker="memory://", backend="memory://") as app:
        app.conf.update(settings)
        runs = []
        task = app.task(name="shop.work")(lambda: runs.append(1))
        last = app.task(name="shop.last", rate_limit=0)(lambda: None)

        with running_worker(app):
            for _ in range(3):
                task.delay()
            last.delay().get(timeout=LIMIT_S)

    assert len(runs) == ran


def test_a_limit_that_is_none_is_refused_by_name_before_the_worker_works(tmp_path, start_worker):
    (tmp_path / "wrong_limit.py").write_text(
        "from umbel import Celery\napp = Celery('wrong')\n"
        "@app.task(rate_limit='10/fortnight')\ndef work(): pass\n"
    )

    worker = start_worker("wrong_limit", is_ready=False)

    assert worker.process.wait(LIMIT_S) == 1
    assert "task wrong_limit.work: '10/fortnight' is no rate limit" in worker.log
