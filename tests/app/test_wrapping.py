"""Functions that others replace: they are called, and what they do wrong changes no outcome."""

from __future__ import annotations

import json

import pytest

from umbel import Celery, Task, chain, group
from umbel.app import wrapping
from umbel.app.execution import Plan, execute
from umbel.model.errors import NotBuiltYet
from umbel.model.outcome import Failed, Succeeded
from umbel.model.request import Request
from umbel.testing.running import running_worker
from umbel.wire import envelope


@pytest.fixture
def app(request):
    url = f"memory://{request.node.name}"
    app = Celery("wrapped", broker=url, backend=url, set_as_current=False)
    app.task(lambda x, y: x + y, name="add")
    yield app
    app.close()


@pytest.fixture
def wrap(monkeypatch):
    """Replace ``build_tracer`` by one whose tracers are called through a function."""

    def replace(around):
        own = wrapping.build_tracer

        def build(name, task, *args, **kwargs):
            tracer = own(name, task, *args, **kwargs)
            return lambda *facts: around(tracer, *facts)

        monkeypatch.setattr(wrapping, "build_tracer", build)

    return replace


def ran(app, name="add", args=(1, 2)):
    request = Request(id="1", task=name, called_directly=False)
    return execute(Plan(app.tasks[name]), request, args, {})


def test_a_plan_without_wrappers_has_no_tracer(app):
    assert Plan(app.tasks["add"]).tracer is None


def test_a_tracer_is_called_around_the_run(app, wrap):
    seen = []

    def around(tracer, *facts):
        told = tracer(*facts)
        seen.append((facts[0], facts[1], facts[3].task, told.retval))
        return told

    wrap(around)

    assert ran(app) == Succeeded(3)
    assert seen == [("1", (1, 2), "add", 3)]


def test_a_tracer_that_raises_after_the_run_changes_nothing(app, wrap, caplog):
    def around(tracer, *facts):
        tracer(*facts)
        raise LookupError("the monitor is away")

    wrap(around)

    assert ran(app) == Succeeded(3)
    assert "what is wrapped around task add[1] raised" in caplog.text


def test_a_tracer_that_does_not_run_the_task_is_an_error(app, wrap):
    wrap(lambda tracer, *facts: None)

    with pytest.raises(RuntimeError, match="did not run it"):
        ran(app)


def test_a_failure_is_an_outcome_and_no_error_of_the_tracer(app, wrap):
    seen = []

    def around(tracer, *facts):
        seen.append(tracer(*facts).retval)

    wrap(around)

    outcome = ran(app, args=(1, None))

    assert isinstance(outcome, Failed)
    assert seen == [outcome.error]


def test_a_replaced_apply_async_gives_headers_to_all_parts_of_a_workflow(app, monkeypatch):
    own = Task.apply_async

    def apply_async(task, *args, **kwargs):
        headers = {**(kwargs.get("headers") or {}), "trace": "t1"}
        return own(task, *args, **{**kwargs, "headers": headers})

    monkeypatch.setattr(Task, "apply_async", apply_async)
    add = app.tasks["add"]

    group(add.s(1, 1), chain(add.s(2, 2), add.s(3))).apply_async()

    broker = app.open_pair().broker
    raws = broker.peek("celery", 10)
    assert [envelope.decode(raw).headers["trace"] for raw in raws] == ["t1", "t1"]


def test_a_replaced_publish_is_called_for_each_message(app, monkeypatch):
    seen = []
    own = wrapping.Producer.publish

    def publish(producer, body, **facts):
        seen.append((facts["headers"]["task"], facts["routing_key"], json.loads(body)[0]))
        assert producer.connection.transport.driver_type == "memory"
        return own(producer, body, **facts)

    monkeypatch.setattr(wrapping.Producer, "publish", publish)
    add = app.tasks["add"]

    with running_worker(app):
        assert group(add.s(i, i) for i in range(3)).apply_async().get(timeout=10) == [0, 2, 4]
        assert add.delay(5, 5).get(timeout=10) == 10

    assert seen == [("add", "celery", [i, i]) for i in (0, 1, 2, 5)]


def test_a_producer_of_ones_own_is_refused():
    with pytest.raises(NotBuiltYet, match="send tasks"):
        wrapping.Producer(None)
