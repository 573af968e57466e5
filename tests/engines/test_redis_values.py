"""Values in Redis: what an umbel wrote before messages had a history is read and carried on."""

import pytest

from umbel.engines.opening import open_pair
from umbel.engines.redis.keys import lease_of
from umbel.model.history import deaths
from umbel.model.lease import Loss
from umbel.model.settlement import Settlement
from umbel.ports.broker import SweepPolicy
from umbel.ports.engine import EngineOptions

POLICY = SweepPolicy(lease_s=60, interval_s=1, max_deliveries=5, poison=b"p", begun=b"b")
OLD = b"2,0,,0,1,3:q\x06\x166raw: 1,2,3:"


def test_an_old_value_is_a_lease_without_a_history():
    found = lease_of(7, OLD)

    assert (found.queue, found.raw, found.deliveries) == ("q", b"raw: 1,2,3:", 2)
    assert (found.history, found.tries, found.verdict) == ("", 0, None)


def test_a_value_with_a_verdict_and_a_history_is_read():
    history = b"12.000\tw.0.1\tpid 1\n"
    value = b"2,0,,3,1,0,%d,4:q{v}%braw" % (len(history), history)

    found = lease_of(7, value)

    assert (found.queue, found.verdict, found.tries, found.raw) == ("q", b"{v}", 4, b"raw")
    assert found.history == history.decode()


@pytest.mark.redis
def test_an_old_value_is_leased_lost_and_settled(redis_url, redis_server):
    redis_server.say('LPUSH umbel:lane:q "' + OLD.decode().replace("\x06\x16", "\\x06\\x16") + '"')
    broker = open_pair(redis_url, redis_url, EngineOptions(), EngineOptions()).broker
    try:
        broker.enlist("w.0.1", 60)
        _, (first,) = broker.cycle("w.0.1", [], ["q"], 1)
        broker.recover("w.0.1", [Loss(first.token, how="pid 1")], POLICY)
        broker.enlist("w.0.2", 60)
        _, (again,) = broker.cycle("w.0.2", [], ["q"], 1)
        settled, _ = broker.cycle("w.0.2", [Settlement(again.token)], ["q"], 0)
    finally:
        broker.close()

    assert (first.raw, again.raw) == (b"raw: 1,2,3:", b"raw: 1,2,3:")
    assert (first.deliveries, again.deliveries) == (2, 3)
    assert [death.how for death in deaths(again.history)] == ["pid 1"]
    assert settled == [True]
