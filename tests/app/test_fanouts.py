"""Calls that go to a fanout exchange: how they are asked for, and what leaves for the broker."""

import json

import pytest

from umbel import Broadcast, Celery, Exchange, Queue
from umbel.model.errors import NotBuiltYet
from umbel.ports.bus import Notice

NEWS = Exchange("news", "fanout")


@pytest.fixture
def app(request):
    url = f"memory://{request.node.name}"
    app = Celery("shop", broker=url, backend=url, set_as_current=False)

    @app.task(name="add")
    def add(x, y):
        return x + y

    yield app
    app.close()


@pytest.fixture
def said(app):
    """What is said on the exchange: (routing key, arguments' preview)."""
    listener = app.open_pair().broker.bus.listen("news")

    def said():
        heard = listener.arrived(5)
        return [(one.routing_key, json.loads(one.raw)["headers"]["argsrepr"]) for one in heard]

    yield said
    listener.close()


def sent(app, **options):
    return app.tasks["add"].apply_async((2, 3), **options)


def test_a_broadcast_queue_has_an_alias_and_a_fanout_of_its_own():
    queue, other = Broadcast("news"), Broadcast("news")

    assert queue.alias == "news"
    assert queue.exchange == NEWS
    assert queue.name.startswith("bcast.")
    assert queue.name != other.name
    assert Broadcast("news", queue="q").name == "q"
    assert Broadcast("news", queue="q", unique=True).name.startswith("q.")
    assert Broadcast("news", exchange=Exchange("other", "fanout")).exchange.name == "other"


def test_kombus_own_broadcast_is_understood(app):
    common = pytest.importorskip("kombu.common")

    app.conf.task_queues = [common.Broadcast("news")]

    (way,) = app.routing.fanouts(["news"])
    assert (way.exchange, way.routing_key) == ("news", "#")


def test_the_name_of_kombus_broadcast_is_ours():
    from umbel.compat.names import instead_of, targets_of

    assert targets_of("kombu.common")["Broadcast"] == "umbel:Broadcast"
    assert instead_of("kombu.common")


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"exchange": "news", "exchange_type": "fanout", "routing_key": ""}, ""),
        ({"exchange": "news", "exchange_type": "fanout"}, ""),
        ({"exchange": "news", "exchange_type": "fanout", "routing_key": "a.b"}, "a.b"),
        ({"exchange": NEWS}, ""),
        ({"exchange": "news", "declare": [NEWS]}, ""),
        ({"queue": Queue("q", NEWS, "k")}, "k"),
        ({"queue": Queue("q", NEWS)}, "celery"),
    ],
)
def test_a_fanout_is_said_and_not_stored(app, said, options, key):
    sent(app, **options)

    assert said() == [(key, "(2, 3)")]
    assert app.open_pair().broker.depth("q").ready == 0


def test_a_declared_broadcast_is_called_by_its_alias(app, said):
    app.conf.task_queues = [Queue("celery"), Broadcast("news")]
    app.conf.task_routes = {"add": {"queue": "news", "exchange": "news"}}

    sent(app)
    by_route = said()
    sent(app, queue="news")
    by_queue = said()
    sent(app, exchange="news")

    # Celery's consumers of such a queue listen under the default key.
    assert by_route == by_queue == [("celery", "(2, 3)")]
    assert said() == [("", "(2, 3)")]


def test_a_worker_listens_to_fanouts_and_consumes_the_rest(app):
    app.conf.task_queues = [
        Queue("celery"),
        Broadcast("news"),
        Queue("logs", Exchange("logs", "fanout"), "a.#"),
    ]

    names = app.routing.consumed_queues()

    assert app.routing.stored_queues(names) == ["celery"]
    assert [way.exchange for way in app.routing.bindings(names)] == ["celery"]
    heard = [(way.exchange, way.routing_key) for way in app.routing.fanouts(names)]
    assert heard == [("news", "#"), ("logs", "a.#")]
    assert app.routing.stored_queues(app.routing.consumed_queues("news")) == []


def test_an_exchange_of_headers_is_refused_by_name(app):
    with pytest.raises(NotBuiltYet, match="'news' is of type headers"):
        sent(app, exchange=Exchange("news", "headers"))


def test_a_canvas_may_end_in_a_broadcast(app, said):
    from umbel.testing.running import running_worker

    then = app.tasks["add"].s(2).set(exchange="news", exchange_type="fanout")
    app.tasks["add"].s(1, 1).apply_async(link=then)
    with running_worker(app):
        heard = said()

    assert heard == [("", "(2, 2)")]


def test_what_is_said_is_what_celery_publishes(app, redis_url):
    import umbel

    app = umbel.Celery("shop", broker=redis_url, set_as_current=False)
    listener = app.open_pair().broker.bus.listen("bc")

    app.send_task("wire_tasks.add", (2, 3), exchange="bc", exchange_type="fanout", routing_key="")

    (notice,) = listener.arrived(5)
    listener.close()
    app.close()
    assert notice == Notice("bc", "", notice.raw)
    info = json.loads(notice.raw)["properties"]["delivery_info"]
    assert info == {"exchange": "bc", "routing_key": ""}
