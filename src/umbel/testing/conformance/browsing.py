"""Cases of looking: what consumers hold, and what waits for its time, seen by somebody else."""

from __future__ import annotations

from umbel.model.lease import Loss
from umbel.model.settlement import Fate, Settlement
from umbel.testing.conformance.harness import Harness, lease, message, messages, settle


class BrowseCases:
    """What an operator may rely on."""

    def test_what_is_leased_can_be_seen(self, engine: Harness) -> None:
        holder, onlooker = engine.open().broker, engine.open().broker
        holder.enlist("w.0.1", 60)
        holder.enlist("w.1.1", 60)
        holder.publish(messages("a b c d"))
        first = lease(holder, "w.0.1", 2)
        second = lease(holder, "w.1.1", 1)
        settle(holder, "w.0.1", Settlement(first[1].token, Fate.BEGUN))

        held = onlooker.leased(["w.1.1", "nobody.0.1", "w.0.1"])

        assert [tuple(each) for each in held] == [
            ("w.1.1", second[0].token, b"c", 0, False),
            ("w.0.1", first[0].token, b"a", 0, False),
            ("w.0.1", first[1].token, b"b", 0, True),
        ]
        assert onlooker.leased([]) == []

    def test_what_is_leased_can_be_seen_until_it_is_settled(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        settle(broker, "w.0.1", Settlement(lease(broker, "w.0.1")[0].token))

        assert broker.leased(["w.0.1"]) == []

    def test_what_is_leased_can_be_seen_with_its_deliveries(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        broker.recover("w.0.1", [Loss(lease(broker, "w.0.1")[0].token)], engine.policy)
        broker.enlist("w.0.2", 60)
        lease(broker, "w.0.2")

        assert [each.deliveries for each in broker.leased(["w.0.2"])] == [1]

    def test_what_is_due_can_be_seen(self, engine: Harness) -> None:
        broker = engine.open().broker
        now = engine.now()
        broker.enlist("w.0.1", 60)
        broker.publish([message("late", due=now + 900), message("p")])
        [parked] = lease(broker, "w.0.1")
        settle(broker, "w.0.1", Settlement(parked.token, Fate.PARK, due=now + 600))
        broker.publish([message("soon", due=now + 300), message("x", "other", due=now + 1)])

        found = broker.due("q", 9)

        assert [raw for _, raw in found] == [b"soon", b"p", b"late"]
        assert [round(at - now) for at, _ in found] == [300, 600, 900]
        assert broker.due("q", 1) == found[:1]
        assert broker.due("nowhere", 9) == []
