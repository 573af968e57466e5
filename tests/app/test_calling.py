"""``delay`` and ``apply_async``: which message each option makes, against what Celery sent."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections import namedtuple
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from umbel import Celery, Exchange, Queue
from umbel.model.clock import unix_s
from umbel.model.errors import AlwaysEagerIgnored, QueueNotFound

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "messages.json").read_text())
# What each publish makes anew, or counts from now.
VOLATILE_HEADERS = ("id", "root_id", "origin", "eta", "expires")
VOLATILE_PROPERTIES = ("correlation_id", "reply_to", "delivery_tag", "expiration")

# Calls of one task by apply_async and delay; the canvas and fanout have tests of their own.
CASES = (
    "simple noargs kwargs unicode request_seen send_task_by_name "
    "send_task_unregistered explicit_task_id countdown eta_utc eta_naive eta_offset "
    "eta_far expires_seconds expires_datetime expires_past priority_0 priority_1 "
    "priority_2 priority_3 priority_4 priority_5 priority_6 priority_7 "
    "priority_8 priority_9 queue queue_object_direct exchange_direct exchange_topic "
    "queue_object_topic link_one link_two link_immutable link_error link_nested "
    "ignore_result_true ignore_result_task ignore_result_false_override time_limits headers shadow "
    "reply_to root_parent serializer_json serializer_yaml serializer_msgpack compression_gzip "
    "compression_bz2 compression_lzma json_types json_nan json_int_keys long_repr "
    "deep_repr transport_retry_prop partial immutable sig_options "
)


def future(seconds: float) -> dt.datetime:
    return dt.datetime.now(UTC) + dt.timedelta(seconds=seconds)


@pytest.fixture
def wire(app: Celery) -> dict[str, Any]:
    """The tasks and helpers that the captured code names."""

    def task(name: str, function: Any, **options: Any) -> Any:
        return app.task(function, name=f"wire_tasks.{name}", **options)

    topic = Exchange("ex_topic", "topic")
    import uuid

    return {
        "app": app,
        "noop": task("noop", lambda: None),
        "add": task("add", lambda x, y: x + y),
        "mul": task("mul", lambda x, y: x * y),
        "echo": task("echo", lambda *args, **kwargs: None),
        "const": task("const", lambda x=99: x),
        "fail": task("fail", lambda *args: None),
        "errback": task("errback", lambda *args: None),
        "whoami": task("whoami", lambda self: None, bind=True),
        "ignored": task("ignored", lambda x: x, ignore_result=True),
        "dt": dt,
        "UTC": UTC,
        "Decimal": Decimal,
        "uuid": uuid,
        "namedtuple": namedtuple,
        "future": future,
        "Exchange": Exchange,
        "q_direct": Queue("q_direct", Exchange("ex_direct"), "rk_direct"),
        "q_topic": Queue("q_topic", topic, "feed.#"),
        "q_topic_all": Queue("q_topic_all", topic, "#"),
    }


@pytest.mark.parametrize("name", CASES.split())
def test_a_call_is_sent_as_celery_sends_it(name: str, wire: dict[str, Any], broker: Any) -> None:
    case = next(case for case in VECTORS["cases"] if case["name"] == name)
    broker.bind = lambda *way: None

    try:
        eval(case["code"], wire)
    except NameError as error:
        pytest.skip(f"the captured code needs {error.name}")

    sent, wanted = json.loads(broker.messages[0].raw), case["pushed"][0]["envelope"]
    for part, volatile in (("headers", VOLATILE_HEADERS), ("properties", VOLATILE_PROPERTIES)):
        assert set(sent[part]) == set(wanted[part])
        assert {k: v for k, v in sent[part].items() if k not in volatile} == {
            k: v for k, v in wanted[part].items() if k not in volatile
        }
    assert base64.b64decode(sent["body"]) == base64.b64decode(wanted_body(case))


def wanted_body(case: dict[str, Any]) -> str:
    body: str = json.loads(case["pushed"][0]["raw"])["body"]
    return body


def headers_of(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.raw)["headers"]
    return found


def test_a_countdown_is_an_eta_that_the_engine_is_told(app: Celery, broker: Any) -> None:
    app.task(lambda: None, name="t").apply_async(countdown=60)

    (message,) = broker.messages
    assert message.due == pytest.approx(unix_s() + 60, abs=5)
    assert dt.datetime.fromisoformat(headers_of(message)["eta"]).timestamp() == pytest.approx(
        message.due
    )


def test_a_time_without_offset_is_in_the_apps_timezone(broker: Any, app: Celery) -> None:
    app.conf.timezone = "Europe/Berlin"
    noon = dt.datetime(2030, 1, 1, 12)

    app.task(lambda: None, name="t").apply_async(eta=noon)

    (message,) = broker.messages
    assert headers_of(message)["eta"] == "2030-01-01T12:00:00"
    assert message.due == dt.datetime(2030, 1, 1, 11, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "expires",
    [3600, future(3600), future(3600).isoformat(), dt.timedelta(seconds=3600)],
    ids=["seconds", "date", "text", "timedelta"],
)
def test_expires_may_be_seconds_a_date_or_text(expires: Any, app: Celery, broker: Any) -> None:
    app.task(lambda: None, name="t").apply_async(expires=expires)

    sent = json.loads(broker.messages[0].raw)
    when = dt.datetime.fromisoformat(sent["headers"]["expires"])
    assert 0 < (when - dt.datetime.now(UTC)).total_seconds() <= 3600
    assert 0 < int(sent["properties"]["expiration"]) <= 3_600_000


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"eta": "tomorrow"}, "eta='tomorrow' is no ISO 8601 date"),
        ({"eta": 5}, "eta=5 is a int; wanted a datetime"),
        ({"countdown": "soon"}, "countdown='soon' is no number of seconds"),
        ({"priority": "high"}, "priority='high' is no number"),
        ({"time_limit": 1, "soft_time_limit": 2}, "soft_time_limit must be less"),
    ],
)
def test_an_option_that_can_not_be_read_says_what_is_wanted(
    options: dict[str, Any], text: str, app: Celery, broker: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        app.task(lambda: None, name="t").apply_async(**options)
    assert broker.messages == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("count_down", "countdown"),
        ("prioritiy", "priority"),
        ("expire", "expires"),
        ("soft_timelimit", "soft_time_limit"),
        ("header", "headers"),
        ("retry_polcy", "retry_policy"),
    ],
)
def test_a_misspelt_option_is_named(written: str, meant: str, app: Celery, broker: Any) -> None:
    with pytest.raises(TypeError, match=f"{written!r}; did you mean {meant!r}"):
        app.task(lambda: None, name="t").apply_async(**{written: 1})
    with pytest.raises(TypeError, match=meant):
        app.send_task("t", **{written: 1})
    assert broker.messages == []


def test_other_options_become_properties_as_in_celery(app: Celery, broker: Any) -> None:
    app.task(lambda: None, name="t").apply_async(tenant="acme")

    assert json.loads(broker.messages[0].raw)["properties"]["tenant"] == "acme"


def test_the_task_the_route_and_the_caller_say_where_to_in_that_order(broker: Any) -> None:
    app = Celery("routed", task_routes={"b": "routed", "c": {"queue": "routed", "priority": 7}})
    app.connections.pair = lambda: (broker, None, True) and _pair(broker)  # type: ignore[method-assign]
    a, b, c = (app.task(lambda: None, name=name, queue="own") for name in "abc")

    a.delay()
    b.delay()
    c.delay()
    c.apply_async(queue="said", priority=1)

    assert [(m.queue, m.priority) for m in broker.messages] == [
        ("own", 0),
        ("routed", 0),
        ("routed", 7),
        ("said", 1),
    ]


def _pair(broker: Any) -> Any:
    from umbel.ports.engine import Pair

    return Pair(broker, None, True)


def test_a_queue_that_is_not_declared_may_be_refused(app: Celery, broker: Any) -> None:
    app.conf.update(task_queues=[Queue("only")], task_create_missing_queues=False)

    with pytest.raises(QueueNotFound, match="'other' is not in task_queues"):
        app.task(lambda: None, name="t").apply_async(queue="other")


def test_what_a_task_sends_belongs_to_its_workflow(app: Celery, broker: Any) -> None:
    from umbel.app.execution import Plan, execute
    from umbel.model.request import Request

    child = app.task(lambda: None, name="child")

    @app.task(bind=True, name="parent")
    def parent(self):
        child.apply_async()
        app.send_task("elsewhere")
        return [child[0][0] for child in self.request.children]

    request = Request(
        id="p1", task="parent", root_id="r1", called_directly=False,
        stamped_headers=["customer"], stamps={"customer": "acme"},
    )  # fmt: skip
    outcome: Any = execute(Plan(parent), request, (), {})

    sent = [headers_of(message) for message in broker.messages]
    assert [(h["root_id"], h["parent_id"]) for h in sent] == [("r1", "p1"), ("r1", "p1")]
    assert [h["stamps"] for h in sent] == [{"customer": "acme"}] * 2
    assert outcome.value == [h["id"] for h in sent]


def test_a_direct_call_inside_a_task_is_no_parent(app: Celery, broker: Any) -> None:
    child = app.task(lambda: None, name="child")
    outer = app.task(lambda: child.apply_async(), name="outer")

    outer()

    assert headers_of(broker.messages[0])["parent_id"] is None


def test_eager_apps_warn_that_send_task_is_sent(app: Celery, broker: Any) -> None:
    app.conf.task_always_eager = True

    with pytest.warns(AlwaysEagerIgnored):
        app.send_task("t")


def test_results_that_are_ignored_are_not_waited_for(app: Celery, broker: Any) -> None:
    silent = app.task(lambda: None, name="silent", ignore_result=True)

    assert silent.delay().ignored
    assert not silent.apply_async(ignore_result=False).ignored
    assert silent.delay().get() is None


def test_models_are_sent_as_plain_data(app: Celery, broker: Any) -> None:
    # Stands for a pydantic model: pydantic is nobody's dependency.
    class Order:
        def model_dump(self, mode: str) -> dict[str, int]:
            return {"number": 7}

    task = app.task(lambda order, other: None, name="t")
    task.dumps_models = True

    task.delay(Order(), other=Order())

    body = json.loads(base64.b64decode(json.loads(broker.messages[0].raw)["body"]))
    assert body[:2] == [[{"number": 7}], {"other": {"number": 7}}]
