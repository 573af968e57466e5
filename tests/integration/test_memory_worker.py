"""The engine in memory, with a worker inside this program."""

import importlib
import sys
import time

import pytest
from test_nested_canvas import TIMEOUT_S, nestings

from umbel.testing.running import running_worker


@pytest.fixture
def tasks(monkeypatch, request):
    from pathlib import Path

    url = f"memory://{request.node.name}"
    monkeypatch.setenv("CELERY_BROKER_URL", url)
    monkeypatch.setenv("CELERY_RESULT_BACKEND", url)
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "programs"))
    sys.modules.pop("canvas_tasks", None)
    module = importlib.import_module("canvas_tasks")
    yield module
    module.app.close()
    sys.modules.pop("canvas_tasks", None)


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_every_nesting_gives_the_value_of_its_plain_evaluation_in_memory(pool, tasks):
    with running_worker(tasks.app, pool=pool, threads=3):
        started = [(name, sig.apply_async(), value) for name, sig, value in nestings(tasks)]
        found = [(name, result.get(timeout=TIMEOUT_S), value) for name, result, value in started]

    assert [row for row in found if row[1] != row[2]] == []


def test_a_countdown_fires_on_time_in_memory(tasks):
    with running_worker(tasks.app):
        tasks.add.delay(1, 1).get(timeout=5)
        started = time.time()
        tasks.add.apply_async((1, 2), countdown=0.5).get(timeout=10)
        took = time.time() - started

    assert 0.5 <= took < 1.0


def test_a_failure_in_the_worker_thread_is_the_failure_of_the_block(tasks):
    with pytest.raises(ValueError, match="solo"), running_worker(tasks.app, pool="prefork"):
        raise AssertionError("a prefork worker can't live inside a program")
