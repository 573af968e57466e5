"""What ``hand_over`` puts back, what it leaves, and where everything stands afterwards."""

import pytest

from umbel.engines.redis import open_broker
from umbel.model.lease import Loss
from umbel.model.message import Message
from umbel.ports.broker import SweepPolicy
from umbel.ports.engine import EngineOptions
from umbel.ports.handover import HandedOver

pytestmark = pytest.mark.redis

POLICY = SweepPolicy(6, 1, 5, b"poison", b"begun")
SEP = "\x06\x16"


@pytest.fixture(params=["", "app[1]:"])
def prefix(request):
    return request.param


@pytest.fixture
def broker(redis_url, prefix):
    options = EngineOptions(transport={"global_keyprefix": prefix})
    broker = open_broker(redis_url, options, None)
    broker.sweep(POLICY)
    yield broker
    broker.close()


@pytest.fixture
def standing(broker, prefix):
    """A list of the server, the message that is served next in front."""

    def standing(key):
        found = broker._connection.command("LRANGE", f"{prefix}{key}", 0, -1)
        return [raw.decode() for raw in reversed(found)]

    return standing


def message(name, queue="q", *, due=None, priority=0, task="t"):
    raw = f'{{"properties": {{"delivery_tag": "tag-{name}"}}, "name": "{name}"}}'.encode()
    return Message(name, task, queue, priority, f"tag-{name}", raw, due)


def raw_of(*names):
    return [message(name).raw.decode() for name in names]


def test_due_messages_go_to_the_lists_of_their_priorities_in_order_of_time(broker, standing):
    in_an_hour = 4e9
    broker.publish([message("late", due=in_an_hour + 9), message("soon", due=in_an_hour)])
    broker.publish([message("low", due=in_an_hour, priority=6), message("ready")])

    assert broker.handover.queues() == ["q"]
    assert broker.handover.hand_over("q") == HandedOver("q", due=3)

    assert standing("q") == raw_of("ready", "soon", "late")
    assert standing(f"q{SEP}6") == raw_of("low")
    assert broker.handover.queues() == []
    assert broker.sweep(POLICY).next_due_s is None


def test_from_then_on_messages_with_an_eta_go_to_the_queue(broker, standing):
    broker.handover.hand_over("q")

    broker.publish([message("late", due=4e9)])

    assert standing("q") == raw_of("late")


def test_more_than_one_script_moves_are_moved(broker):
    broker.publish([message(f"m{n}", due=4e9 + n) for n in range(2500)])

    assert broker.handover.hand_over("q").due == 2500
    assert broker.depth("q")[:2] == (2500, 0)
    assert broker.handover.hand_over("q") == HandedOver("q")


def test_what_was_lost_is_served_next_and_in_order(broker, standing):
    broker.publish([message("a"), message("b"), message("c")])
    broker.enlist("w.0.1", 60)
    leases = broker.cycle("w.0.1", (), ["q"], 2)[1]
    broker.recover("w.0.1", [Loss(lease.token) for lease in leases], POLICY)

    assert broker.handover.hand_over("q") == HandedOver("q", lost=2)
    assert standing("q") == raw_of("a", "b", "c")


def test_verdicts_and_claims_of_joins_are_left(broker, standing):
    broker.publish([message("a"), message("j", task="umbel.join"), message("b")])
    broker.enlist("w.0.1", 60)
    leases = {lease.raw: lease for lease in broker.cycle("w.0.1", (), ["q"], 9)[1]}
    judged = leases[message("a").raw]
    broker.recover("w.0.1", [Loss(judged.token, verdict=b"verdict")], POLICY)

    assert broker.handover.queues() == ["q"]
    assert broker.handover.hand_over("q") == HandedOver("q", lost=1, verdicts=1, joins=1)
    assert broker.handover.hand_over("q") == HandedOver("q", verdicts=1, joins=1)
    assert standing("q") == raw_of("b")
    broker.enlist("w.0.2", 60)
    given = broker.cycle("w.0.2", (), ["q"], 9)[1]
    assert [(one.raw, one.verdict) for one in given[:2]] == [
        (message("a").raw, b"verdict"),
        (message("j").raw, None),
    ]


def test_nothing_is_lost_where_the_list_is_no_list(broker, prefix, standing):
    broker.publish([message("a")])
    broker.enlist("w.0.1", 60)
    (lease,) = broker.cycle("w.0.1", (), ["q"], 1)[1]
    broker.recover("w.0.1", [Loss(lease.token)], POLICY)
    broker.publish([message("b", due=4e9)])
    broker._connection.command("SET", f"{prefix}q", "somebody's")

    broker.handover.hand_over("q")
    broker._connection.command("DEL", f"{prefix}q")
    broker.handover.hand_over("q")

    assert sorted(standing("q")) == raw_of("a", "b")
