"""Notices on Redis, beside kombu, and when the connection or the server goes away."""

import contextlib
import os
import signal

import pytest

pytest.importorskip("kombu")

from kombu import Connection as KombuConnection  # noqa: E402
from kombu import Consumer, Exchange, Producer, Queue  # noqa: E402

from umbel.engines.redis import open_broker  # noqa: E402
from umbel.model.errors import OperationalError  # noqa: E402
from umbel.ports.bus import Notice  # noqa: E402
from umbel.ports.engine import EngineOptions  # noqa: E402
from umbel.testing.conformance.harness import eventually  # noqa: E402

pytestmark = pytest.mark.redis

LIMIT_S = 10

OPTIONS = [
    {},
    {"global_keyprefix": "app:"},
    {"fanout_prefix": "/x{db}."},
    {"fanout_prefix": False},
    {"fanout_patterns": False},
]


@pytest.fixture
def brokers(redis_url):
    opened = []

    def broker(**transport):
        opened.append(open_broker(redis_url, EngineOptions(transport=transport), None))
        return opened[-1]

    yield broker
    for one in opened:
        one.close()


class Kombu:
    """One connection of kombu's."""

    def __init__(self, url, options):
        self.connection = KombuConnection(url, transport_options=options)
        self.channel = self.connection.channel()
        self.heard = []

    def consume(self, exchange, key):
        queue = Queue("hears", Exchange(exchange, "fanout"), key, channel=self.channel)
        Consumer(self.channel, [queue], callbacks=[self._take]).consume()
        # It subscribes in its first turn.
        with contextlib.suppress(TimeoutError):
            self.connection.drain_events(timeout=0.2)

    def _take(self, body, message):
        self.heard.append((body, message.delivery_info["routing_key"]))
        message.ack()

    def drain(self):
        while not self.heard:
            self.connection.drain_events(timeout=LIMIT_S)

    def publish(self, exchange, key, body):
        producer = Producer(self.channel, exchange=Exchange(exchange, "fanout"))
        producer.publish(body, routing_key=key)


@pytest.fixture
def kombu(redis_url):
    made = []

    def kombu(options):
        made.append(Kombu(redis_url, options))
        return made[-1]

    yield kombu
    for one in made:
        one.connection.release()


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_what_kombu_says_is_heard(brokers, kombu, options):
    listener = brokers(**options).bus.listen("news", ["a.#", ""])

    kombu(options).publish("news", "b.c", {"text": "other"})
    kombu(options).publish("news", "a.c", {"text": "mine"})
    kombu(options).publish("news", "", {"text": "plain"})

    heard = listener.arrived(LIMIT_S)
    while len(heard) < 2:
        heard += listener.arrived(LIMIT_S)
    listener.close()
    assert [(notice.exchange, notice.routing_key) for notice in heard] == [
        ("news", "a.c"),
        ("news", ""),
    ]
    assert b'"body"' in heard[0].raw


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
def test_kombu_hears_what_is_said(brokers, kombu, options):
    speaking = kombu(options)
    listener = brokers(**options).bus.listen("news")
    speaking.publish("news", "a.c", {"text": "hello"})
    (envelope,) = listener.arrived(LIMIT_S)
    listener.close()
    hearing = kombu(options)
    hearing.consume("news", "a.#")

    brokers(**options).bus.say([envelope])
    hearing.drain()

    assert hearing.heard == [({"text": "hello"}, "a.c")]


def test_kombu_sweeps_no_table_of_an_open_box(brokers, redis_server):
    brokers().bus.open_box("reply.celery.pidbox", "me")

    members = redis_server.say("SMEMBERS _kombu.binding.reply.celery.pidbox")
    deadline = redis_server.say("ZSCORE _kombu.binding_deadlines reply.celery.pidbox")
    seconds = int(redis_server.say("TIME").split(b"\r\n")[2])

    assert b"me\x06\x16\x06\x16me.reply.celery.pidbox" in members
    assert 3500 < float(deadline.split(b"\r\n")[1]) / 1000 - seconds < 3700


def test_an_answer_is_gone_after_an_hour(brokers, redis_server):
    bus = brokers().bus
    bus.open_box("replies", "me")

    bus.put(Notice("replies", "me", b"answer"))

    assert 3500 < int(redis_server.say("TTL me.replies")[1:]) <= 3600


def test_a_listener_says_that_its_connection_is_lost(start_redis):
    server = start_redis()
    broker = open_broker(server.url, EngineOptions(), None)
    listener = broker.bus.listen("news")

    server.kill()

    with pytest.raises(OperationalError, match="is lost"):
        listener.arrived(LIMIT_S)
    with pytest.raises(OperationalError, match="is lost"):
        listener.arrived(0)
    listener.close()
    broker.close()


def test_a_connection_that_was_closed_meanwhile_is_noticed_before_something_is_said(
    brokers, redis_server
):
    bus = brokers().bus
    bus.say([Notice("news", "", b"before")])
    listener = brokers().bus.listen("news")

    redis_server.say("CLIENT KILL TYPE normal SKIPME yes")
    bus.say([Notice("news", "", b"after")])

    assert [notice.raw for notice in listener.arrived(LIMIT_S)] == [b"after"]
    listener.close()


def test_nothing_is_said_twice(start_redis):
    server = start_redis()
    options = EngineOptions(reply_timeout_s=0.3)
    speaking = open_broker(server.url, options, None)
    hearing = open_broker(server.url, EngineOptions(), None)
    speaking.bus.say([Notice("news", "", b"before")])
    listener = hearing.bus.listen("news")

    server.freeze()
    with pytest.raises(OperationalError, match="while saying"):
        speaking.bus.say([Notice("news", "", b"once")])
    server.thaw()

    heard = listener.arrived(LIMIT_S)
    speaking.bus.say([Notice("news", "", b"end")])
    while heard[-1].raw != b"end":
        heard += listener.arrived(LIMIT_S)
    assert [notice.raw for notice in heard] == [b"once", b"end"]
    for one in (listener, speaking, hearing):
        one.close()


def test_a_listener_that_a_fork_inherits_is_left_alone(brokers):
    bus = brokers().bus
    listener = bus.listen("news")

    pid = os.fork()
    if pid == 0:
        try:
            listener.close()
            bus.say([Notice("news", "", b"from the child")])
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)

    assert [notice.raw for notice in listener.arrived(LIMIT_S)] == [b"from the child"]
    listener.close()


def test_a_listener_that_does_not_read_is_told(start_redis):
    server = start_redis("--client-output-buffer-limit", "pubsub", "1mb", "0", "0")
    broker = open_broker(server.url, EngineOptions(), None)
    listener = broker.bus.listen("news")

    for _ in range(40):
        broker.bus.say([Notice("news", "", b"x" * 500_000)])

    def is_lost():
        try:
            listener.arrived(0)
        except OperationalError:
            return True
        return False

    assert eventually(is_lost)
    listener.close()
    broker.close()
