"""What a worker hears on fanout exchanges, and where it goes."""

import json
import select

import pytest

from umbel.engines.memory.broker import MemoryBroker
from umbel.engines.memory.house import House
from umbel.engines.placing import Steps
from umbel.model.errors import OperationalError
from umbel.model.queues import is_own_queue, own_queue
from umbel.ports.bus import Notice
from umbel.worker.broadcasts import Broadcasts, message_of

QUEUE = own_queue("celery@host")
NEWS = Notice("news", "", b"{}")


class Broker(MemoryBroker):
    """In memory; away when told to be."""

    is_away = False

    def publish(self, messages, openings=()):
        if self.is_away:
            raise OperationalError("away")
        super().publish(messages, openings)


@pytest.fixture
def house():
    return House()


@pytest.fixture
def broker(house):
    broker = Broker("memory://", house, Steps(), keeps_results=True)
    yield broker
    broker.close()


@pytest.fixture
def listening(broker):
    made = []

    def listening(*ways):
        made.append(Broadcasts(broker, QUEUE, ways or [("news", "#")], select.poll(), now=clock))
        return made[-1]

    clock = Clock()
    listening.clock = clock
    yield listening
    for one in made:
        one.stop()


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def turn(broadcasts):
    for fd, _ in broadcasts._poll.poll(0):
        assert broadcasts.is_readable(fd)


def test_what_is_heard_is_kept_in_the_workers_own_queue(broker, listening):
    broadcasts = listening()
    assert broadcasts.keep() is None

    broker.bus.say([NEWS, Notice("other", "", b"x"), Notice("news", "k", b'"odd"')])
    turn(broadcasts)

    assert is_own_queue(QUEUE)
    assert broker.peek(QUEUE, 10) == [b"{}", b'"odd"']
    assert not broadcasts.is_readable(12345)


def test_each_fanout_queue_gets_its_copy(broker, listening):
    broadcasts = listening(("news", "#"), ("news", "a.#"))
    broadcasts.keep()

    broker.bus.say([NEWS, Notice("news", "a.b", b"two")])
    turn(broadcasts)

    assert sorted(broker.peek(QUEUE, 10)) == [b"two", b"two", b"{}"]


def test_what_can_not_be_stored_yet_is_stored_later(broker, listening):
    broadcasts = listening()
    broadcasts.keep()
    broker.is_away = True

    broker.bus.say([NEWS])
    turn(broadcasts)
    first = broadcasts.keep()
    again = broadcasts.keep()
    broker.is_away = False
    too_soon = broadcasts.keep()
    broadcasts.stop()
    listening.clock.now += 2

    assert first == again == too_soon == 101.0
    assert broker.depth(QUEUE).ready == 0
    assert broadcasts.keep() is None
    assert broker.depth(QUEUE).ready == 1


def test_a_lost_listener_is_made_anew(broker, house, listening, caplog):
    broadcasts = listening()
    broadcasts.keep()
    lost = broadcasts._ears[0]
    fd, listener = lost.fd, lost.listener
    listener.arrived = lambda timeout_s: (_ for _ in ()).throw(OperationalError("lost"))

    assert broadcasts.is_readable(fd)
    assert broadcasts.keep(is_away=True) == 101.0
    listening.clock.now += 2
    assert broadcasts.keep() is None
    broker.bus.say([NEWS])
    turn(broadcasts)

    assert len(house.notices.ears) == 1
    assert broker.depth(QUEUE).ready == 1
    assert "what was sent meanwhile is missed" in caplog.text


def test_nobody_listens_after_a_stop(broker, house, listening):
    broadcasts = listening()
    broadcasts.keep()

    broadcasts.stop()
    broadcasts.stop()

    assert house.notices.ears == []
    assert broadcasts.keep() is None


@pytest.mark.parametrize("raw", [b"", b"nothing", b"[]", b'{"headers": 1, "properties": null}'])
def test_what_can_not_be_read_becomes_a_message_too(raw):
    message = message_of(Notice("news", "", raw), "q")

    assert (message.queue, message.id, message.raw, message.priority) == ("q", "", raw, 0)
    assert message.tag


def test_a_message_is_known_by_what_its_envelope_says():
    raw = json.dumps(
        {
            "headers": {"id": "i", "task": "t"},
            "properties": {"delivery_tag": "d", "priority": 6},
        }
    ).encode()

    message = message_of(Notice("news", "", raw), "q")

    assert message[:5] == ("i", "t", "q", 6, "d")
