"""``app.amqp``, ``app.pool`` and what else programs take from an app beside its tasks."""

from __future__ import annotations

from typing import Any

import pytest

from umbel import Celery, Queue, chain, chord
from umbel.app.control import AppControl, AppInspect
from umbel.model.errors import NotBuiltYet
from umbel.results.base import ResultBase


@pytest.fixture
def app() -> Celery:
    app = Celery("shop", broker="memory://", backend="memory://", set_as_current=False)

    @app.task(name="shop.add")
    def add(x: int, y: int) -> int:
        return x + y

    return app


def test_a_route_names_the_queue_of_a_call(app: Celery) -> None:
    app.conf.task_routes = {"shop.*": "till", "web.fetch": {"queue": "slow", "priority": 3}}

    router = app.amqp.router

    assert router.route({}, "shop.add")["queue"].name == "till"
    assert router.route({"queue": "mine"}, "web.fetch")["queue"].name == "mine"
    assert router.route({}, "web.fetch")["priority"] == 3
    assert router.route({}, "other")["queue"] == app.amqp.default_queue
    assert router.lookup_route("other") is None
    assert router.lookup_route("web.fetch") == {"queue": "slow", "priority": 3}


def test_queues_are_a_mapping_that_makes_what_is_missing(app: Celery) -> None:
    app.conf.task_queues = [Queue("a"), Queue("b")]

    queues = app.amqp.queues

    assert list(queues) == ["a", "b"]
    assert "c" not in queues
    assert queues.get("c") is None
    assert queues["c"].name == "c"
    assert list(queues.consume_from) == ["a", "b"]
    assert ".> a" in queues.format()


def test_what_is_selected_by_hand_outlives_a_change_of_settings(app: Celery) -> None:
    app.amqp.queues.select_add("w1.dq")
    app.amqp.queues.add(Queue("extra"))

    app.conf.task_serializer = "pickle"

    assert list(app.amqp.queues.consume_from) == ["celery", "extra", "w1.dq"]
    assert app.routing.consumed_queues("mine") == ["mine", "w1.dq"]

    app.amqp.queues.deselect("w1.dq")
    assert list(app.amqp.queues.consume_from) == ["celery", "extra"]

    assert app.select_queues(["only"]) == ["only"]


@pytest.mark.parametrize(
    "part", ["create_task_message", "send_task_message", "Consumer", "TaskConsumer", "Queues"]
)
def test_what_is_kombus_is_refused_by_name(app: Celery, part: str) -> None:
    with pytest.raises(NotBuiltYet, match=part):
        getattr(app.amqp, part)

    assert not hasattr(app.amqp, part)


def test_a_pool_always_has_a_connection_and_a_producer(app: Celery) -> None:
    with app.pool.acquire(block=True) as connection, app.producer_pool.acquire() as producer:
        assert connection.transport.driver_type == "memory"
        assert producer.connection.as_uri() == connection.as_uri()
        with pytest.raises(NotBuiltYet, match=r"producer\.publish"):
            producer.publish({})

    with app.connection_or_acquire(connection) as given:
        assert given is connection
    with app.producer_or_acquire(producer) as same:
        assert same is producer
    with app.producer_or_acquire() as made:
        assert made is not producer


def test_a_producer_names_the_broker_that_a_task_is_sent_to(app: Celery) -> None:
    other = Celery("other", broker="memory://other-parts", set_as_current=False)

    with other.producer_pool.acquire() as theirs, app.producer_pool.acquire() as ours:
        app.tasks["shop.add"].apply_async((1, 2), producer=theirs)
        app.send_task("shop.add", (1, 2), producer=theirs)
        app.tasks["shop.add"].apply_async((1, 2), producer=ours)

    assert other.connections.pair().broker.depth("celery").ready == 2
    assert app.connections.pair().broker.depth("celery").ready == 1


def test_parts_of_a_connection_are_refused_by_name(app: Celery) -> None:
    assert app.connection(url="memory://other").as_uri() == "memory://other"
    with pytest.raises(NotBuiltYet, match="userid"):
        app.connection(userid="me")
    with pytest.raises(TypeError, match="colour"):
        app.connection(colour="red")


@pytest.mark.parametrize("part", ["loader_cls", "prepare_config", "amqp_cls"])
def test_a_subclass_that_exchanges_a_part_is_refused(part: str) -> None:
    with pytest.raises(NotBuiltYet, match=part):
        type("Mine", (Celery,), {part: "mine:Part"})


def test_a_class_of_the_app_knows_the_app(app: Celery) -> None:
    class Reporter:
        app: Any = None

    made = app.subclass_with_self(Reporter, name="Shop", reverse="Reporter")

    assert made().app is app
    assert made.__name__ == "Shop"
    with pytest.raises(TypeError, match="pickled"):
        made().__reduce__()


def test_control_and_inspect_can_be_made_by_an_app(app: Celery) -> None:
    inspect = AppInspect(destination=["a@b"], app=app)

    assert inspect.app is app
    assert isinstance(app.control, AppControl)
    assert AppControl(app).inspect(["a@b"]).destination == ["a@b"]


def test_settings_can_be_taken_back_and_shown(app: Celery) -> None:
    app.conf.task_serializer = "pickle"

    assert app.conf.get_by_parts("task", "serializer") == "pickle"
    assert app.conf.without_defaults()["task_serializer"] == "pickle"
    assert app.conf.pop("task_serializer") == "pickle"
    assert app.conf.task_serializer == "json"
    assert app.conf.pop("task_serializer", None) is None
    assert app.conf.copy()["task_serializer"] == "json"


def test_a_pushed_request_is_what_the_task_sees(app: Celery) -> None:
    add = app.tasks["shop.add"]

    add.request_stack.push({"id": "1", "timelimit": [10, 5]})

    try:
        assert add.request.id == "1"
        assert (add.request.time_limit, add.request.soft_time_limit) == (10, 5)
        assert add.request_stack.top is add.request
        result = add.add_trail(app.AsyncResult("2"))
        assert add.request.children == [result.as_tuple()]
    finally:
        add.request_stack.pop()
    assert len(add.request_stack) == 0
    assert add.request_stack.pop() is None


def test_a_signature_gives_the_result_of_its_id(app: Celery) -> None:
    sig = app.tasks["shop.add"].s(1, 2)

    with pytest.raises(ValueError, match="freeze"):
        sig.AsyncResult()

    frozen = sig.freeze()
    assert sig.AsyncResult() == frozen
    assert sig.AsyncResult("other").id == "other"
    assert isinstance(frozen, ResultBase)


def test_what_steers_a_canvas_from_inside_is_refused_by_name(app: Celery) -> None:
    sig = app.tasks["shop.add"].s(1, 2)

    for make, part in [
        (chain(sig, sig), "run"),
        (chain(sig, sig), "prepare_steps"),
        (chord([sig], sig), "run"),
        (sig, "election"),
        (app.tasks["shop.add"], "start_strategy"),
        (app.tasks["shop.add"], "Strategy"),
    ]:
        with pytest.raises(NotBuiltYet, match=part):
            getattr(make, part)
