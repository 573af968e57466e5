"""Cases of settlements: what becomes of a lease, and everything that goes with it."""

from __future__ import annotations

from umbel.model.settlement import Fate, Settlement
from umbel.testing.conformance.harness import (
    Harness,
    document,
    drain,
    lease,
    message,
    messages,
    names,
    part,
    settle,
)


class SettlementCases:
    """What a settlement does, and what it does not when its lease is lost."""

    def test_settle_is_atomic(self, engine: Harness) -> None:
        pair = engine.open()
        broker = pair.broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b"))
        first, second = lease(broker, "w.0.1")

        settled = settle(
            broker,
            "w.0.1",
            Settlement(
                first.token,
                documents=(document("t1", data=b"one"),),
                messages=(message("next"), message("later", due=engine.now() + 60)),
                parts=(part("g", 0),),
            ),
            Settlement(second.token, documents=(document("t2", "FAILURE", b"two"),)),
        )

        assert settled == [True, True]
        assert pair.store.get(["t1", "t2", "t3"]) == [b"one", b"two", None]
        assert pair.store.parts("g") == [b"part-0"]
        assert tuple(broker.depth("q")) == (1, 1, 0, 0)
        assert names(drain(broker, "w.0.1")) == "next"

    def test_settling_twice_changes_nothing(self, engine: Harness) -> None:
        pair = engine.open()
        broker = pair.broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")
        settlement = Settlement(
            held.token, documents=(document("t", "FAILURE", b"first"),), messages=(message("n"),)
        )

        once = settle(broker, "w.0.1", settlement)
        twice = settle(
            broker,
            "w.0.1",
            settlement._replace(documents=(document("t", "FAILURE", b"second"),)),
        )

        assert (once, twice) == ([True], [False])
        assert pair.store.get(["t"]) == [b"first"]
        assert broker.depth("q").ready == 1

    def test_a_lost_lease_changes_nothing(self, engine: Harness) -> None:
        pair = engine.open()
        broker = pair.broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b"))
        first, second = lease(broker, "w.0.1")
        broker.release("w.0.1", [first.token])

        settled = settle(
            broker,
            "w.0.1",
            Settlement(
                first.token,
                documents=(document("t"),),
                messages=(message("n"),),
                parts=(part("g", 0),),
            ),
            Settlement(second.token),
        )

        assert settled == [False, True]
        assert pair.store.get(["t"]) == [None]
        assert pair.store.parts("g") == []
        assert names(drain(broker, "w.0.1")) == "a"

    def test_a_lost_lease_changes_nothing_whatever_its_fate(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")
        broker.release("w.0.1", [held.token])

        settled = settle(
            broker,
            "w.0.1",
            *(Settlement(held.token, fate, due=engine.now() + 60, cause="x") for fate in Fate),
        )

        assert settled == [False] * len(Fate)
        assert names(drain(broker, "w.0.1")) == "a"

    def test_a_settlement_of_another_consumer_changes_nothing(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.enlist("w.1.1", 60)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")

        assert settle(broker, "w.1.1", Settlement(held.token)) == [False]
        assert settle(broker, "w.0.1", Settlement(held.token)) == [True]

    def test_success_is_final(self, engine: Harness) -> None:
        pair = engine.open()
        pair.broker.enlist("w.0.1", 60)
        pair.broker.publish(messages("a b"))
        first, second = lease(pair.broker, "w.0.1")
        settle(pair.broker, "w.0.1", Settlement(first.token, documents=(document("t"),)))

        late = Settlement(second.token, documents=(document("t", "FAILURE", b"late"),))
        settled = settle(pair.broker, "w.0.1", late)

        assert settled == [True]
        assert pair.store.get(["t"]) == [b"{}"]

    def test_a_requeued_message_is_served_last(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b c"))
        (held,) = lease(broker, "w.0.1", 1)

        settle(broker, "w.0.1", Settlement(held.token, Fate.REQUEUE))

        leases = drain(broker, "w.0.1")
        assert names(leases) == "b c a"
        assert [each.redelivered for each in leases] == [False, False, True]
        assert leases[-1].deliveries == 0

    def test_a_parked_message_waits(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish([message("a", priority=6), *messages("b")])
        _, held = lease(broker, "w.0.1")

        settle(broker, "w.0.1", Settlement(held.token, Fate.PARK, due=engine.now() + 0.4))
        parked = broker.depth("q")
        broker.sweep(engine.policy)
        early = drain(broker, "w.0.1")
        engine.advance(0.5)
        broker.sweep(engine.policy)

        assert (parked.ready, parked.due) == (0, 1)
        assert early == []
        leases = drain(broker, "w.0.1")
        assert names(leases) == "a"
        assert leases[0].queue == "q"

    def test_a_dead_message_is_gone_from_its_queue(self, engine: Harness) -> None:
        pair = engine.open()
        pair.broker.enlist("w.0.1", 60)
        pair.broker.publish(messages("a"))
        (held,) = lease(pair.broker, "w.0.1")

        settled = settle(
            pair.broker,
            "w.0.1",
            Settlement(
                held.token, Fate.DEAD, documents=(document("t", "FAILURE"),), cause="no envelope"
            ),
        )

        assert settled == [True]
        assert tuple(pair.broker.depth("q")) == (0, 0, 0, 0)
        assert pair.store.get(["t"]) == [b"{}"]

    def test_what_has_begun_stays_leased(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b"))
        (held,) = lease(broker, "w.0.1", 1)

        begun = settle(broker, "w.0.1", Settlement(held.token, Fate.BEGUN))
        depth = broker.depth("q")
        done = settle(broker, "w.0.1", Settlement(held.token))

        assert (begun, done) == ([True], [True])
        assert (depth.ready, depth.leased) == (1, 1)
        assert names(drain(broker, "w.0.1")) == "b"

    def test_what_a_settlement_sends_may_be_leased_by_the_same_cycle(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")

        settlement = Settlement(held.token, messages=(message("next"),))
        settled, leases = broker.cycle("w.0.1", [settlement], ("q",), 5)

        assert settled == [True]
        assert names(leases + drain(broker, "w.0.1")).split()[0] == "next"
