"""Running tasks here: ``apply`` and ``task_always_eager``."""

from __future__ import annotations

from typing import Any

import pytest

from umbel import Celery, EagerResult
from umbel.model.errors import MaxRetriesExceededError


def test_apply_gives_a_result_that_is_there(app: Celery) -> None:
    result = app.task(lambda x, y: x + y, name="add").apply((1,), {"y": 2}, task_id="mine")

    assert isinstance(result, EagerResult)
    assert (result.id, result.state, result.get()) == ("mine", "SUCCESS", 3)


def test_a_failure_is_kept_unless_it_is_to_be_thrown(app: Celery) -> None:
    task = app.task(lambda: 1 / 0, name="broken")

    result = task.apply()

    assert result.failed()
    assert "ZeroDivisionError" in result.traceback
    with pytest.raises(ZeroDivisionError):
        result.get()
    with pytest.raises(ZeroDivisionError):
        task.apply(throw=True)
    app.conf.task_eager_propagates = True
    with pytest.raises(ZeroDivisionError):
        task.apply()


def test_retries_run_at_once(app: Celery) -> None:
    seen: list[int] = []

    @app.task(bind=True, max_retries=3)
    def flaky(self, n):
        seen.append(self.request.retries)
        if self.request.retries < n:
            self.retry(countdown=3600)
        return self.request.id

    assert flaky.apply((2,), task_id="same").get() == "same"
    assert seen == [0, 1, 2]
    assert isinstance(flaky.apply((9,)).result, MaxRetriesExceededError)


def test_an_eager_app_sends_nothing(app: Celery, broker: Any) -> None:
    app.conf.task_always_eager = True
    add = app.task(lambda x, y: x + y, name="add")

    result = add.apply_async((1, 2), countdown=60, expires=90, queue="slow", priority=3)

    assert result.get() == 3
    assert (add.s(1, 2) | add.s(4)).delay().get() == 7
    assert broker.messages == []


def test_the_request_says_that_it_is_eager(app: Celery) -> None:
    @app.task(bind=True)
    def whoami(self):
        request = self.request
        return request.is_eager, request.called_directly, request.headers, request.args

    assert whoami.apply(headers={"x": 1}).get() == (True, False, {"x": 1}, ())


def test_callbacks_and_errbacks_of_an_eager_task_are_called(app: Celery) -> None:
    app.conf.task_always_eager = True
    seen: list[Any] = []
    note = app.task(seen.append, name="note", typing=False)
    old_style = app.task(lambda task_id: seen.append(task_id), name="old_style")

    @app.task(name="new_style")
    def new_style(request, exc, traceback):
        seen.append((request.id, type(exc)))

    app.task(lambda: 5, name="five").apply_async(link=note.s())
    broken = app.task(lambda: 1 / 0, name="broken")
    broken.apply_async(task_id="b1", link_error=[old_style.s(), new_style.s()])

    assert seen == [5, "b1", ("b1", ZeroDivisionError)]


def test_built_in_tasks_do_their_work(app: Celery) -> None:
    add = app.task(lambda x, y=1: x + y, name="add")
    tasks = app.tasks

    assert tasks["celery.map"](add.s(), [1, 2]) == [2, 3]
    assert tasks["celery.starmap"](dict(add.s()), [(1, 2), (3, 4)]) == [3, 7]
    assert tasks["celery.chunks"](add.s(), [(1, 1), (2, 2), (3, 3)], 2) == [[2, 4], [6]]
    assert tasks["celery.accumulate"](1, 2, index=0) == 1
    for name in ("celery.chain", "celery.group", "celery.chord", "celery.chord_unlock"):
        with pytest.raises(NotImplementedError):
            tasks[name]()
