"""One attempt at a task: which outcome it has, and who is told."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from umbel import Celery, Task
from umbel.app import signals
from umbel.app.execution import Plan, backoff, execute
from umbel.model.call import Call
from umbel.model.errors import (
    Ignore,
    MaxRetriesExceededError,
    Reject,
    Retry,
    WorkerShutdown,
)
from umbel.model.outcome import Failed, Ignored, Rejected, Replaced, Retried, Succeeded
from umbel.model.request import Request, current_request


def attempt(task: Any, *args: Any, **facts: Any) -> Any:
    """Run a task as a worker would."""
    known = {"id": "id-1", "root_id": "root-1", "called_directly": False, "ignore_result": False}
    request = Request({**known, "task": task.name, "args": list(args), "kwargs": {}, **facts})
    return execute(Plan(task), request, args, {})


def test_what_the_function_returns_is_the_outcome(app: Celery) -> None:
    outcome = attempt(app.task(lambda x: x + 1, name="t"), 1)

    assert outcome == Succeeded(2)
    assert current_request() is None


def test_a_bound_task_sees_its_request(app: Celery) -> None:
    @app.task(bind=True)
    def whoami(self):
        return self.request.id, self.request.root_id, self.request.called_directly

    assert attempt(whoami) == Succeeded(("id-1", "root-1", False))
    assert whoami() == (None, None, True)


def test_another_tasks_request_is_not_mine(app: Celery) -> None:
    @app.task(bind=True)
    def inner(self):
        return self.request.id

    @app.task(bind=True)
    def outer(self):
        return [self.request.id, inner(), self.request.id]

    assert attempt(outer) == Succeeded(["id-1", None, "id-1"])


def test_a_test_may_say_what_the_request_is(app: Celery) -> None:
    @app.task(bind=True)
    def attempts(self):
        return self.request.retries

    attempts.push_request(retries=3)

    assert attempts.run() == 3
    assert attempts.pop_request().retries == 3
    assert attempts.request.retries == 0


def test_an_error_is_a_failure_with_a_traceback_that_begins_in_the_users_code(app: Celery) -> None:
    @app.task
    def broken():
        raise KeyError("missing")

    outcome = attempt(broken)

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, KeyError)
    assert outcome.traceback.splitlines()[1].endswith("in broken")
    assert outcome.traceback.endswith("KeyError: 'missing'\n")


def test_sys_exit_ends_the_task_and_not_the_worker(app: Celery) -> None:
    outcome = attempt(app.task(lambda: exit(3), name="t"))

    assert isinstance(outcome.error, SystemExit)


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (Ignore(), Ignored()),
        (Reject("no", requeue=True), Rejected("no", True)),
        (Reject("no"), Rejected("no", False)),
    ],
)
def test_predicates_are_outcomes(raised: Exception, outcome: Any, app: Celery) -> None:
    @app.task
    def steer():
        raise raised

    assert attempt(steer) == outcome


# - Retries


def test_a_retry_is_a_call_with_the_same_id_and_place(app: Celery) -> None:
    @app.task(bind=True, name="t")
    def flaky(self, n):
        raise self.retry(exc=ValueError("not yet"), countdown=7)

    outcome = attempt(
        flaky,
        5,
        retries=1,
        group="g",
        group_index=3,
        chord={"task": "body"},
        chain=[{"task": "next"}],
        callbacks=[{"task": "cb"}],
        errbacks=[{"task": "eb"}],
        parent_id="p",
        headers={"x": 1},
        delivery_info={"exchange": "", "routing_key": "slow"},
        properties={"priority": 6},
        timelimit=[30, 20],
        expires="2030-01-01T00:00:00+00:00",
        replaced_task_nesting=2,
    )

    assert isinstance(outcome, Retried)
    assert isinstance(outcome.error, ValueError)
    assert outcome.message == "Retry in 7s: ValueError('not yet')"
    call = outcome.call
    assert call[:12] == Call(
        "t", (5,), {}, "id-1", "root-1", "p", "g", 3, {"task": "body"}, [{"task": "next"}],
        [{"task": "cb"}], [{"task": "eb"}],
    )[:12]  # fmt: skip
    assert call.options == {
        "retries": 2,
        "countdown": 7,
        "queue": "slow",
        "priority": 6,
        "headers": {"x": 1},
        "time_limit": 30,
        "soft_time_limit": 20,
        "expires": "2030-01-01T00:00:00+00:00",
        "replaced_task_nesting": 2,
        "ignore_result": False,
    }


def test_a_retry_may_have_other_arguments_and_options(app: Celery) -> None:
    @app.task(bind=True, name="t", default_retry_delay=11)
    def flaky(self, n):
        self.retry(args=[n + 1], queue="other", priority=2)

    call = attempt(flaky, 1, delivery_info={"routing_key": "slow", "exchange": ""}).call

    assert call.args == [2]
    assert call.options["queue"] == "other"
    assert call.options["priority"] == 2
    assert call.options["countdown"] == 11


@pytest.mark.parametrize(
    ("limit", "retries", "is_over"), [(3, 2, False), (3, 3, True), (0, 0, True), (None, 99, False)]
)
def test_max_retries_bounds_them(limit: Any, retries: int, is_over: bool, app: Celery) -> None:
    @app.task(bind=True, max_retries=limit)
    def flaky(self):
        self.retry()

    outcome = attempt(flaky, retries=retries)

    if is_over:
        assert isinstance(outcome.error, MaxRetriesExceededError)
        assert f"Can't retry {flaky.name}[id-1]" in str(outcome.error)
    else:
        assert isinstance(outcome, Retried)


def test_after_the_last_retry_the_error_itself_is_the_failure(app: Celery) -> None:
    @app.task(bind=True, max_retries=0)
    def flaky(self):
        try:
            raise ValueError("the real one")
        except ValueError as error:
            self.retry(exc=error)

    outcome = attempt(flaky)

    assert isinstance(outcome, Failed)
    assert str(outcome.error) == "the real one"


def test_a_retry_that_does_not_throw_is_sent_with_the_settlement(app: Celery) -> None:
    seen: list[Any] = []

    @app.task(bind=True)
    def again(self):
        retry = self.retry(throw=False, countdown=1)
        seen.append(self.request)
        return isinstance(retry, Retry)

    assert attempt(again) == Succeeded(True)
    assert [call.options["retries"] for call in seen[0].added_sends] == [1]


def test_retry_outside_of_a_worker_raises_the_cause(app: Celery) -> None:
    @app.task(bind=True)
    def flaky(self, exc=None):
        self.retry(exc=exc)

    with pytest.raises(ZeroDivisionError):
        flaky(ZeroDivisionError())
    with pytest.raises(Retry):
        flaky()


def test_a_misspelt_option_of_retry_is_named(app: Celery) -> None:
    @app.task(bind=True)
    def flaky(self):
        self.retry(count_down=3)

    assert "did you mean 'countdown'" in str(attempt(flaky).error)


def test_errors_can_be_retried_automatically(app: Celery) -> None:
    @app.task(
        autoretry_for=(OSError,),
        dont_autoretry_for=(FileNotFoundError,),
        retry_backoff=2,
        retry_backoff_max=30,
        retry_jitter=False,
        retry_kwargs={"max_retries": 5},
    )
    def fetch(error):
        raise error

    assert attempt(fetch, OSError(), retries=2).call.options["countdown"] == 8
    assert attempt(fetch, OSError(), retries=4).call.options["countdown"] == 30
    assert isinstance(attempt(fetch, OSError("x"), retries=5).error, OSError)
    assert isinstance(attempt(fetch, FileNotFoundError()), Failed)
    assert isinstance(attempt(fetch, ValueError()), Failed)


def test_a_retry_of_the_tasks_own_is_not_retried_again(app: Celery) -> None:
    @app.task(bind=True, autoretry_for=(Exception,))
    def fetch(self):
        self.retry(countdown=1)

    assert attempt(fetch).call.options["countdown"] == 1


@pytest.mark.parametrize("retries", [0, 3, 500])
def test_backoff_grows_to_its_maximum(retries: int) -> None:
    assert backoff(3, retries, 600) == min(600, 3 * 2**retries)
    assert 0 <= backoff(3, retries, 600, full_jitter=True) <= 600


# - Hooks and signals


def test_hooks_are_told_in_order(app: Celery) -> None:
    told: list[Any] = []

    class Telling(Task):
        def before_start(self, task_id, args, kwargs):
            told.append(("before_start", task_id, args))

        def on_success(self, retval, task_id, args, kwargs):
            told.append(("on_success", retval))

        def on_failure(self, exc, task_id, args, kwargs, einfo):
            told.append(("on_failure", str(exc), str(einfo).splitlines()[-1]))

        def on_retry(self, exc, task_id, args, kwargs, einfo):
            told.append(("on_retry", str(exc), type(einfo.exception)))

        def after_return(self, status, retval, task_id, args, kwargs, einfo):
            told.append(("after_return", status))

    @app.task(base=Telling, bind=True)
    def work(self, how):
        if how == "fail":
            raise ValueError("bad")
        if how == "retry":
            self.retry(exc=ValueError("later"))
        return how

    for how in ("well", "fail", "retry"):
        attempt(work, how)

    assert told == [
        ("before_start", "id-1", ("well",)),
        ("on_success", "well"),
        ("after_return", "SUCCESS"),
        ("before_start", "id-1", ("fail",)),
        ("on_failure", "bad", "ValueError: bad"),
        ("after_return", "FAILURE"),
        ("before_start", "id-1", ("retry",)),
        ("on_retry", "later", Retry),
    ]


def test_a_hook_that_breaks_does_not_change_the_outcome(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Task):
        def on_success(self, *args):
            raise RuntimeError("hook")

    task = app.task(lambda: 1, name="t", base=Broken)

    assert attempt(task) == Succeeded(1)
    assert "of task t[id-1] raised" in caplog.text
    with pytest.raises(RuntimeError, match="hook"):
        task.apply()


def test_before_start_belongs_to_the_task(app: Celery) -> None:
    class Broken(Task):
        def before_start(self, *args):
            raise RuntimeError("early")

    assert str(attempt(app.task(lambda: 1, name="t", base=Broken)).error) == "early"


def test_signals_are_sent_around_a_run(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []
    names = ("prerun", "postrun", "success", "failure", "retry")
    receivers = []
    for name in names:

        def receiver(sender, name=name, **facts):
            told.append((name, sender.name, facts.get("state") or facts.get("task_id")))

        receivers.append((getattr(signals, f"task_{name}"), receiver))
    for signal, receiver in receivers:
        signal.connect(receiver)

    @app.task(bind=True, name="t")
    def work(self, how):
        if how == "fail":
            raise ValueError
        if how == "retry":
            self.retry()
        if how == "reject":
            raise Reject

    with caplog.at_level(logging.CRITICAL):
        for how in ("well", "fail", "retry", "reject"):
            attempt(work, how)
    for signal, receiver in receivers:
        signal.disconnect(receiver)

    assert [entry[0::2] for entry in told] == [
        ("prerun", "id-1"), ("success", None), ("postrun", "SUCCESS"),
        ("prerun", "id-1"), ("failure", "id-1"), ("postrun", "FAILURE"),
        ("prerun", "id-1"), ("retry", None), ("postrun", "RETRY"),
        ("prerun", "id-1"), ("postrun", "REJECTED"),
    ]  # fmt: skip


# - Replacing and growing


def test_a_task_is_replaced_by_calls_in_its_place(app: Celery) -> None:
    add = app.task(lambda x, y: x + y, name="add")

    @app.task(bind=True, name="t")
    def outer(self):
        return self.replace(add.s(1, 2))

    outcome = attempt(
        outer,
        group="g",
        group_index=4,
        chord={"task": "body", "options": {}},
        chain=[{"task": "next", "options": {"task_id": "n1"}}],
        callbacks=[{"task": "cb"}],
        replaced_task_nesting=1,
        parent_id="p1",
    )

    assert isinstance(outcome, Replaced)
    (call,) = outcome.sends
    assert isinstance(call, Call)
    assert (call.task, list(call.args), call.id) == ("add", [1, 2], "id-1")
    assert (call.group_id, call.group_index, call.root_id) == ("g", 4, "root-1")
    assert call.parent_id == "id-1"
    # What comes after a replacement is as deep, as Celery has it.
    assert call.chain == [
        {"task": "next", "options": {"task_id": "n1", "replaced_task_nesting": 2}}
    ]
    assert call.link == [{"task": "cb"}]
    assert call.options["replaced_task_nesting"] == 2


def test_a_replacement_by_a_group_is_gathered_under_the_old_id(app: Celery) -> None:
    add = app.task(lambda x, y: x + y, name="add")

    @app.task(bind=True, name="t")
    def outer(self):
        from umbel import group

        self.replace(group(add.s(1, 1), add.s(2, 2)))

    sends = list(attempt(outer).sends)

    bodies = [call.chord for call in sends if isinstance(call, Call)]
    assert len(bodies) == 2
    assert {body["task"] for body in bodies} == {"celery.accumulate"}
    assert {body["options"]["task_id"] for body in bodies} == {"id-1"}


def test_an_eager_replacement_runs_at_once(app: Celery) -> None:
    add = app.task(lambda x, y: x + y, name="add")

    @app.task(bind=True, name="t")
    def outer(self, x):
        return self.replace(add.s(x, 100))

    assert outer.apply((1,)).get() == 101


def test_a_chord_grows_with_the_settlement(app: Celery) -> None:
    add = app.task(lambda x, y: x + y, name="add")
    seen: list[Any] = []

    @app.task(bind=True, name="t")
    def member(self):
        result = self.add_to_chord(add.s(1, 1))
        seen.append(self.request)
        return result.id

    outcome = attempt(member, group="g", group_index=0, chord={"task": "body", "options": {}})

    (request,) = seen
    assert list(request.added_growth) == [("g", 1)]
    (call,) = request.added_sends
    assert (call.group_id, call.group_index, call.chord["task"]) == ("g", 0, "body")
    assert call.id == outcome.value


def test_only_members_of_a_chord_can_grow_it(app: Celery) -> None:
    @app.task(bind=True, name="t")
    def member(self):
        self.add_to_chord(self.s())

    assert "not member of any chord" in str(attempt(member).error)


class OwnExit(BaseException):
    """As libraries have them: not to be caught by ``except Exception``."""


@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, SystemExit, GeneratorExit, OwnExit, WorkerShutdown]
)
def test_whatever_a_task_raises_is_its_own_failure(app: Celery, kind: type[BaseException]) -> None:
    @app.task(name="t")
    def leave() -> None:
        raise kind("enough")

    outcome = attempt(leave)

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, kind)


def test_a_ctrl_c_ends_the_program_that_runs_a_task_itself(app: Celery) -> None:
    @app.task(name="t")
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted.apply()
