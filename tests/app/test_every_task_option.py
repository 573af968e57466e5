"""Every attribute of a task and option of ``@app.task``: what is to be seen of it, or its refusal.

What a worker makes of it is seen in a worker's own loop; what needs processes (time limits, the
loss of a child) in the tests that ``ELSEWHERE`` names.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from celery.app.task import Task as CelerysTask
from elsewhere import missing

from umbel import Celery, Task, chord, group
from umbel.app.execution import Plan
from umbel.app.making import REFUSED_ATTRIBUTES
from umbel.app.options import INSIDE, task_options
from umbel.app.support import REFUSED
from umbel.model.errors import NotBuiltYet
from umbel.testing.running import running_worker
from umbel.wire import envelope

# - Options that say something about the message

# option: the value, where it is seen in the message that was sent, and as what.
IN_THE_MESSAGE: dict[str, tuple[Any, Callable[[Any, Any], Any], Any]] = {
    "compression": ("gzip", lambda m, e: e.headers.get("compression"), "application/x-gzip"),
    "delivery_mode": (1, lambda m, e: e.properties["delivery_mode"], 1),
    "exchange": ("x", lambda m, e: e.properties["delivery_info"]["exchange"], "x"),
    "expires": (30, lambda m, e: e.headers["expires"] is not None, True),
    "ignore_result": (True, lambda m, e: e.headers["ignore_result"], True),
    "name": ("shop.other", lambda m, e: m.task, "shop.other"),
    "priority": (7, lambda m, e: m.priority, 7),
    "queue": ("mail", lambda m, e: m.queue, "mail"),
    "routing_key": ("k", lambda m, e: e.properties["delivery_info"]["routing_key"], "k"),
    "serializer": ("yaml", lambda m, e: e.content_type, "application/x-yaml"),
    "shadow_name": (
        lambda self, args, kwargs, options: f"as {args[0]}",
        lambda m, e: e.headers["shadow"],
        "as 1",
    ),
    "soft_time_limit": (3, lambda m, e: e.headers["timelimit"][1], 3),
    "time_limit": (5, lambda m, e: e.headers["timelimit"][0], 5),
}


@pytest.mark.parametrize("option", IN_THE_MESSAGE)
def test_an_option_of_its_messages(option: str, app: Celery, broker: Any) -> None:
    value, look, expected = IN_THE_MESSAGE[option]
    beside = {"exchange": {"routing_key": "k"}, "routing_key": {"exchange": "x"}}.get(option, {})

    for number, options in enumerate(({}, {option: value})):
        task = app.task(**{"name": f"shop.{number}", **beside, **options})(lambda _: None)
        task.delay(1)

    plain, asked = [(m, envelope.decode(m.raw)) for m in broker.messages]
    assert look(*plain) != expected
    assert look(*asked) == expected


# - Options that a worker runs by; what the plan of a task says is carried out elsewhere

IN_THE_PLAN: dict[str, tuple[Any, Callable[[Plan], Any], Any]] = {
    "acks_late": (False, lambda plan: plan.is_at_most_once, True),
    "acks_on_failure": (False, lambda plan: plan.is_failure_settled, False),
    "acks_on_failure_or_timeout": (
        False,
        lambda plan: (plan.is_failure_settled, plan.manners > 0),
        (False, True),
    ),
    "acks_on_timeout": (False, lambda plan: plan.manners > 0, True),
    "reject_on_worker_lost": (False, lambda plan: plan.manners > 0, True),
}


@pytest.mark.parametrize("option", IN_THE_PLAN)
def test_an_option_of_how_it_ends(option: str, app: Celery) -> None:
    value, look, expected = IN_THE_PLAN[option]

    plain = app.task(name="shop.plain")(lambda: None)
    asked = app.task(**{"name": "shop.asked", option: value})(lambda: None)

    assert look(Plan(plain)) != expected
    assert look(Plan(asked)) == expected


def test_retry_on_worker_lost_wins_over_a_rejection(app: Celery) -> None:
    options = {"reject_on_worker_lost": False, "retry_on_worker_lost": True}

    task = app.task(**{"name": "shop.lost", **options})(lambda: None)

    assert Plan(task).manners == Plan(app.task(name="shop.plain")(lambda: None)).manners


# - Options that a worker shows


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """The lines of a worker's log about a task."""
    for name in ("celery.app.trace", "celery.worker.strategy"):
        caplog.set_level(logging.INFO, logger=name)
    return lambda task: [
        f"{record.levelname} {record.getMessage()}"
        for record in caplog.records
        if task in record.getMessage()
    ]


def test_throws_and_resultrepr_maxsize_are_seen_in_the_log(
    app: Celery, told: Callable[[str], list[str]]
) -> None:
    def fail() -> None:
        raise KeyError("expected")

    expected = app.task(name="shop.expected", throws=(KeyError,))(fail)
    other = app.task(name="shop.unexpected")(fail)
    short = app.task(name="shop.short", resultrepr_maxsize=20)(lambda: "x" * 500)
    long = app.task(name="shop.long")(lambda: "x" * 500)

    with running_worker(app):
        for task in (expected, other, short, long):
            task.delay().get(timeout=10, propagate=False)

    assert told("shop.expected")[-1].startswith("INFO")
    assert told("shop.unexpected")[-1].startswith("ERROR")
    assert len(told("shop.short")[-1]) < 150 < len(told("shop.long")[-1])


def test_what_is_stored_of_a_run(app: Celery) -> None:
    def state(self: Any) -> Any:
        return self.AsyncResult(self.request.id).state

    def fail() -> None:
        raise ValueError("kept")

    started = app.task(name="shop.started", bind=True, track_started=True)(state)
    pending = app.task(name="shop.pending", bind=True)(state)
    kept = app.task(name="shop.kept", ignore_result=True, store_errors_even_if_ignored=True)(fail)
    ignored = app.task(name="shop.ignored", ignore_result=True)(fail)

    with running_worker(app):
        assert started.delay().get(timeout=10) == "STARTED"
        assert pending.delay().get(timeout=10) == "PENDING"
        results = [kept.delay(), ignored.delay()]
        pending.delay().get(timeout=10)

    assert [app.AsyncResult(result.id).state for result in results] == ["FAILURE", "PENDING"]


def test_trail_keeps_what_a_task_sent(app: Celery) -> None:
    child = app.task(name="shop.child")(lambda: None)

    def send() -> None:
        child.delay()

    with_trail = app.task(name="shop.with")(send)
    without = app.task(name="shop.without", trail=False)(send)

    with running_worker(app):
        results = [task.delay() for task in (with_trail, without)]
        for result in results:
            result.get(timeout=10)

    assert [len(result.children or ()) for result in results] == [1, 0]


def test_an_eager_result_is_stored_where_that_is_asked(app: Celery) -> None:
    stored = app.task(name="shop.stored", store_eager_result=True)(lambda: 5)
    forgotten = app.task(name="shop.forgotten")(lambda: 5)

    results = [task.apply() for task in (stored, forgotten)]

    assert [app.AsyncResult(result.id).state for result in results] == ["SUCCESS", "PENDING"]


def test_hooks_of_a_class(app: Celery) -> None:
    seen = []

    class Telling(Task):  # type: ignore[type-arg]  # as users write it
        abstract = True

        @classmethod
        def on_bound(cls, app: Any) -> None:
            seen.append(f"bound to {app.main}")

        def on_replace(self, sig: Any) -> Any:
            seen.append(f"replaced by {sig.task}")
            return super().on_replace(sig)

    other = app.task(name="shop.other")(lambda: "other")
    task = app.task(name="shop.replaced", base=Telling, bind=True)(
        lambda self: self.replace(other.s())
    )

    with running_worker(app):
        assert task.delay().get(timeout=10) == "other"

    assert seen == ["bound to shop", "replaced by shop.other"]


# - Options of the decorator


def test_filter_lazy_and_shared() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    made: list[str] = []

    def twice(function: Callable[[], int]) -> Callable[[], int]:
        made.append(function.__name__)
        return lambda: 2 * function()

    def one() -> int:
        return 1

    shared = app.task(name="shop.shared")(one)
    app.task(name="shop.own", shared=False)(one)
    app.task(name="shop.filtered", filter=twice, lazy=False)(one)
    other = Celery("other", broker="memory://", set_as_current=False)

    assert made == ["one"]  # without anybody's having asked for it
    assert app.tasks["shop.filtered"]() == 2
    assert shared.name == "shop.shared"
    assert "shop.own" in app.tasks
    assert "shop.own" not in other.tasks


def test_models_as_arguments(app: Celery) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Order(pydantic.BaseModel):  # type: ignore[misc,name-defined]  # optional package
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def with_offset(cls, value: int, info: Any) -> int:
            return value + (info.context or {}).get("offset", 0)

    def take(order: Order) -> Order:
        return order

    take.__annotations__ = {"order": Order, "return": Order}
    plain = app.task(name="shop.plain", pydantic=True)(take)
    strict = app.task(name="shop.strict", pydantic=True, pydantic_strict=True)(take)
    context = app.task(name="shop.context", pydantic=True, pydantic_context={"offset": 5})(take)
    dumped = app.task(
        name="shop.dumped", pydantic=True, pydantic_dump_kwargs={"exclude": {"number"}}
    )(take)

    assert plain({"number": "1"}) == {"number": 1}
    with pytest.raises(pydantic.ValidationError):
        strict({"number": "1"})
    assert context({"number": 1}) == {"number": 6}
    assert dumped({"number": 1}) == {}


# - Methods


def test_methods_that_make_and_send(app: Celery) -> None:
    add = app.task(name="shop.add")(lambda *numbers: sum(numbers))
    both = app.task(name="shop.both", bind=True)(
        lambda self, x: dict(self.signature_from_request(args=(x,), queue="slow"))
    )

    with running_worker(app):
        assert add.delay(1, 2).get(timeout=10) == 3
        assert add.apply_async((1, 2)).get(timeout=10) == 3
        assert add.apply((1, 2)).get() == 3
        assert add.s(1).delay(2).get(timeout=10) == 3
        assert add.si(1, 2)() == 3
        assert add.signature((1,)) == add.subtask((1,)) == add.s(1)
        assert add.map([1, 2]).delay().get(timeout=10) == [1, 2]
        assert add.starmap([(1, 2), (3, 4)]).delay().get(timeout=10) == [3, 7]
        assert add.chunks([(1, 2), (3, 4)], 1).delay().get(timeout=10) == [[3], [7]]
        made = both.delay(4).get(timeout=10)

    assert (made["task"], made["args"], made["options"]["queue"]) == ("shop.both", [4], "slow")
    assert both.subtask_from_request == both.signature_from_request
    assert add.AsyncResult("an-id").id == "an-id"
    assert add.app is app
    assert issubclass(add.MaxRetriesExceededError, Exception)
    assert issubclass(add.OperationalError, Exception)
    assert isinstance(chord(group(add.s()), add.s()).tasks[0].type, Task)


# - Those that are tried in other tests

EXECUTION = "app/test_execution.py::"
ENDING = "integration/programs/ending_tasks.py"
CANVAS = "integration/programs/canvas_tasks.py"
ELSEWHERE = {
    "abstract": ["app/test_task_making.py::test_a_base_class_brings_state_and_hooks"],
    "add_to_chord": [EXECUTION + "test_a_chord_grows_with_the_settlement", CANVAS],
    "add_trail": ["app/test_parts_of_an_app.py::test_a_pushed_request_is_what_the_task_sees"],
    "after_return": [EXECUTION + "test_hooks_are_told_in_order"],
    "autoretry_for": [EXECUTION + "test_errors_can_be_retried_automatically"],
    "base": ["app/test_task_making.py::test_a_base_class_brings_state_and_hooks"],
    "before_start": [EXECUTION + "test_before_start_belongs_to_the_task"],
    "bind": ["app/test_task_making.py::test_options_become_attributes"],
    "default_retry_delay": [EXECUTION + "test_a_retry_may_have_other_arguments_and_options"],
    "dont_autoretry_for": [EXECUTION + "test_errors_can_be_retried_automatically"],
    "max_retries": [EXECUTION + "test_max_retries_bounds_them"],
    "on_failure": [EXECUTION + "test_hooks_are_told_in_order"],
    "on_retry": [EXECUTION + "test_hooks_are_told_in_order"],
    "on_success": [EXECUTION + "test_hooks_are_told_in_order"],
    "pop_request": [EXECUTION + "test_a_test_may_say_what_the_request_is"],
    "push_request": [EXECUTION + "test_a_test_may_say_what_the_request_is"],
    "rate_limit": ["integration/programs/limited_tasks.py"],
    "replace": [EXECUTION + "test_a_task_is_replaced_by_calls_in_its_place", CANVAS],
    "request": [EXECUTION + "test_a_bound_task_sees_its_request"],
    "request_stack": ["app/test_parts_of_an_app.py::test_a_pushed_request_is_what_the_task_sees"],
    "retry": [EXECUTION + "test_a_retry_is_a_call_with_the_same_id_and_place"],
    "retry_backoff": [EXECUTION + "test_errors_can_be_retried_automatically"],
    "retry_backoff_max": [EXECUTION + "test_errors_can_be_retried_automatically"],
    "retry_jitter": [EXECUTION + "test_errors_can_be_retried_automatically"],
    "retry_kwargs": [EXECUTION + "test_errors_can_be_retried_automatically"],
    "run": ["app/test_task_making.py::test_a_task_class_is_registered_as_an_instance"],
    "send_event": ["integration/programs/eventful_tasks.py"],
    "send_events": ["integration/programs/eventful_tasks.py"],
    "typing": ["app/test_argument_checks.py::test_typing_can_be_turned_off"],
    "update_state": ["app/test_records_of_an_app.py::test_running_tasks_tell_how_far_they_are"],
    # What is in the message or the plan is carried out in processes there.
    "acks_late": [ENDING],
    "acks_on_failure": [ENDING],
    "acks_on_failure_or_timeout": [ENDING],
    "acks_on_timeout": [ENDING],
    "reject_on_worker_lost": [ENDING],
    "soft_time_limit": [CANVAS],
    "time_limit": [ENDING],
}
HERE = {
    "AsyncResult", "MaxRetriesExceededError", "OperationalError", "app", "apply", "apply_async",
    "chunks", "delay", "filter", "lazy", "map", "on_bound", "on_replace", "pydantic",
    "pydantic_context", "pydantic_dump_kwargs", "pydantic_strict", "resultrepr_maxsize",
    "retry_on_worker_lost", "s", "shared", "si", "signature", "signature_from_request", "starmap",
    "store_eager_result", "store_errors_even_if_ignored", "subtask", "subtask_from_request",
    "throws", "track_started", "trail",
}  # fmt: skip


@pytest.mark.parametrize("option", ELSEWHERE)
def test_what_is_said_to_be_tried_elsewhere_is(option: str) -> None:
    assert [word for where in ELSEWHERE[option] for word in missing(where, option)] == []


# - Refusals


@pytest.mark.parametrize("name", REFUSED_ATTRIBUTES)
def test_an_attribute_that_nobody_would_look_at_is_refused_by_name(name: str, app: Celery) -> None:
    with pytest.raises(NotBuiltYet, match=rf"task shop.work sets {name}, which is not built: \w+"):
        app.task(**{"name": "shop.work", name: object(), "lazy": False})(lambda: None)

    kind = type("Own", (Task,), {"name": "shop.work", name: object(), "run": lambda self: None})
    with pytest.raises(NotBuiltYet, match=rf"sets {name}"):
        app.register_task(kind)


@pytest.mark.parametrize("name", INSIDE)
def test_what_only_celerys_own_parts_call_is_not_there(name: str, app: Celery) -> None:
    task = app.task(name="shop.work")(lambda: None)

    with pytest.raises(AttributeError, match=name):
        getattr(task, name)


def test_every_option_was_tried() -> None:
    table = task_options()

    refused = {name for name, row in table.items() if row.support == REFUSED}
    tried = {*IN_THE_MESSAGE, *IN_THE_PLAN, *ELSEWHERE, *HERE}
    assert set(table) - refused - tried == set()
    assert tried - set(table) == set()
    assert refused == {*REFUSED_ATTRIBUTES, *INSIDE}


def test_every_attribute_of_celerys_task_is_in_the_table() -> None:
    public = {name for name in vars(CelerysTask) if not name.startswith("_")}

    assert public - set(task_options()) == set()
