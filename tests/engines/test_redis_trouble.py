"""Servers come and go, lose replies, freeze and fill up: nothing accepted is lost or run twice."""

import logging
import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from umbel.engines.redis import open_broker, open_pair, open_store
from umbel.model.errors import OperationalError, PublishOutcomeUnknown
from umbel.model.lease import Loss
from umbel.model.message import Message
from umbel.model.record import Document
from umbel.model.settlement import Fate, Settlement
from umbel.ports.broker import SweepPolicy
from umbel.ports.engine import EngineOptions

sys.path.insert(0, str(Path(__file__).parent))
from redis_proxy import Proxy  # noqa: E402

pytestmark = pytest.mark.redis

OPTIONS = EngineOptions(connect_timeout_s=3.0, reply_timeout_s=3.0)
POLICY = SweepPolicy(6.0, 1.0, 5, b"poison", b"begun")


def message(name: str, queue: str = "q", raw: bytes | None = None) -> Message:
    return Message(name, "tasks.any", queue, 0, f"tag-{name}", raw or name.encode())


def document(task_id: str, data: bytes = b'{"status": "SUCCESS"}') -> Document:
    return Document(task_id, "SUCCESS", data, 60.0)


@pytest.fixture
def proxy(redis_server, redis_url):
    proxy = Proxy(redis_server.port)
    yield proxy
    proxy.close()


@pytest.fixture
def opened():
    """Opens brokers and stores that are closed with the test."""
    ends = []

    def opened(end):
        ends.append(end)
        return end

    yield opened
    for end in ends:
        end.close()


# - Lost requests and replies


@pytest.mark.parametrize("what", ["request", "reply"])
@pytest.mark.parametrize("number", [1, 3])
def test_a_batch_whose_reply_was_lost_is_published_once(proxy, redis_url, opened, what, number):
    broker = opened(open_broker(f"redis://127.0.0.1:{proxy.port}/0", OPTIONS, None))
    broker.publish([message("before")])

    proxy.lose_next(what)
    broker.publish([message(f"m{place}") for place in range(number)])

    assert proxy.lost.is_set()
    stored = opened(open_broker(redis_url, OPTIONS, None)).peek("q", 99)
    assert stored == [b"before", *(b"m%d" % place for place in range(number))]


@pytest.mark.parametrize("what", ["request", "reply"])
def test_a_cycle_whose_reply_was_lost_gives_what_it_had_given(proxy, opened, what):
    url = f"redis://127.0.0.1:{proxy.port}/0"
    pair = open_pair(url, url, OPTIONS, OPTIONS)
    broker, store = opened(pair.broker), opened(pair.store)
    broker.publish([message(name) for name in "abcd"])
    broker.enlist("w.0.1", 60)
    _, held = broker.cycle("w.0.1", (), ("q",), 2)

    proxy.lose_next(what)
    settled, leases = broker.cycle(
        "w.0.1", [Settlement(one.token, documents=(document("t"),)) for one in held], ("q",), 2
    )

    assert proxy.lost.is_set()
    assert settled == [True, True]
    assert [one.raw for one in leases] == [b"c", b"d"]
    assert store.get(["t"]) == [b'{"status": "SUCCESS"}']
    assert tuple(broker.depth("q")) == (0, 0, 2, 0)
    assert broker.cycle("w.0.1", [Settlement(one.token) for one in leases], ("q",), 2) == (
        [True, True],
        [],
    )


def test_a_frozen_server_is_given_up_in_time_and_reads_late_bytes_in_vain(start_redis, opened):
    server = start_redis()
    options = EngineOptions(connect_timeout_s=0.3, reply_timeout_s=0.3)
    broker = opened(open_broker(server.url, options, None))
    broker.publish([message("a")])
    server.freeze()
    started = time.monotonic()

    with pytest.raises(PublishOutcomeUnknown):
        broker.publish([message("b")])

    assert time.monotonic() - started < 3.0
    server.thaw()
    # What lay in the sockets of the frozen server lands once, or not at all.
    broker.publish([message("c")])
    stored = broker.peek("q", 9)
    assert stored in ([b"a", b"b", b"c"], [b"a", b"c"])


def test_a_publish_to_a_server_that_dies_has_an_unknown_outcome(start_redis, opened):
    server = start_redis()
    options = EngineOptions(connect_timeout_s=0.3)
    broker = opened(open_broker(server.url, options, None))
    broker.publish([message("a")])
    server.freeze()
    killing = threading.Timer(0.2, server.kill)
    killing.start()

    with pytest.raises(PublishOutcomeUnknown, match=f"127.0.0.1:{server.port}"):
        broker.publish([message("b")])
    killing.join()


def test_a_server_that_was_never_there_is_named_without_its_password():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    broker = open_broker(f"redis://:secret@127.0.0.1:{port}/0", EngineOptions(), None)
    started = time.monotonic()

    with pytest.raises(OperationalError) as caught:
        broker.publish([message("a")])

    assert not isinstance(caught.value, PublishOutcomeUnknown)
    assert time.monotonic() - started < 5.0
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_killed_server_that_comes_back_has_everything_and_is_said_once(
    start_redis, opened, caplog
):
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    broker = opened(open_broker(server.url, OPTIONS, None))
    broker.enlist("w.0.1", 60)
    broker.publish([message("a"), message("b")])
    _, (held,) = broker.cycle("w.0.1", (), ("q",), 1)

    server.kill()
    starting = threading.Timer(0.4, server.start)
    starting.start()
    with caplog.at_level(logging.INFO):
        settled, leases = broker.cycle("w.0.1", [Settlement(held.token)], ("q",), 5)
    starting.join()

    assert settled == [True]
    assert [one.raw for one in leases] == [b"b"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "is back after" in caplog.text


def test_scripts_that_the_server_forgot_are_sent_again(redis_server, redis_url, opened):
    broker = opened(open_broker(redis_url, OPTIONS, None))
    broker.enlist("w.0.1", 60)
    broker.publish([message("a")])

    redis_server.say("SCRIPT FLUSH")
    _, leases = broker.cycle("w.0.1", (), ("q",), 5)
    redis_server.say("SCRIPT FLUSH")
    broker.publish([message("b")])

    assert [one.raw for one in leases] == [b"a"]
    assert broker.peek("q", 9) == [b"b"]


def test_a_cut_connection_wakes_a_waiter(redis_server, redis_url, opened):
    broker = opened(open_broker(redis_url, OPTIONS, None))
    broker.enlist("w.0.1", 60)
    broker.cycle("w.0.1", (), ("q",), 5)
    cut = threading.Timer(0.1, redis_server.say, ["CLIENT KILL TYPE normal"])
    cut.start()
    started = time.monotonic()

    woken = broker.wait(("q",), 10, None)
    took = time.monotonic() - started
    # The rest is about a connection that nobody is still cutting.
    cut.join()

    assert woken
    assert took < 5.0
    assert broker.cycle("w.0.1", (), ("q",), 5) == ([], [])
    assert not broker.wait(("q",), 0.05, None)


def test_a_watch_whose_connection_is_cut_reads_again(redis_server, redis_url, opened):
    store, writer = opened(open_store(redis_url, OPTIONS)), opened(open_store(redis_url, OPTIONS))
    with store.watch(["a", "b"]) as watch:
        watch.changes(0)
        redis_server.say("CLIENT KILL TYPE pubsub")
        writer.put([document("a")])
        first = watch.changes(5)
        writer.put([document("b")])
        second = watch.changes(5)

    assert set(first) == {"a"}
    assert set(second) == {"b"}


def test_a_record_too_large_for_a_subscriber_is_read_all_the_same(start_redis, opened):
    server = start_redis("--client-output-buffer-limit", "pubsub", "1mb", "512kb", "1")
    store = opened(open_store(server.url, OPTIONS))
    writer = opened(open_store(server.url, OPTIONS))
    large = b'{"status": "SUCCESS", "result": "' + b"x" * (8 << 20) + b'"}'
    with store.watch(["a"]) as watch:
        watch.changes(0)
        writer.put([document("a", large)])

        assert watch.changes(10) == {"a": large}


# - A full server


@pytest.fixture
def full(redis_server, redis_url):
    """Fill the server; gives a function to fill it, it is emptied again at the end."""
    yield lambda: redis_server.say("CONFIG SET maxmemory 1")
    redis_server.say("CONFIG SET maxmemory 0")


def test_a_full_server_refuses_a_publish_and_takes_a_settlement(redis_url, opened, full):
    pair = open_pair(redis_url, redis_url, OPTIONS, OPTIONS)
    broker, store = opened(pair.broker), opened(pair.store)
    broker.enlist("w.0.1", 60)
    broker.publish([message(name) for name in "abcdefgh"])
    _, held = broker.cycle("w.0.1", (), ("q",), 6)
    full()

    with pytest.raises(OperationalError, match="maxmemory"):
        broker.publish([message("no")])
    with pytest.raises(OperationalError, match="maxmemory"):
        broker.publish([message("no"), message("no", "other")])

    broker.enlist("w.0.2", 60)
    assert broker.renew(["w.0.1", "w.0.2", "w.0.3"], 60) == ["w.0.3"]
    settled, leases = broker.cycle(
        "w.0.1",
        [
            Settlement(held[0].token, documents=(document("t"),), messages=(message("next"),)),
            Settlement(held[1].token, Fate.PARK, due=time.time() + 50),
            Settlement(held[2].token, Fate.DEAD, cause="bad"),
        ],
        ("q",),
        1,
    )
    assert settled == [True, True, True]
    assert [one.raw for one in leases] == [b"g"]
    assert store.get(["t"]) == [b'{"status": "SUCCESS"}']
    assert broker.release("w.0.1", [held[3].token]) == 1
    broker.sweep(POLICY)
    assert broker.recover("w.0.1", [Loss(held[4].token)], POLICY) == 3
    assert broker.retire("w.0.2") == 0
    assert tuple(broker.depth("q")) == (3, 1, 0, 3)


# - Time that really passes


def test_a_worker_that_is_silent_is_given_up_by_the_clock_of_the_server(redis_url, opened):
    broker = opened(open_broker(redis_url, OPTIONS, None))
    policy = POLICY._replace(lease_s=0.4, interval_s=0.5)
    broker.enlist("w.0.1", 0.4)
    broker.enlist("v.0.1", 60)
    broker.publish([message("a")])
    broker.cycle("w.0.1", (), ("q",), 5)
    broker.sweep(policy)
    silent_from = time.monotonic()

    while not (given_up := broker.sweep(policy).consumers):
        broker.renew(["v.0.1"], 60)
        assert time.monotonic() < silent_from + 5
        time.sleep(0.02)

    assert given_up == ("w.0.1",)
    assert time.monotonic() - silent_from > 0.3
    assert [one.raw for one in broker.cycle("v.0.1", (), ("q",), 5)[1]] == [b"a"]


# - What others left


def test_a_queue_that_is_no_list_stops_nobody(redis_server, redis_url, opened):
    broker = opened(open_broker(redis_url, OPTIONS, None))
    broker.enlist("w.0.1", 60)
    redis_server.say("SET broken 1")
    broker.publish([message("a")])

    _, (held,) = broker.cycle("w.0.1", (), ("broken", "q"), 5)
    settled, _ = broker.cycle(
        "w.0.1", [Settlement(held.token, messages=(message("b", "broken"),))], ("q",), 0
    )

    assert held.raw == b"a"
    assert settled == [True]
    assert b"WRONGTYPE" in redis_server.say("HGET umbel:dead:1 cause")
    with pytest.raises(OperationalError, match="WRONGTYPE"):
        broker.publish([message("c", "broken")])


def test_the_settings_of_the_server_are_judged(start_redis, opened):
    safe = start_redis("--appendonly", "yes", "--appendfsync", "always")
    unsafe = start_redis("--appendonly", "yes", "--maxmemory-policy", "allkeys-lru")
    quick = start_redis("--appendonly", "no")

    found = [opened(open_broker(one.url, OPTIONS, None)).warnings() for one in (safe, unsafe)]

    assert found[0] == []
    assert len(found[1]) == 2
    assert "allkeys-lru" in found[1][0]
    assert "everysec" in found[1][1]
    assert "appendonly is no" in opened(open_broker(quick.url, OPTIONS, None)).warnings()[0]
