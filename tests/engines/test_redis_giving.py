"""A message is leased to who waits for it by the step that publishes it, and told on a channel."""

import os
import signal

import pytest

from umbel.engines.redis import open_broker
from umbel.engines.redis.connection import Connection
from umbel.model.message import Message
from umbel.model.settlement import Settlement
from umbel.ports.engine import EngineOptions

pytestmark = pytest.mark.redis

OPTIONS = EngineOptions(connect_timeout_s=3.0, reply_timeout_s=3.0)


def message(name, raw=None, priority=0, queue="q"):
    return Message(name, "tasks.any", queue, priority, f"tag-{name}", raw or name.encode())


@pytest.fixture
def opened(redis_url):
    """Opens brokers that are closed with the test."""
    ends = []

    def opened():
        ends.append(open_broker(redis_url, OPTIONS, None))
        return ends[-1]

    yield opened
    for end in ends:
        end.close()


@pytest.fixture
def waiting(opened):
    """A broker whose consumer ``w.0.1`` has found nothing, and is to wait."""
    broker = opened()
    broker.enlist("w.0.1", 60)
    assert broker.cycle("w.0.1", (), ("q",), 5, waits=True) == ([], [])
    return broker


@pytest.fixture
def trips(monkeypatch):
    """Counts what is sent to the server from now on."""
    found = []
    exchange = Connection._exchange

    def counting(connection, payload, replies, pushes=None):
        found.append(payload)
        return exchange(connection, payload, replies, pushes)

    monkeypatch.setattr(Connection, "_exchange", counting)
    return found


def held(broker):
    return [(one.token, one.raw) for one in broker.leased(["w.0.1"])]


def test_who_waits_has_the_message_without_asking(opened, waiting, trips):
    broker = opened()
    broker.publish([message("a")])

    assert held(broker) == [(1, b"a")]
    assert broker.peek("q", 9) == []
    trips.clear()
    assert waiting.wait(("q",), 10, None)
    _, (lease,) = waiting.cycle("w.0.1", (), ("q",), 5, waits=True)
    assert (lease.token, lease.raw) == (1, b"a")
    assert not trips
    assert waiting.cycle("w.0.1", [Settlement(1)], ("q",), 5, waits=True) == ([True], [])
    assert len(trips) == 1


def test_only_one_message_is_given_to_who_waits(opened, waiting):
    broker = opened()
    broker.publish([message("a")])
    broker.publish([message("b")])

    assert held(broker) == [(1, b"a")]
    assert broker.peek("q", 9) == [b"b"]


def test_only_one_message_of_all_priorities_and_queues_is_given(opened):
    broker, waiting = opened(), opened()
    waiting.enlist("w.0.1", 60)
    waiting.cycle("w.0.1", (), ("p", "q"), 5, waits=True)
    broker.publish([message("a", priority=3)])
    broker.publish([message("b", priority=0)])
    broker.publish([message("c", queue="p")])

    assert held(broker) == [(1, b"a")]
    assert broker.peek("q", 9) == [b"b"]
    assert broker.peek("p", 9) == [b"c"]


def test_who_has_done_anything_since_is_given_nothing(opened, waiting):
    broker = opened()
    waiting.cycle("w.0.1", [Settlement(7)], ("q",), 0)

    broker.publish([message("a")])

    assert held(broker) == []
    assert broker.peek("q", 9) == [b"a"]


def test_a_revocation_is_known_with_what_was_given(opened, waiting):
    broker = opened()
    broker.revocations.add(["somebody"], 60)
    broker.publish([message("a")])

    assert waiting.wait(("q",), 10, None)
    assert waiting.cycle("w.0.1", (), ("q",), 5)[1]
    assert waiting.revocations.epoch == 1


def test_large_messages_are_not_told_on_a_channel(opened, waiting):
    broker = opened()

    broker.publish([message("a", b"x" * 70_000)])

    assert held(broker) == []
    assert waiting.wait(("q",), 10, None)
    assert len(waiting.cycle("w.0.1", (), ("q",), 5)[1]) == 1


def test_a_publish_that_is_repeated_gives_nothing_twice(opened, waiting):
    broker = opened()
    broker.publish([message("a")])
    broker._number -= 1  # as after a lost reply

    broker.publish([message("a")])

    assert held(broker) == [(1, b"a")]
    assert broker.peek("q", 9) == []


def test_a_lost_channel_is_a_wake_up(redis_server, opened, waiting):
    broker = opened()
    redis_server.say("CLIENT KILL TYPE pubsub")
    broker.publish([message("a")])
    assert held(broker) == []
    assert waiting.wait(("q",), 10, None)
    assert [one.raw for one in waiting.cycle("w.0.1", (), ("q",), 5)[1]] == [b"a"]

    # Given, and cut before it is read.
    waiting.cycle("w.0.1", [Settlement(1)], ("q",), 5, waits=True)
    broker.publish([message("b")])
    assert held(broker) == [(2, b"b")]
    redis_server.say("CLIENT KILL TYPE pubsub")
    assert waiting.wait(("q",), 10, None)
    assert [one.raw for one in waiting.cycle("w.0.1", (), ("q",), 5)[1]] == [b"b"]


def test_what_was_given_to_an_earlier_epoch_is_not_run(opened, waiting):
    broker = opened()
    broker.publish([message("a")])
    assert held(broker) == [(1, b"a")]
    broker.retire("w.0.1")  # as a sweep does, before it has read what it was told
    broker.enlist("w.1.1", 60)
    assert len(broker.cycle("w.1.1", (), ("q",), 5)[1]) == 1

    waiting.enlist("w.0.2", 60)
    assert waiting.cycle("w.0.2", (), ("q",), 5, waits=True) == ([], [])
    waiting.wait(("q",), 0.2, None)

    assert waiting.cycle("w.0.2", (), ("q",), 5, waits=True) == ([], [])


def test_a_dead_process_is_given_nothing(redis_url, opened):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        broker = open_broker(redis_url, OPTIONS, None)
        broker.enlist("w.0.1", 60)
        broker.cycle("w.0.1", (), ("q",), 5, waits=True)
        os.write(writing, b"w")
        signal.pause()
    assert os.read(reading, 1) == b"w"
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)

    broker = opened()
    broker.publish([message("a")])

    assert held(broker) == []
    assert broker.peek("q", 9) == [b"a"]


def test_who_is_given_up_is_given_nothing(opened, waiting):
    broker = opened()
    broker.retire("w.0.1")

    broker.publish([message("a")])

    assert broker.peek("q", 9) == [b"a"]
