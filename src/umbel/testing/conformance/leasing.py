"""Cases of consumers: enlist, lease, renew, release, retire."""

from __future__ import annotations

import pytest

from umbel.model.errors import LeaseLost
from umbel.model.settlement import Fate, Settlement
from umbel.testing.conformance.harness import (
    Harness,
    document,
    drain,
    lease,
    message,
    messages,
    names,
    settle,
)


class LeaseCases:
    """What a consumer may rely on."""

    def test_a_message_is_leased_once(self, engine: Harness) -> None:
        first, second = engine.open().broker, engine.open().broker
        first.enlist("w.0.1", 60)
        second.enlist("w.1.1", 60)
        first.publish(messages("a b c"))

        mine, theirs = lease(first, "w.0.1", 2), lease(second, "w.1.1", 2)

        assert names(mine) == "a b"
        assert names(theirs) == "c"
        assert lease(first, "w.0.1") == []

    def test_tokens_are_unique_within_a_consumer_and_grow(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish([message("z", priority=9), *messages("a b c")])

        held = lease(broker, "w.0.1", 2)
        broker.release("w.0.1", [held[1].token])
        held += lease(broker, "w.0.1", 2)
        # The counter belongs to the consumer, not to the connection.
        held += lease(engine.open().broker, "w.0.1", 2)

        tokens = [each.token for each in held]
        assert names(held) == "a b b c z"
        assert tokens == sorted(set(tokens))
        assert all(0 < token < 2**63 for token in tokens)

    def test_only_the_named_queues_are_leased(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish([message("a", "one"), message("b", "two"), message("c", "three")])

        leases = lease(broker, "w.0.1", queues=("three", "one"))

        assert sorted(names(leases).split()) == ["a", "c"]
        assert broker.depth("two").ready == 1

    def test_limit_0_settles_only(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b"))
        held = lease(broker, "w.0.1", 1)

        settled, leases = broker.cycle("w.0.1", [Settlement(held[0].token)], ("q",), 0)

        assert settled == [True]
        assert leases == []
        assert tuple(broker.depth("q")) == (1, 0, 0, 0)

    def test_enlisting_twice_keeps_what_is_held(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        held = lease(broker, "w.0.1")

        broker.enlist("w.0.1", 60)

        assert settle(broker, "w.0.1", Settlement(held[0].token)) == [True]

    def test_a_lost_consumer_may_not_lease(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish(messages("a"))

        with pytest.raises(LeaseLost):
            lease(broker, "never.0.1")

        assert broker.depth("q").ready == 1

    def test_a_lost_consumer_may_not_lease_when_a_sweep_has_given_it_up(
        self, engine: Harness
    ) -> None:
        pair, other = engine.open(), engine.open().broker
        pair.broker.enlist("w.0.1", engine.lease_s)
        pair.broker.publish(messages("a b"))
        held = lease(pair.broker, "w.0.1", 1)
        engine.lose("w.0.1", other)

        with pytest.raises(LeaseLost):
            pair.broker.cycle(
                "w.0.1", [Settlement(held[0].token, documents=(document("t"),))], ("q",), 5
            )

        assert pair.store.get(["t"]) == [None]
        assert other.depth("q").leased == 0

    def test_a_lost_consumer_is_not_revived(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", engine.lease_s)
        broker.enlist("w.1.1", engine.lease_s)
        engine.lose("w.0.1", broker, renewed=["w.1.1"])

        lost = broker.renew(["w.0.1", "w.1.1", "never.0.1"], 60)

        assert sorted(lost) == ["never.0.1", "w.0.1"]
        with pytest.raises(LeaseLost):
            lease(broker, "w.0.1")
        assert lease(broker, "w.1.1") == []

    def test_released_messages_keep_their_order(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b c d e"))
        held = lease(broker, "w.0.1", 4)

        released = broker.release("w.0.1", [each.token for each in held[1:]])

        assert released == 3
        again = lease(broker, "w.0.1")
        assert names(again) == "b c d e"
        assert [each.deliveries for each in again] == [0, 0, 0, 0]

    def test_released_messages_keep_their_order_as_settlements(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b c d"))
        held = lease(broker, "w.0.1", 3)

        # As the worker hands back: newest first.
        returned = [Settlement(each.token, Fate.RETURN) for each in reversed(held[1:])]
        settled, again = broker.cycle("w.0.1", [Settlement(held[0].token), *returned], ("q",), 10)

        assert settled == [True, True, True]
        assert names(again) == "b c d"

    def test_releasing_what_is_not_held_does_nothing(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.enlist("w.1.1", 60)
        broker.publish(messages("a"))
        held = lease(broker, "w.0.1")

        assert broker.release("w.1.1", [held[0].token]) == 0
        assert broker.release("w.0.1", [held[0].token + 1]) == 0
        assert broker.release("w.0.1", [held[0].token]) == 1
        assert broker.release("w.0.1", [held[0].token]) == 0
        assert broker.depth("q").ready == 1

    def test_what_was_released_can_not_be_settled(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")
        broker.release("w.0.1", [held.token])
        (again,) = lease(broker, "w.0.1")

        assert settle(broker, "w.0.1", Settlement(held.token)) == [False]
        assert settle(broker, "w.0.1", Settlement(again.token)) == [True]

    def test_retiring_gives_everything_back_in_order(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.enlist("w.1.1", 60)
        broker.publish(messages("a b c d"))
        lease(broker, "w.0.1", 3)

        given_back = broker.retire("w.0.1")

        assert given_back == 3
        with pytest.raises(LeaseLost):
            lease(broker, "w.0.1")
        leases = drain(broker, "w.1.1")
        assert names(leases) == "a b c d"
        assert [held.deliveries for held in leases] == [0, 0, 0, 0]
        assert broker.retire("w.0.1") == 0
