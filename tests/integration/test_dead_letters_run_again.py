"""What a worker could not run is kept, and runs when somebody says so."""

import time

import pytest

from umbel import Celery, chain, chord
from umbel.exceptions import ChordError

pytestmark = pytest.mark.slow  # real workers


def until(condition, timeout_s=15.0):
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.01)


def test_an_unknown_task_runs_when_the_app_has_it(urls, start_worker):
    url = urls["CELERY_BROKER_URL"]
    with Celery("growing_tasks", broker=url, backend=url) as app:
        grown = app.signature("growing_tasks.grown", (1,))
        again = app.signature("growing_tasks.grown")
        first = start_worker("growing_tasks", "-c", "1", env=urls)
        result = chain(grown, again).apply_async()
        refused = result.parent.get(timeout=15, propagate=False)
        (letter,) = app.dead.list()
        first.stop()
        start_worker("growing_tasks", "-c", "1", env={**urls, "UMBEL_TEST_HAS_GROWN": "1"})

        replayed = app.dead.replay(task="growing_tasks.*")

        assert type(refused).__name__ == "NotRegistered"
        assert (letter.task, letter.args, letter.id) == (
            "growing_tasks.grown",
            "(1,)",
            result.parent.id,
        )
        assert replayed == 1
        until(lambda: app.AsyncResult(result.id).state == "SUCCESS")
        assert app.AsyncResult(result.id).get(timeout=5) == 3
        assert app.AsyncResult(result.parent.id).get(timeout=5) == 2
        assert app.dead.count() == 0


def test_a_chord_that_has_failed_stays_failed_when_its_member_is_replayed(urls, start_worker):
    url = urls["CELERY_BROKER_URL"]
    with Celery("growing_tasks", broker=url, backend=url) as app:
        grown = app.signature("growing_tasks.grown", (1,), immutable=True)
        body = app.signature("growing_tasks.grown", (100,), immutable=True)
        first = start_worker("growing_tasks", "-c", "1", env=urls)
        result = chord([grown, grown], body).apply_async()
        with pytest.raises(ChordError):
            result.get(timeout=15)
        until(lambda: app.dead.count() == 2)
        first.stop()
        start_worker("growing_tasks", "-c", "1", env={**urls, "UMBEL_TEST_HAS_GROWN": "1"})

        app.dead.replay()

        ids = [member.id for member in result.parent.results]
        until(lambda: all(app.AsyncResult(one).state == "SUCCESS" for one in ids))
        # What the worker does next comes behind a body, if one had been sent.
        assert grown.delay().get(timeout=10) == 2
        assert app.AsyncResult(result.id).state == "FAILURE"
        assert app.dead.count() == 0
