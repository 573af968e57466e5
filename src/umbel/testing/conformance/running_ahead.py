"""Cases of ``run_ahead``: a successor that runs before it is known whether it may.

An engine may always refuse to run ahead; then there is nothing to see.
"""

from __future__ import annotations

import pytest

from umbel.model.errors import LeaseLost
from umbel.model.lease import Lease
from umbel.model.settlement import Fate, Settlement
from umbel.ports.broker import Broker
from umbel.testing.conformance.harness import (
    Harness,
    document,
    lease,
    message,
    messages,
    names,
    part,
    settle,
)


class RunningAheadCases:
    """What was promised before the server answered holds, or is taken back whole."""

    def test_what_runs_ahead_is_confirmed(self, engine: Harness) -> None:
        connected = engine.open()
        broker = connected.broker
        first = _claimed(broker, "a")
        last = first.token
        for name in ("b", "c", "d"):
            record = document(f"of-{name}")
            ahead = _ahead(broker, Settlement(last, documents=(record,), messages=(message(name),)))
            assert (ahead.raw, ahead.queue, ahead.redelivered) == (name.encode(), "q", False)
            assert ahead.token > last
            assert broker.confirm()
            assert broker.peek("q", 9) == []
            assert connected.store.get([record.task_id]) == [record.data]
            last = ahead.token

        assert settle(broker, "w.0.1", Settlement(last), Settlement(first.token)) == [True, False]
        assert lease(broker, "w.0.1") == []

    def test_others_keep_their_place_behind_it(self, engine: Harness) -> None:
        broker = engine.open().broker
        held = _claimed(broker, "a")
        broker.publish(messages("x y"))

        ahead = _ahead(broker, Settlement(held.token, messages=(message("b"),)))

        assert broker.confirm()
        assert names(lease(broker, "w.0.1", 5)) == "x y"
        assert settle(broker, "w.0.1", Settlement(ahead.token)) == [True]

    def test_nothing_that_ran_ahead_counts_when_the_lease_was_lost(self, engine: Harness) -> None:
        broker, other = engine.open().broker, engine.open().broker
        held = _claimed(broker, "a")
        other.recover("w.0.1", [], engine.policy)

        _ahead(broker, Settlement(held.token, messages=(message("b"),)))
        with pytest.raises(LeaseLost):
            broker.confirm()

        other.enlist("w.1.1", 60)
        assert names(lease(other, "w.1.1", 5)) == "a"

    def test_nothing_that_ran_ahead_counts_when_it_was_settled_before(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        held = _claimed(broker, "a")
        settle(broker, "w.0.1", Settlement(held.token))

        _ahead(broker, Settlement(held.token, messages=(message("b"),)))

        assert not broker.confirm()
        broker.publish(messages("c"))
        assert names(lease(broker, "w.0.1", 5)) == "c"

    def test_of_two_copies_the_first_to_end_is_followed(self, engine: Harness) -> None:
        broker = engine.open().broker
        first = _claimed(broker, "a")
        broker.publish(messages("a"))
        (second,) = lease(broker, "w.0.1", 1)
        copies = [
            Settlement(each.token, messages=(message("b"),), delivery="q:tag")
            for each in (first, second)
        ]

        ahead = _ahead(broker, copies[0])
        assert broker.confirm()
        _ahead(broker, copies[1])
        assert not broker.confirm()

        assert settle(broker, "w.0.1", Settlement(ahead.token)) == [True]
        assert lease(broker, "w.0.1", 5) == []

    def test_what_ran_ahead_goes_back_with_its_consumer(self, engine: Harness) -> None:
        broker, other = engine.open().broker, engine.open().broker
        held = _claimed(broker, "a")
        _ahead(broker, Settlement(held.token, messages=(message("b"),)))
        assert broker.confirm()

        other.recover("w.0.1", [], engine.policy)

        other.enlist("w.1.1", 60)
        assert names(lease(other, "w.1.1", 5)) == "b"

    def test_only_a_single_successor_runs_ahead(self, engine: Harness) -> None:
        broker = engine.open().broker
        held = _claimed(broker, "a")
        for settlement in (
            Settlement(held.token),
            Settlement(held.token, messages=tuple(messages("b c"))),
            Settlement(held.token, messages=(message("b"),), parts=(part("g", 0),)),
            Settlement(held.token, messages=(message("b", due=engine.now() + 9),)),
            Settlement(held.token, messages=(message("b", "another"),)),
            Settlement(held.token, Fate.DEAD, messages=(message("b"),), cause="why"),
        ):
            assert broker.run_ahead("w.0.1", settlement, ("q",)) is None

        assert settle(broker, "w.0.1", Settlement(held.token)) == [True]
        assert broker.peek("q", 9) == []


def _claimed(broker: Broker, name: str) -> Lease:
    broker.enlist("w.0.1", 60)
    broker.publish(messages(name))
    (held,) = lease(broker, "w.0.1", 1)
    return held


def _ahead(broker: Broker, settlement: Settlement) -> Lease:
    ahead = broker.run_ahead("w.0.1", settlement, ("q",))
    if ahead is None:
        pytest.skip("this engine does not run ahead")
    return ahead
