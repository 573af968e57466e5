"""``task_routes`` and ``task_queues``: which queue a call goes to, and what a worker reads."""

from __future__ import annotations

import re
from typing import Any

import pytest

from umbel import Celery, Exchange, Queue, binding
from umbel.app.routing import Binding, Destination, Routing
from umbel.model.errors import ImproperlyConfigured, QueueNotFound


def routing(**settings: Any) -> Routing:
    return Routing(Celery("routed", set_as_current=False, **settings).conf)


class ByClass:
    def route_for_task(self, task, args=None, kwargs=None):
        return {"queue": "by_class"} if task == "feeds.read" else None


def by_function(name, args, kwargs, options, task=None, **kw):
    return "by_function" if kwargs.get("vip") else None


@pytest.mark.parametrize(
    "routes",
    [
        {"feeds.read": "q"},
        {"feeds.*": {"queue": "q"}},
        {re.compile(r"(feeds|video)\..*"): {"queue": "q"}},
        [("feeds.*", {"queue": "q"}), ("*", {"queue": "never"})],
        ({"other": "never"}, {"feeds.read": "q"}),
        [{"feeds.*": "q"}],
        lambda name, args, kwargs, options, task=None, **kw: "q",
    ],
)
def test_a_route_may_be_written_in_many_ways(routes: Any) -> None:
    assert routing(task_routes=routes).route("feeds.read", (), {}, {}) == {"queue": "q"}


def test_an_exact_name_wins_over_a_pattern() -> None:
    routes = routing(task_routes={"feeds.*": "glob", "feeds.read": "exact"})

    assert routes.route("feeds.read", (), {}, {}) == {"queue": "exact"}
    assert routes.route("feeds.write", (), {}, {}) == {"queue": "glob"}
    assert routes.route("video.read", (), {}, {}) == {}


def test_functions_and_classes_are_asked_for_each_call() -> None:
    routes = routing(task_routes=[by_function, f"{__name__}:ByClass"])

    assert not routes.is_static
    assert routes.route("feeds.read", (), {"vip": True}, {}) == {"queue": "by_function"}
    assert routes.route("feeds.read", (), {}, {}) == {"queue": "by_class"}


def test_a_route_that_is_none_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="task_routes holds 3"):
        routing(task_routes=[3])


TOPIC = Exchange("news", "topic")
QUEUES = [
    Queue("celery", Exchange("celery"), "celery"),
    Queue("eu", TOPIC, "feed.eu.#"),
    Queue("all", TOPIC, "feed.#"),
    Queue("one", TOPIC, "word.*"),
    Queue("bound", bindings=[binding(Exchange("aside"), "k")]),
]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, Destination("celery", "", "celery")),
        ({"queue": "new"}, Destination("new", "", "new")),
        ({"queue": Queue("given")}, Destination("given", "", "given")),
        ({"routing_key": "word.x"}, Destination("celery", "", "celery")),
        ({"exchange": "", "routing_key": "mail"}, Destination("mail", "", "mail")),
        ({"exchange": "news", "routing_key": "word.x"}, Destination("one", "news", "word.x")),
        ({"exchange": "news", "routing_key": "word.x.y"}, Destination("", "news", "word.x.y")),
        ({"exchange": "news", "routing_key": "feed.eu.x"}, Destination("", "news", "feed.eu.x")),
        ({"exchange": "aside", "routing_key": "k"}, Destination("bound", "aside", "k")),
        ({"queue": "eu", "routing_key": "feed.us.x"}, Destination("all", "news", "feed.us.x")),
    ],
)
def test_options_lead_to_a_queue(options: dict[str, Any], wanted: Destination) -> None:
    assert routing(task_queues=QUEUES).destination(options) == wanted


def test_a_worker_reads_the_apps_queues_or_those_it_is_told() -> None:
    routes = routing(task_queues=QUEUES)

    assert routes.consumed_queues() == ["celery", "eu", "all", "one", "bound"]
    assert routes.consumed_queues("eu, extra", None) == ["eu", "extra"]
    assert routes.consumed_queues(None, "eu,all") == ["celery", "one", "bound"]
    assert routing().consumed_queues() == ["celery"]


def test_a_queue_that_a_call_has_made_is_not_read_by_default() -> None:
    routes = routing()

    routes.destination({"queue": "elsewhere"})

    assert routes.consumed_queues() == ["celery"]


def test_bindings_are_what_a_broker_must_know() -> None:
    routes = routing(task_queues={"mail": {"exchange": "post", "routing_key": "m"}, "x": None})

    assert routes.bindings(["mail"]) == [Binding("post", "direct", "mail", "m")]
    assert routes.queues["x"].exchange == Exchange("celery")


def test_missing_queues_are_refused_where_they_are_not_to_be_made() -> None:
    routes = routing(task_queues=QUEUES, task_create_missing_queues=False)

    with pytest.raises(QueueNotFound, match="'mail' is not in task_queues"):
        routes.consumed_queues("mail")


def test_the_default_queue_has_a_setting() -> None:
    routes = routing(task_default_queue="main")

    assert routes.consumed_queues() == ["main"]
    assert routes.destination({}) == Destination("main", "", "main")


def test_what_is_no_queue_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="task_queues holds 'mail'"):
        routing(task_queues=["mail"])
