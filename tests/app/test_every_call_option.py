"""Every option of ``apply_async``: what is to be seen of it, or the refusal that names it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import celery
import pytest
from celery.app.amqp import AMQP
from celery.app.task import Task as CelerysTask

from umbel import Celery, chain, chord, group
from umbel.app import sending
from umbel.app.options import call_options
from umbel.app.support import REFUSED
from umbel.model.errors import NotBuiltYet, OperationalError
from umbel.model.queues import Exchange, Queue
from umbel.model.request import Request, running
from umbel.results.handle import AsyncResult
from umbel.wire import envelope, serializers


class Sent(NamedTuple):
    """A call that was sent."""

    message: Any
    opened: envelope.Envelope
    result: Any

    @property
    def headers(self) -> Any:
        return self.opened.headers

    @property
    def properties(self) -> Any:
        return self.opened.properties

    @property
    def embed(self) -> Any:
        """What stands in the body beside the arguments."""
        return serializers.loads(self.opened.body, self.opened.content_type, "utf-8")[2]


@pytest.fixture
def send(app: Celery, broker: Any) -> Callable[..., Sent]:
    """Send ``shop.work``, and show what came to the broker."""

    @app.task(name="shop.work")
    def work(*_args: Any) -> None:
        """A task."""

    def one(**options: Any) -> Sent:
        result = work.apply_async((1,), **options)
        message = broker.messages[-1]
        return Sent(message, envelope.decode(message.raw), result)

    return one


WHEN = datetime(2031, 7, 1, 12, tzinfo=UTC)
SIG = {"task": "shop.next", "args": [], "kwargs": {}, "options": {}, "immutable": False}


def header(name: str) -> Callable[[Sent], Any]:
    return lambda sent: sent.headers[name]


def of_properties(name: str) -> Callable[[Sent], Any]:
    return lambda sent: sent.properties[name]


# option: the value to try, where it is to be seen, and as what.
SEEN: dict[str, tuple[Any, Callable[[Sent], Any], Any]] = {
    "app_id": ("a", of_properties("app_id"), "a"),
    "argsrepr": ("(...)", header("argsrepr"), "(...)"),
    "chain": ([SIG], lambda sent: sent.embed["chain"], [SIG]),
    "chord": (SIG, lambda sent: sent.embed["chord"], SIG),
    "cluster_id": ("c", of_properties("cluster_id"), "c"),
    "compression": ("gzip", header("compression"), "application/x-gzip"),
    "correlation_id": ("c-1", of_properties("correlation_id"), "c-1"),
    "countdown": (
        60,
        lambda sent: datetime.fromtimestamp(sent.message.due, UTC) > datetime.now(UTC),
        True,
    ),
    "delivery_mode": (1, of_properties("delivery_mode"), 1),
    "eta": (WHEN, lambda sent: sent.message.due, WHEN.timestamp()),
    "exchange": ("x", lambda sent: sent.properties["delivery_info"]["exchange"], "x"),
    "expiration": (1.5, of_properties("expiration"), "1500"),
    "expires": (WHEN, header("expires"), WHEN.isoformat()),
    "group_id": ("g", header("group"), "g"),
    "group_index": (3, header("group_index"), 3),
    "headers": ({"mine": 1}, header("mine"), 1),
    "ignore_result": (True, header("ignore_result"), True),
    "kwargsrepr": ("{..}", header("kwargsrepr"), "{..}"),
    "link": (SIG, lambda sent: sent.embed["callbacks"], [SIG]),
    "link_error": (SIG, lambda sent: sent.embed["errbacks"], [SIG]),
    "message_id": ("m", of_properties("message_id"), "m"),
    "origin": ("me@here", header("origin"), "me@here"),
    "parent_id": ("p", header("parent_id"), "p"),
    "priority": (7, lambda sent: (sent.message.priority, sent.properties["priority"]), (7, 7)),
    "queue": ("mail", lambda sent: sent.message.queue, "mail"),
    "replaced_task_nesting": (2, header("replaced_task_nesting"), 2),
    "reply_to": ("r", of_properties("reply_to"), "r"),
    "retries": (2, header("retries"), 2),
    "root_id": ("r", header("root_id"), "r"),
    "routing_key": ("k", lambda sent: sent.properties["delivery_info"]["routing_key"], "k"),
    "serializer": ("yaml", lambda sent: sent.opened.content_type, "application/x-yaml"),
    "shadow": ("other", header("shadow"), "other"),
    "soft_time_limit": (3, lambda sent: sent.headers["timelimit"][1], 3),
    "task_id": ("t-1", lambda sent: (sent.message.id, sent.result.id), ("t-1", "t-1")),
    "time_limit": (5, lambda sent: sent.headers["timelimit"][0], 5),
    "timestamp": (99, of_properties("timestamp"), 99),
    "type": ("t", of_properties("type"), "t"),
    "user_id": ("u", of_properties("user_id"), "u"),
}
# What has to be given beside it to mean anything.
BESIDE: dict[str, dict[str, Any]] = {
    "exchange": {"exchange_type": "topic", "routing_key": "a.b"},
    "routing_key": {"exchange": "x", "exchange_type": "topic"},
}


@pytest.mark.parametrize("option", SEEN)
def test_an_option_is_to_be_seen(option: str, send: Callable[..., Sent]) -> None:
    value, look, expected = SEEN[option]
    beside = BESIDE.get(option, {})
    without = send(**beside)

    sent = send(**{**beside, option: value})

    assert look(sent) == expected
    with suppress(KeyError, TypeError):  # not there at all
        assert look(without) != expected


@pytest.mark.parametrize("option", sending.REFUSED)
@pytest.mark.parametrize("how", ["one", "canvas"])
def test_an_option_that_asks_for_what_is_not_there_is_refused_by_name(
    option: str, how: str, app: Celery, send: Callable[..., Sent], broker: Any
) -> None:
    sig = app.tasks["shop.work"].s(1)
    call = sig if how == "one" else sig | sig

    with pytest.raises(NotBuiltYet, match=rf"apply_async\({option}=...\): \w+"):
        call.apply_async(**{option: True})

    assert broker.messages == []
    send(**{option: None})
    assert option not in send(**{option: None}).properties


def test_what_is_refused_is_refused_in_every_step(app: Celery, send: Any, broker: Any) -> None:
    work = app.tasks["shop.work"]
    steps = [work.s(), work.s(), work.s()]

    for place in range(3):
        for options, error in (({"mandatory": True}, NotBuiltYet), ({"countdwon": 3}, TypeError)):
            said = [s.clone().set(**options) if i == place else s for i, s in enumerate(steps)]
            with pytest.raises(error, match="mandatory|countdown"):
                chain(*said).apply_async()
            with pytest.raises(error, match="mandatory|countdown"):
                chord(said[:2], said[2]).apply_async()
    app.conf.task_always_eager = True
    with pytest.raises(TypeError, match="did you mean 'countdown'"):
        work.apply_async(countdwon=3)

    assert broker.messages == []


# - Those that say something about the sending


def test_add_to_parent(send: Callable[..., Sent]) -> None:
    request = Request(id="parent", task="shop.parent", called_directly=False)
    token = running.set((request,))
    try:
        send(add_to_parent=False)
        child = send(add_to_parent=True)
    finally:
        running.reset(token)

    assert request.children == [child.result.as_tuple()]


def test_connection(app: Celery, send: Callable[..., Sent], broker: Any) -> None:
    aside = Celery("aside", broker="memory://aside", set_as_current=False)

    app.tasks["shop.work"].apply_async(connection=app.connection("memory://aside"))
    app.send_task("shop.far", connection=app.connection("memory://aside"))

    assert broker.messages == []
    assert len(aside.open_pair().broker.peek("celery", 5)) == 2
    with pytest.raises(NotBuiltYet, match="connection="):
        send(connection="redis://elsewhere")
    work = app.tasks["shop.work"]
    two = work.s() | work.s()
    with pytest.raises(NotBuiltYet, match="connection="):
        two.apply_async(connection=app.connection("memory://aside"))


def test_declare_and_exchange_type(app: Celery) -> None:
    queue = Queue("letters", Exchange("post", "topic"), "letter.#")

    app.send_task(
        "t", exchange="post", exchange_type="topic", routing_key="letter.a", declare=[queue]
    )

    assert len(app.open_pair().broker.peek("letters", 5)) == 1


def test_result_cls(app: Celery, send: Callable[..., Sent]) -> None:
    class Own(AsyncResult):  # type: ignore[type-arg]  # as users write it
        """Somebody's own."""

    assert type(send(result_cls=Own).result) is Own
    assert type(app.send_task("t", result_cls=Own)) is Own


def test_retry_and_retry_policy(send: Callable[..., Sent], broker: Any) -> None:
    broker.errors = [OperationalError("gone")]
    with pytest.raises(OperationalError):
        send(retry=False)

    broker.errors = [OperationalError("gone")] * 2
    with pytest.raises(OperationalError):
        send(retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0})
    broker.errors = [OperationalError("gone")] * 2
    send(retry_policy={"max_retries": 2, "interval_start": 0, "interval_step": 0})


def test_a_canvas_is_tried_as_often_as_its_call_says(
    app: Celery, send: Callable[..., Sent], broker: Any
) -> None:
    work = app.tasks["shop.work"]

    broker.errors = [OperationalError("gone")]
    with pytest.raises(OperationalError):
        group(work.s(), work.s()).apply_async(retry=False)
    broker.errors = [OperationalError("gone")] * 2
    (work.s() | work.s()).apply_async(retry_policy={"max_retries": 2, "interval_step": 0})

    assert len(broker.messages) == 1


def test_route_name_and_task_type(app: Celery, send: Callable[..., Sent]) -> None:
    seen = []

    def route(name: str, args: Any, kwargs: Any, options: Any, task: Any = None) -> Any:
        seen.append((name, task))
        return {"queue": "special"} if name == "as.this" else None

    app.conf.task_routes = (route,)

    sent = send(route_name="as.this", task_type="a type")

    assert sent.message.queue == "special"
    assert seen == [("as.this", "a type")]
    assert send().message.queue == "celery"


def test_stamps(send: Callable[..., Sent]) -> None:
    by_option = send(stamped_headers=["colour"], colour="red")
    ready = send(stamped_headers=["colour"], stamps={"colour": "blue"})

    assert by_option.headers["stamps"] == {"colour": "red"}
    assert ready.headers["stamps"] == {"colour": "blue"}
    assert ready.headers["stamped_headers"] == ["colour"]


BELOW = {
    "add_to_parent", "connection", "declare", "exchange_type", "result_cls", "retry",
    "retry_policy", "route_name", "stamped_headers", "stamps", "task_type",
}  # fmt: skip


def test_every_option_was_tried() -> None:
    table = call_options()

    refused = {name for name, row in table.items() if row.support == REFUSED}
    assert set(SEEN) | BELOW == set(table) - refused
    assert refused == set(sending.REFUSED)


def test_every_option_of_celery_is_in_the_table() -> None:
    given = {"self", "name", "args", "kwargs", "options", "task_id"}
    # How its own parts name what users call link, link_error and expires, or hand each other.
    inside = {"callbacks", "create_sent_event", "errbacks", "now", "timezone"}
    takes = (CelerysTask.apply_async, celery.Celery.send_task, AMQP.as_task_v2)

    names = {name for function in takes for name in inspect.signature(function).parameters}

    assert names - given - inside - set(call_options()) == set()


def test_a_time_until_it_expires_may_be_a_timedelta(send: Callable[..., Sent]) -> None:
    sent = send(expires=timedelta(seconds=30))

    assert 29_000 < int(sent.properties["expiration"]) <= 30_000
