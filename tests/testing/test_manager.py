"""Waiting on behalf of integration tests."""

from __future__ import annotations

import io

import pytest

from umbel.testing.apps import TestApp
from umbel.testing.manager import Manager, Sentinel
from umbel.testing.worker import start_worker


@pytest.fixture
def app():
    app = TestApp()
    app.task(lambda x: x, name="echo")
    yield app
    app.close()


def test_results_are_joined_and_missing_ones_are_named(app):
    manager = Manager(app, stdout=io.StringIO())
    with start_worker(app):
        assert manager.join([app.tasks["echo"].delay(i) for i in range(3)]) == [0, 1, 2]
    left = app.tasks["echo"].delay(4)

    assert manager.missing_results([left]) == [left.id]
    with pytest.raises(AssertionError, match=left.id):
        Manager(app, block_timeout=0.05, stdout=io.StringIO()).join([left])
    assert Manager(app, no_join=True).join([left]) is None


def test_a_function_is_called_until_it_is_true(app):
    manager = Manager(app, stdout=io.StringIO())
    answers = iter([0, 0, 7])

    found = manager.retry_over_time(
        lambda: manager.true_or_raise(lambda: next(answers)),
        Sentinel,
        interval_start=0,
        interval_step=0,
        emit_warning=True,
    )

    assert found == 7
    assert manager.stdout.getvalue().count("waiting for thing") == 2
    with pytest.raises(Sentinel):
        manager.wait_for(
            lambda: manager.true_or_raise(lambda: 0),
            Sentinel,
            max_retries=1,
            interval_start=0,
            interval_step=0,
        )


def test_what_must_not_happen_is_told_when_it_does(app):
    manager = Manager(app)

    def never():
        raise Sentinel()

    quick = {"max_retries": 2, "interval_start": 0, "interval_step": 0}
    manager.ensure_not_for_a_while(never, Sentinel, **quick)
    with pytest.raises(AssertionError, match="should not have happened: a flood"):
        manager.ensure_not_for_a_while(lambda: 1, Sentinel, "a flood", **quick)
