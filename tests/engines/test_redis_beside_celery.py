"""kombu and Celery on the same server: what they write we read, and the other way round."""

import base64
import gzip
import json
import time
import zlib

import kombu
import pytest
from celery import Celery

from umbel.engines.redis import open_broker, open_pair, open_store
from umbel.model.join import JoinClosing, JoinOpening, JoinPart
from umbel.model.message import Message
from umbel.model.record import Document
from umbel.model.settlement import Fate, Settlement
from umbel.ports.broker import SweepPolicy
from umbel.ports.engine import EngineOptions

pytestmark = [
    pytest.mark.redis,
    # Celery calls redis-py by names that redis-py has given up.
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),
]

OPTIONS = EngineOptions()
POLICY = SweepPolicy(6.0, 1.0, 5, b"poison", b"begun")


def envelope(name: str, tag: str | None = None) -> bytes:
    body = base64.b64encode(json.dumps([[], {}, {}]).encode()).decode()
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": "tasks.any", "id": name},
            "properties": {
                "delivery_info": {"exchange": "", "routing_key": "q"},
                "body_encoding": "base64",
                "delivery_tag": tag or f"tag-{name}",
            },
        }
    ).encode()


def message(name: str, queue: str = "q", priority: int = 0, **more) -> Message:
    raw = envelope(name, more.pop("tag", None))
    return Message(name, "tasks.any", queue, priority, f"tag-{name}", raw, **more)


@pytest.fixture
def pair(redis_url):
    pair = open_pair(redis_url, redis_url, OPTIONS, OPTIONS)
    pair.broker.enlist("w.0.1", 60)
    yield pair
    pair.broker.close()
    pair.store.close()


@pytest.fixture
def broker(pair):
    return pair.broker


@pytest.fixture
def celery_app(redis_url):
    app = Celery("beside", broker=redis_url, backend=redis_url, set_as_current=False)
    yield app
    app.close()
    app.backend.client.close()


def lease(broker, limit=10, queues=("q",)):
    return broker.cycle("w.0.1", (), queues, limit)[1]


# - Messages


@pytest.mark.parametrize("priority", range(10))
def test_a_message_of_kombu_is_leased_whatever_its_priority(redis_url, broker, priority):
    with kombu.Connection(redis_url) as connection:
        producer = connection.Producer(serializer="json")
        producer.publish({"n": priority}, routing_key="q", priority=priority)

    (held,) = lease(broker)

    opened = json.loads(held.raw)
    assert json.loads(base64.b64decode(opened["body"])) == {"n": priority}
    assert opened["properties"]["priority"] == priority


def test_a_publish_of_kombu_wakes_a_waiter(redis_url, broker):
    assert lease(broker) == []
    with kombu.Connection(redis_url) as connection:
        connection.Producer().publish("x", routing_key="q", priority=6)

    assert broker.wait(("q",), 5, None)
    assert len(lease(broker)) == 1


@pytest.mark.parametrize("priority", range(10))
def test_a_message_of_ours_is_read_by_kombu(redis_url, broker, priority):
    broker.publish([message("a", priority=priority)])

    with kombu.Connection(redis_url) as connection, connection.SimpleQueue("q") as queue:
        got = queue.get(timeout=5)
        got.ack()

    assert got.headers["id"] == "a"


def test_bindings_are_those_of_kombu(redis_url, redis_server, broker):
    exchange = kombu.Exchange("ex", type="topic")
    with kombu.Connection(redis_url) as connection:
        for number, key in enumerate(("a.*.c", "x.#", "plain.key")):
            kombu.Queue(f"q{number}", exchange, routing_key=key)(connection).declare()
        kombu.Queue("qd", kombu.Exchange("direct"), routing_key="k")(connection).declare()
    names = ("_kombu.binding.ex", "_kombu.binding_permanent.ex", "_kombu.binding.direct")
    theirs = [set(redis_server.say(f"SMEMBERS {name}").split(b"\r\n")) for name in names]
    redis_server.say("FLUSHALL")

    for number, key in enumerate(("a.*.c", "x.#", "plain.key")):
        broker.bind("ex", "topic", f"q{number}", key)
    broker.bind("direct", "direct", "qd", "k")

    ours = [set(redis_server.say(f"SMEMBERS {name}").split(b"\r\n")) for name in names]
    assert ours == theirs


def test_a_message_to_an_exchange_reaches_the_queues_that_kombu_has_bound(redis_url, broker):
    exchange = kombu.Exchange("ex", type="topic")
    with kombu.Connection(redis_url) as connection:
        kombu.Queue("one", exchange, routing_key="a.*")(connection).declare()
        kombu.Queue("two", exchange, routing_key="#")(connection).declare()

    broker.publish([message("m", "", exchange="ex", routing_key="a.b", priority=4)])
    broker.publish([message("n", "", exchange="ex", routing_key="z", priority=4)])

    assert [len(broker.peek(name, 9)) for name in ("one", "two")] == [1, 2]


def test_publishing_one_message_writes_nothing_that_celery_would_trip_over(redis_server, broker):
    redis_server.say("FLUSHALL")
    broker.publish([message("a", priority=3)])

    keys = set(redis_server.say("KEYS *").split(b"\r\n")[2::2])
    assert {key for key in keys if not key.startswith(b"umbel:p:")} == {b"q\x06\x163"}


def test_released_and_retired_messages_stand_in_their_list_as_they_came(redis_server, broker):
    broker.publish([message("a", priority=6), message("b", priority=6)])
    held = lease(broker)

    broker.release("w.0.1", [held[0].token])
    broker.retire("w.0.1")

    with_suffix = redis_server.say("LRANGE q\x06\x166 0 -1")
    assert envelope("a") in with_suffix
    assert envelope("b") in with_suffix


def test_a_message_with_a_far_date_goes_to_the_list_where_no_umbel_worker_lives(broker):
    broker.publish([message("a", due=time.time() + 50)])
    alone = tuple(broker.depth("q"))

    broker.sweep(POLICY)
    broker.publish([message("b", due=time.time() + 50)])

    assert alone == (1, 0, 0, 0)
    assert tuple(broker.depth("q")) == (1, 1, 0, 0)


def test_a_parked_message_that_lies_there_twice_fires_once(broker):
    broker.publish([message("a"), message("a")])
    held = lease(broker)
    due = time.time() + 0.15

    broker.cycle("w.0.1", [Settlement(one.token, Fate.PARK, due=due) for one in held], ("q",), 0)
    parked = broker.depth("q").due
    while not broker.sweep(POLICY).messages:
        assert time.time() < due + 5

    assert parked == 1
    assert time.time() >= due
    assert [json.loads(one.raw)["headers"]["id"] for one in lease(broker)] == ["a"]


def test_a_message_that_lies_there_twice_sends_its_follow_ups_once(broker):
    broker.publish([message("a"), message("a"), message("b")])
    held = lease(broker)

    settled, _ = broker.cycle(
        "w.0.1",
        [Settlement(one.token, messages=(message("next", "follow"),)) for one in held],
        ("q",),
        0,
    )

    assert settled == [True, True, True]
    assert len(broker.peek("follow", 9)) == 2


# - Results


def test_a_record_of_ours_is_read_by_celery(celery_app, pair):
    pair.broker.publish([message("t")])
    (held,) = lease(pair.broker)
    record = {"status": "SUCCESS", "result": 5, "traceback": None, "children": [], "task_id": "t"}

    pair.broker.cycle(
        "w.0.1",
        [Settlement(held.token, documents=(_document("t", record),))],
        ("q",),
        0,
    )

    assert celery_app.AsyncResult("t").get(timeout=5) == 5


def test_a_record_of_celery_is_told_to_a_watch_and_is_final(celery_app, pair):
    with pair.store.watch(["t"]) as watch:
        watch.changes(0)
        celery_app.backend.store_result("t", 7, "SUCCESS")
        found = watch.changes(5)

    pair.store.put([_document("t", {"status": "FAILURE"}, "FAILURE")])
    assert json.loads(found["t"])["result"] == 7
    assert pair.store.get(["t"]) == [found["t"]]


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
def test_a_success_of_celery_is_final_in_every_serializer(redis_url, pair, serializer):
    app = Celery(backend=redis_url, set_as_current=False)
    app.conf.update(result_serializer=serializer, result_extended=True)
    app.backend.store_result("t", {"a": "x" * 300}, "SUCCESS")
    app.backend.store_result("u", {"status": "SUCCESS"}, "PROGRESS")
    before = pair.store.get(["t"])

    pair.store.put([Document("t", "FAILURE", b"no", None), Document("u", "FAILURE", b"yes", None)])

    assert pair.store.get(["t", "u"]) == [*before, b"yes"]
    app.backend.client.close()


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress])
def test_a_compressed_success_of_ours_is_final_until_it_is_forgotten(pair, compress):
    data = b"\0celery-compressed\0application/x-gzip\0" + compress(b"{}")
    pair.store.put([Document("t", "SUCCESS", data, 60)])
    pair.store.put([Document("t", "FAILURE", b"no", 60)])
    kept = pair.store.get(["t"])

    pair.store.forget(["t"])
    pair.store.put([Document("t", "STARTED", b"one", 60)])
    pair.store.put([Document("t", "FAILURE", b"two", 60)])

    assert kept == [data]
    assert pair.store.get(["t"]) == [b"two"]


# - Joins, in a fleet of both


def _ours(broker, name, position, size=None):
    """Our worker ends a member; gives what it leases then."""
    openings = [] if size is None else [JoinOpening("g", size)]
    broker.publish([message(name)], openings)
    (held,) = lease(broker)
    claim = Message("g", "umbel.join", "q", 0, "tag-join", b"join")
    data = json.dumps([1, name, "SUCCESS", position]).encode()
    part = JoinPart("g", name, position, data, lambda: claim)
    return broker.cycle("w.0.1", [Settlement(held.token, parts=(part,))], ("q",), 5)[1]


def _theirs(app, name, position):
    """A Celery worker ends a member; gives whether it would send the body."""
    backend = app.backend
    keys = [backend.get_key_for_group("g", suffix) for suffix in (".j", ".t", ".s", ".d")]
    keys += [backend.get_key_for_group("g"), backend.get_key_for_group("g", ".c")]
    data = json.dumps([1, name, "SUCCESS", position])
    answer = backend._chord_part_return_script(
        keys=keys, args=[name, data, 1, position, 86400, 86400, 6, "celery-token"]
    )
    return answer[3] == 1


def _older(app, name, position):
    """A worker of Celery 5.6 ends a member, as read there; gives whether it would send the body."""
    backend = app.backend
    parts, grown, size = (backend.get_key_for_group("g", suffix) for suffix in (".j", ".t", ".s"))
    with backend.client.pipeline() as pipe:
        pipe.zadd(parts, {json.dumps([1, name, "SUCCESS", position]): position})
        pipe.zcount(parts, "-inf", "+inf").get(grown).get(size)
        _, count, more, wanted = pipe.execute()
    return wanted is not None and count == int(wanted) + int(more or 0)


@pytest.mark.parametrize("last", range(4))
def test_a_join_in_a_fleet_with_celery_5_6_is_completed_once(celery_app, pair, last):
    celery_app.backend.set_chord_size("g", 4)
    members = [("a", _ours), ("b", _older), ("c", _theirs), ("d", _older)]
    *first, (name, ends) = members[last + 1 :] + members[: last + 1]

    before = [
        end(pair.broker if end is _ours else celery_app, each, ord(each)) for each, end in first
    ]
    at_last = ends(pair.broker if ends is _ours else celery_app, name, ord(name))
    again = _ours(pair.broker, "a", ord("a"))

    assert not any(before)
    assert [one.raw for one in at_last] == [b"join"] if ends is _ours else at_last is True
    assert again == []
    assert [json.loads(part)[1] for part in pair.store.parts("g")] == ["a", "b", "c", "d"]


def test_a_member_that_both_celery_5_6_and_we_have_ended_counts_once(celery_app, pair):
    celery_app.backend.set_chord_size("g", 3)
    _older(celery_app, "a", 0)
    _older(celery_app, "b", 1)
    # The same member again, with another value.
    part = json.dumps([1, "b", "SUCCESS", "other"])
    celery_app.backend.client.zadd(celery_app.backend.get_key_for_group("g", ".j"), {part: 1})

    again = _ours(pair.broker, "b", 1)
    last = _ours(pair.broker, "c", 2)

    assert again == []
    assert [one.raw for one in last] == [b"join"]


def test_a_join_that_we_complete_is_ours(celery_app, pair):
    first = _theirs(celery_app, "a", 0)
    second = _ours(pair.broker, "b", 1, size=3)
    third = _ours(pair.broker, "c", 2)

    again = _theirs(celery_app, "c", 2)

    assert (first, second, again) == (False, [], False)
    assert [one.raw for one in third] == [b"join"]
    parts = [json.loads(part) for part in pair.store.parts("g")]
    assert [part[1] for part in parts] == ["a", "b", "c"]


def test_a_join_that_celery_completes_is_theirs(celery_app, pair):
    celery_app.backend.set_chord_size("g", 3)
    first = _ours(pair.broker, "a", 0)
    second = _ours(pair.broker, "b", 1)
    third = _theirs(celery_app, "c", 2)

    again = _ours(pair.broker, "c", 2)

    assert (first, second, third, again) == ([], [], True, [])


def test_a_join_that_we_closed_is_closed_for_celery(celery_app, pair):
    (join,) = _ours(pair.broker, "a", 0, size=1)
    pair.broker.cycle(
        "w.0.1", [Settlement(join.token, closes=(JoinClosing("g", failed=False),))], ("q",), 0
    )

    assert not _theirs(celery_app, "a", 0)
    assert pair.store.parts("g") == []


def test_a_claim_of_a_join_is_never_in_a_list_that_celery_reads(redis_server, pair):
    (join,) = _ours(pair.broker, "a", 0, size=1)

    pair.broker.release("w.0.1", [join.token])
    pair.broker.publish([Message("h", "umbel.join", "q", 0, "tag", b"other")])
    (depth, lists) = pair.broker.depth("q"), redis_server.say("EXISTS q")

    assert (depth.ready, depth.lane) == (0, 2)
    assert lists.startswith(b":0")
    assert sorted(one.raw for one in lease(pair.broker)) == [b"join", b"other"]


# - Names


def test_prefixes_are_put_where_celery_puts_them(redis_url, redis_server):
    options = EngineOptions(transport={"global_keyprefix": "shop"})
    pair = open_pair(redis_url, redis_url, options, options)
    pair.broker.enlist("w.0.1", 60)
    pair.broker.publish([message("a")])
    (held,) = lease(pair.broker)
    pair.broker.cycle("w.0.1", [Settlement(held.token, documents=(_document("t", {}),))], ("q",), 0)
    pair.broker.publish([message("b")])

    with kombu.Connection(redis_url, transport_options=options.transport) as connection:
        got = connection.SimpleQueue("q").get(timeout=5)
    keys = redis_server.say("KEYS *")

    assert got.headers["id"] == "b"
    assert b"shop_celery-task-meta-t\r\n" in keys
    assert b"shopumbel:consumers\r\n" in keys
    pair.broker.close()
    pair.store.close()


def test_steps_and_separator_are_those_of_the_options(redis_url):
    transport = {"priority_steps": [0, 5], "sep": ":"}
    broker = open_broker(redis_url, EngineOptions(transport=transport), None)
    broker.enlist("w.0.1", 60)
    with kombu.Connection(redis_url, transport_options=transport) as connection:
        for priority in (9, 4, 5, 0):
            connection.Producer().publish(str(priority), routing_key="q", priority=priority)

    leases = lease(broker)

    served = [json.loads(one.raw)["properties"]["priority"] for one in leases]
    assert served == [4, 0, 9, 5]
    broker.close()


def test_unordered_chords_keep_the_order_of_arrival(redis_url):
    options = EngineOptions(transport={"result_chord_ordered": False})
    pair = open_pair(redis_url, redis_url, options, options)
    pair.broker.enlist("w.0.1", 60)
    _ours(pair.broker, "b", 1)
    _ours(pair.broker, "a", 0)

    store = open_store(redis_url, options)

    assert [json.loads(part)[1] for part in store.parts("g")] == ["b", "a"]
    for end in (pair.broker, pair.store, store):
        end.close()


def _document(task_id, record, status="SUCCESS"):
    return Document(task_id, status, json.dumps(record).encode(), 60.0)
