"""What becomes of a message whose task failed, outran its limit, or took its process with it."""

import importlib
import os
import sys
import time

import pytest

pytestmark = pytest.mark.slow  # real workers

LIMIT_S = 30.0


def until(condition, timeout_s=LIMIT_S):
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def ending(urls, tmp_path, monkeypatch):
    """The program, as a producer; ``ending.noted(name)`` counts its runs."""
    notes = tmp_path / "notes"
    notes.touch()
    urls["UMBEL_TEST_NOTES"] = str(notes)
    for name, value in urls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(os.path.join(os.path.dirname(__file__), "programs"))
    sys.modules.pop("ending_tasks", None)
    module = importlib.import_module("ending_tasks")
    module.noted = lambda name: notes.read_text().splitlines().count(name)
    yield module
    module.app.close()
    sys.modules.pop("ending_tasks", None)


# task: runs, error, dead letters
ENDS = {
    "fails": (1, "ValueError", 1),
    "fails_by_the_old_name": (1, "ValueError", 1),
    "fails_at_most_once": (1, "ValueError", 0),
    "fails_by_default": (1, "ValueError", 0),
    "outruns": (3, "WorkerLostError", 1),
    "outruns_by_default": (1, "TimeLimitExceeded", 0),
    "outruns_at_most_once": (1, "TimeLimitExceeded", 0),
    "dies": (1, "WorkerLostError", 0),
    "dies_and_runs_again": (3, "WorkerLostError", 1),
}


def test_the_end_of_a_task_is_that_of_its_options(ending, urls, start_worker):
    start_worker("ending_tasks", "-c", "2", env=urls)

    sent = {name: ending.app.tasks[f"ending_tasks.{name}"].delay() for name in ENDS}
    raised = {name: result.get(timeout=LIMIT_S, propagate=False) for name, result in sent.items()}

    letters = [letter.task.removeprefix("ending_tasks.") for letter in ending.app.dead.list()]
    found = {
        name: (ending.noted(name), type(raised[name]).__name__, letters.count(name))
        for name in ENDS
    }
    assert found == ENDS


def test_a_failure_that_is_not_settled_is_run_again_by_a_person(ending, urls, start_worker):
    start_worker("ending_tasks", "-c", "1", env=urls)
    ending.fails.delay().get(timeout=LIMIT_S, propagate=False)

    (letter,) = ending.app.dead.list()
    ending.app.dead.replay(task="ending_tasks.fails")
    until(lambda: ending.noted("fails") == 2)

    assert letter.cause == "it failed, and acks_on_failure is off: ValueError('as it should')"


def test_a_child_that_hangs_in_its_start_is_replaced(ending, urls, start_worker, tmp_path):
    (tmp_path / "impatient.py").write_text("worker_proc_alive_timeout = 1.0\n")
    hangs = {"UMBEL_TEST_HANGS": str(tmp_path / "hangs")}

    worker = start_worker(
        "ending_tasks", "-c", "2", env={**urls, **hangs, "CELERY_CONFIG_MODULE": "impatient"}
    )

    assert "has not started within 1.0 s (worker_proc_alive_timeout)" in worker.log
