"""Cases of revoked tasks, and of who is there to hear of them."""

from __future__ import annotations

from umbel.model.message import Message
from umbel.model.settlement import Settlement
from umbel.testing.conformance.burying import envelope
from umbel.testing.conformance.harness import Harness, lease, messages, settle

CONSUMER = "w.0.1"


class RevocationCases:
    """What is remembered of revoked tasks, how workers learn of it, and which workers there are."""

    def test_revoked_ids_are_remembered(self, engine: Harness) -> None:
        engine.open().broker.revocations.add(["a", "b"], 60)
        revocations = engine.open().broker.revocations

        first, ids = revocations.since(0)
        engine.open().broker.revocations.add(["c"], 60)
        second, later = revocations.since(first)
        third, none = revocations.since(second)

        assert sorted(ids) == ["a", "b"]
        assert (later, none) == (["c"], [])
        assert 0 < first < second == third

    def test_revoked_ids_are_remembered_from_the_last_time_on(self, engine: Harness) -> None:
        revocations = engine.open().broker.revocations
        revocations.add(["a"], 60)
        epoch, _ = revocations.since(0)

        revocations.add(["a"], 60)

        later, ids = revocations.since(epoch)
        assert later > epoch
        assert ids == ["a"]

    def test_revoked_ids_are_forgotten_in_time(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.revocations.add(["soon"], 5)
        broker.revocations.add(["late"], 500)
        before, _ = broker.revocations.since(0)

        engine.advance(10)
        broker.sweep(engine.policy)

        epoch, ids = broker.revocations.since(0)
        assert ids == ["late"]
        assert epoch == before

    def test_an_epoch_is_never_used_again(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.revocations.add(["a"], 5)
        before, _ = broker.revocations.since(0)
        engine.advance(10)
        broker.sweep(engine.policy)

        broker.revocations.add(["b"], 5)

        assert broker.revocations.since(0) > (before, [])
        assert broker.revocations.since(before)[1] == ["b"]

    def test_the_epoch_travels_with_the_claim(self, engine: Harness) -> None:
        broker, other = engine.open().broker, engine.open().broker
        broker.enlist(CONSUMER, 60)
        broker.publish(messages("a b"))
        before = broker.revocations.epoch
        lease(broker, CONSUMER, 1)
        nothing = broker.revocations.epoch
        other.revocations.add(["x"], 60)

        lease(broker, CONSUMER, 1)

        assert (before, nothing) == (0, 0)
        assert broker.revocations.epoch == other.revocations.since(0)[0]

    def test_the_epoch_travels_with_a_claim_of_what_was_lost(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.1.1", 60)
        broker.publish(messages("a"))
        lease(broker, "w.1.1")
        broker.revocations.add(["x"], 60)
        broker.recover("w.1.1", (), engine.policy)
        broker.enlist(CONSUMER, 60)

        leases = lease(broker, CONSUMER)

        assert len(leases) == 1
        assert broker.revocations.epoch == broker.revocations.since(0)[0]

    def test_what_is_leased_is_told(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist(CONSUMER, 60)
        sent: list[Message] = [envelope(f"t{n}", "mail.send", "q") for n in range(3)]
        broker.publish(sent)
        _, done = lease(broker, CONSUMER, 2)
        settle(broker, CONSUMER, Settlement(done.token))

        held = engine.open().broker.revocations.add(["t0", "t1", "t2", "t9"], 60)

        assert held == ["t0"]

    def test_many_ids_are_revoked_at_once(self, engine: Harness) -> None:
        revocations = engine.open().broker.revocations
        ids = [f"t{n}" for n in range(1203)]

        revocations.add(ids, 60)

        assert sorted(revocations.since(0)[1]) == sorted(ids)

    def test_only_live_workers_are_named(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("short@h#a1.0.1", 1)
        broker.enlist("celery@host.example#b2.0.1", 60)
        broker.enlist("celery@host.example#b2.1.7", 60)
        broker.enlist("gone@h#c3.0.1", 60)
        broker.retire("gone@h#c3.0.1")
        before = broker.workers()

        engine.advance(2)

        assert before == ["celery@host.example#b2", "short@h#a1"]
        assert broker.workers() == ["celery@host.example#b2"]
