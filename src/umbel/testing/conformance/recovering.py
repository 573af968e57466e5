"""Cases of lost processes: recover, sweep, suspects, poison, at most once, due messages."""

from __future__ import annotations

from umbel.model.history import MOST_BYTES, WITH_ITS_WORKER, deaths
from umbel.model.join import JoinOpening
from umbel.model.lease import Lease, Loss
from umbel.model.settlement import Fate, Settlement
from umbel.ports.broker import Broker
from umbel.ports.graveyard import Wanted
from umbel.testing.conformance.harness import (
    BEGUN,
    POISON,
    Harness,
    drain,
    lease,
    message,
    messages,
    names,
    part,
    settle,
)

VERDICT = b'{"kind": "TimeLimitExceeded", "text": "", "args": [3]}'


class RecoveryCases:
    """What becomes of messages whose process is gone."""

    def test_a_death_counts_for_what_ran(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b c"))
        held = lease(broker, "w.0.1", 2)

        recovered = broker.recover("w.0.1", [Loss(held[0].token)], engine.policy)

        assert recovered == 2
        broker.enlist("w.0.2", 60)
        leases = drain(broker, "w.0.2")
        assert names(leases) == "a b c"
        assert [each.deliveries for each in leases] == [1, 0, 0]
        assert [each.redelivered for each in leases] == [True, True, False]

    def test_a_death_counts_for_what_ran_until_it_is_poison(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish(messages("a"))
        counts = []

        held = _lease_anew(broker, 0)
        while held.verdict is None:
            counts.append(held.deliveries)
            broker.recover(f"w.0.{len(counts) - 1}", [Loss(held.token)], engine.policy)
            held = _lease_anew(broker, len(counts))

        assert counts == [0, 1, 2, 3, 4]
        assert held.verdict == POISON
        assert held.raw == b"a"
        assert settle(broker, f"w.0.{len(counts)}", Settlement(held.token)) == [True]

    def test_a_death_counts_for_what_ran_only_where_it_was_not_our_own(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b"))
        held = lease(broker, "w.0.1", 1)

        broker.recover("w.0.1", [Loss(held[0].token, counted=False)], engine.policy)

        broker.enlist("w.0.2", 60)
        leases = drain(broker, "w.0.2")
        assert names(leases) == "a b"
        assert leases[0].deliveries == 0
        assert leases[0].redelivered

    def test_a_verdict_comes_first_and_is_given_back_with_its_message(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b c"))
        held = lease(broker, "w.0.1", 2)

        broker.recover("w.0.1", [Loss(held[0].token), Loss(held[1].token, VERDICT)], engine.policy)

        broker.enlist("w.0.2", 60)
        (judged,) = lease(broker, "w.0.2", 1)
        assert (judged.raw, judged.verdict) == (b"b", VERDICT)
        # It keeps its verdict when it is handed back.
        broker.release("w.0.2", [judged.token])
        leases = drain(broker, "w.0.2")
        assert names(leases) == "b a c"
        assert [each.verdict for each in leases] == [VERDICT, None, None]

    def test_a_death_is_told_in_the_history(self, engine: Harness) -> None:
        broker = engine.open().broker
        before = engine.now()
        broker.publish(messages("a"))
        held = _lease_anew(broker, 0)
        broker.recover("w.0.0", [Loss(held.token, how="pid 1: signal 9")], engine.policy)
        again = _lease_anew(broker, 1)
        broker.release("w.0.1", [again.token])
        broker.retire("w.0.1")
        held = _lease_anew(broker, 2, lease_s=engine.lease_s)
        engine.lose("w.0.2", broker)
        held = _lease_anew(broker, 3)
        broker.recover("w.0.3", [Loss(held.token, counted=False, how="our own")], engine.policy)

        held = _lease_anew(broker, 4)

        told = deaths(held.history)
        assert [death.consumer for death in told] == ["w.0.0", "w.0.2"]
        assert [death.how for death in told] == ["pid 1: signal 9", WITH_ITS_WORKER]
        assert before - 1 < told[0].at <= told[1].at < engine.now() + 1
        assert held.raw == b"a"
        settle(broker, "w.0.4", Settlement(held.token, Fate.DEAD, cause="enough"))
        (letter,) = broker.graveyard.letters(Wanted(), 10)
        assert letter.history == held.history
        assert broker.graveyard.show(letter.number) == letter

    def test_a_death_is_told_in_the_history_which_does_not_grow_without_end(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        broker.publish(messages("a"))
        policy = engine.policy._replace(max_deliveries=1000)

        for epoch in range(40):
            held = _lease_anew(broker, epoch)
            how = f"death {epoch} " + "x" * 100
            broker.recover(f"w.0.{epoch}", [Loss(held.token, how=how)], policy)
        held = _lease_anew(broker, 40)

        assert held.raw == b"a"
        assert held.deliveries == 40
        assert 1900 <= len(held.history) <= MOST_BYTES
        assert [death.how[:8] for death in deaths(held.history)][-2:] == ["death 38", "death 39"]
        assert len(deaths(held.history)) < 20

    def test_a_replayed_letter_has_no_history(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish(messages("a"))
        held = _lease_anew(broker, 0)
        broker.recover("w.0.0", [Loss(held.token, VERDICT, how="pid 1")], engine.policy)
        held = _lease_anew(broker, 1)
        broker.recover("w.0.1", [Loss(held.token, how="pid 2")], engine.policy)
        held = _lease_anew(broker, 2)
        settle(broker, "w.0.2", Settlement(held.token, Fate.DEAD, cause="enough"))

        broker.graveyard.replay(Wanted())

        again = _lease_anew(broker, 3)
        assert (held.tries, len(deaths(held.history))) == (1, 2)
        assert (again.raw, again.history, again.tries, again.deliveries) == (b"a", "", 0, 0)

    def test_a_verdict_counts_its_tries(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish(messages("a"))
        held = _lease_anew(broker, 0)
        broker.recover("w.0.0", [Loss(held.token, VERDICT)], engine.policy)
        tries = []

        for epoch in (1, 2):
            held = _lease_anew(broker, epoch)
            tries.append((held.tries, held.deliveries, held.verdict))
            broker.recover(f"w.0.{epoch}", [Loss(held.token)], engine.policy)
        held = _lease_anew(broker, 3, lease_s=engine.lease_s)
        tries.append((held.tries, held.deliveries, held.verdict))
        engine.lose("w.0.3", broker)
        held = _lease_anew(broker, 4)

        assert tries == [(0, 1, VERDICT), (1, 1, VERDICT), (2, 1, VERDICT)]
        assert (held.tries, held.verdict, held.raw) == (3, VERDICT, b"a")

    def test_a_verdict_counts_its_tries_only_where_a_process_died_of_it(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        broker.publish(messages("a"))
        held = _lease_anew(broker, 0)
        broker.recover("w.0.0", [Loss(held.token, VERDICT)], engine.policy)

        held = _lease_anew(broker, 1)
        broker.recover("w.0.1", [], engine.policy)
        held = _lease_anew(broker, 2)
        broker.recover("w.0.2", [Loss(held.token, counted=False)], engine.policy)
        held = _lease_anew(broker, 3)
        broker.release("w.0.3", [held.token])
        broker.retire("w.0.3")

        held = _lease_anew(broker, 4)
        assert (held.tries, held.verdict) == (0, VERDICT)

    def test_what_a_process_died_with_is_known_as_redelivered_also_a_join(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"), [JoinOpening("g", 1)])
        (held,) = lease(broker, "w.0.1")
        _, (claim,) = broker.cycle(
            "w.0.1", [Settlement(held.token, parts=(part("g", 0),))], ["q"], 1
        )

        broker.recover("w.0.1", [], engine.policy)

        again = _lease_anew(broker, 2)
        assert again.raw == claim.raw
        assert (claim.redelivered, again.redelivered) == (False, True)

    def test_a_recovered_consumer_is_forgotten(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)

        assert broker.recover("w.0.1", [Loss(77)], engine.policy) == 0
        assert broker.recover("w.0.1", [], engine.policy) == 0
        assert broker.renew(["w.0.1"], 60) == ["w.0.1"]

    def test_bystanders_are_not_counted(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.enlist("w.1.1", 60)
        broker.publish(messages("a b c d e"))
        held = lease(broker, "w.0.1", 3)
        theirs = lease(broker, "w.1.1", 1)

        broker.recover("w.0.1", [Loss(held[0].token)], engine.policy)

        assert settle(broker, "w.1.1", Settlement(theirs[0].token)) == [True]
        leases = drain(broker, "w.1.1")
        assert names(leases) == "a b c e"
        assert [each.deliveries for each in leases] == [1, 0, 0, 0]

    def test_what_had_begun_is_not_run_again(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b"))
        held = lease(broker, "w.0.1")
        settle(broker, "w.0.1", Settlement(held[0].token, Fate.BEGUN))

        broker.recover("w.0.1", [Loss(held[0].token)], engine.policy)

        broker.enlist("w.0.2", 60)
        leases = drain(broker, "w.0.2")
        assert names(leases) == "a b"
        assert [each.verdict for each in leases] == [BEGUN, None]

    def test_what_had_begun_is_not_run_again_even_if_nobody_saw_it_run(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        held = lease(broker, "w.0.1")
        settle(broker, "w.0.1", Settlement(held[0].token, Fate.BEGUN))

        broker.recover("w.0.1", [], engine.policy)

        broker.enlist("w.0.2", 60)
        assert [each.verdict for each in drain(broker, "w.0.2")] == [BEGUN]

    def test_what_had_begun_is_not_run_again_after_a_sweep(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", engine.lease_s)
        broker.publish(messages("a"))
        held = lease(broker, "w.0.1")
        settle(broker, "w.0.1", Settlement(held[0].token, Fate.BEGUN))

        engine.lose("w.0.1", broker)

        broker.enlist("v.0.1", 60)
        assert [each.verdict for each in drain(broker, "v.0.1")] == [BEGUN]

    def test_a_verdict_outlives_what_had_begun(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")
        settle(broker, "w.0.1", Settlement(held.token, Fate.BEGUN))

        broker.recover("w.0.1", [Loss(held.token, VERDICT)], engine.policy)

        broker.enlist("w.0.2", 60)
        assert [each.verdict for each in drain(broker, "w.0.2")] == [VERDICT]

    def test_a_lease_not_renewed_runs_again(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", engine.lease_s)
        broker.enlist("v.0.1", engine.lease_s)
        broker.publish(messages("a b"))
        lease(broker, "w.0.1", 1)

        engine.lose("w.0.1", broker, renewed=["v.0.1"])

        assert broker.depth("q").lane == 1
        leases = drain(broker, "v.0.1")
        assert names(leases) == "a b"
        assert [each.deliveries for each in leases] == [0, 0]
        assert leases[0].redelivered

    def test_a_lease_that_is_renewed_is_kept(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", engine.lease_s)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")

        given_up = engine.sweep_for(
            engine.lease_s + 2 * engine.interval_s, broker, renewed=["w.0.1"]
        )

        assert given_up == ()
        assert settle(broker, "w.0.1", Settlement(held.token)) == [True]

    def test_a_second_loss_with_a_worker_is_counted(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish(messages("a"))
        counts = []

        for worker in ("u", "v"):
            broker.enlist(f"{worker}.0.1", engine.lease_s)
            counts += [each.deliveries for each in lease(broker, f"{worker}.0.1")]
            engine.lose(f"{worker}.0.1", broker)
        broker.enlist("w.0.1", 60)
        counts += [each.deliveries for each in lease(broker, "w.0.1")]

        assert counts == [0, 0, 1]

    def test_what_kills_whole_workers_ends_as_poison(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish(messages("a"))
        policy = engine.policy._replace(max_deliveries=2)
        runs = 0

        held = _lease_anew(broker, runs, lease_s=engine.lease_s)
        while held.verdict is None and runs < 5:
            runs += 1
            while not broker.sweep(policy).consumers:
                engine.advance(engine.interval_s / 2)
            held = _lease_anew(broker, runs, lease_s=engine.lease_s)

        assert runs <= 2
        assert held.verdict == POISON

    def test_a_loss_with_a_worker_and_deaths_of_children_make_poison_together(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        broker.publish(messages("a"))
        _lease_anew(broker, 0, lease_s=engine.lease_s)
        engine.lose("w.0.0", broker)
        runs = 1

        held = _lease_anew(broker, runs)
        while held.verdict is None and runs < 9:
            broker.recover(f"w.0.{runs}", [Loss(held.token)], engine.policy)
            runs += 1
            held = _lease_anew(broker, runs)

        assert runs == engine.policy.max_deliveries
        assert held.verdict == POISON

    def test_suspects_come_alone(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", engine.lease_s)
        broker.enlist("v.0.1", engine.lease_s)
        broker.publish(messages("a b c"))
        lease(broker, "w.0.1", 2)
        engine.lose("w.0.1", broker, renewed=["v.0.1"])

        batches = []
        batch = lease(broker, "v.0.1", 10)
        while batch:
            batches.append(names(batch))
            batch = broker.cycle("v.0.1", [Settlement(held.token) for held in batch], ("q",), 10)[1]

        assert batches == ["a", "b", "c"]

    def test_suspects_come_alone_to_a_worker_after_two_losses(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish(messages("a b"))
        broker.enlist("u.0.1", engine.lease_s)
        lease(broker, "u.0.1")
        engine.lose("u.0.1", broker)
        for slot in (0, 1):
            broker.enlist(f"v.{slot}.1", engine.lease_s)
            assert len(lease(broker, f"v.{slot}.1")) == 1
        engine.lose("v.0.1", broker)
        broker.enlist("w.0.1", 60)
        broker.enlist("w.1.1", 60)
        broker.enlist("x.0.1", 60)

        one, none, other = (lease(broker, consumer) for consumer in ("w.0.1", "w.1.1", "x.0.1"))

        assert [names(leases) for leases in (one, none, other)] == ["a", "", "b"]
        assert [each.deliveries for each in one + other] == [1, 1]

    def test_a_late_sweep_recovers_nobody(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", engine.lease_s)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")
        broker.sweep(engine.policy)

        engine.advance(engine.lease_s + 2 * engine.interval_s + 0.1)
        swept = broker.sweep(engine.policy)

        assert swept.consumers == ()
        assert settle(broker, "w.0.1", Settlement(held.token)) == [True]
        # The new lease is a lease: it passes too.
        engine.lose("w.0.1", broker)

    def test_the_first_sweep_of_all_recovers_nobody(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 0.01)
        engine.advance(0.05)

        assert broker.sweep(engine.policy).consumers == ()
        assert broker.renew(["w.0.1"], 60) == []

    def test_due_messages_fire_once(self, engine: Harness) -> None:
        first, second = engine.open().broker, engine.open().broker
        now = engine.now()
        first.publish([message(name, due=now + after) for name, after in _DUE])
        engine.advance(0.5)

        first.sweep(engine.policy)
        second.sweep(engine.policy)

        first.enlist("w.0.1", 60)
        assert names(drain(first, "w.0.1")) == "a b c d"
        assert first.depth("q").due == 1

    def test_a_sweep_tells_when_the_next_message_is_due(self, engine: Harness) -> None:
        broker = engine.open().broker
        nothing = broker.sweep(engine.policy)
        broker.publish([message("a", due=engine.now() + 50), message("b", due=engine.now() + 90)])

        swept = broker.sweep(engine.policy)

        assert nothing.next_due_s is None
        assert swept.next_due_s is not None
        assert 40 < swept.next_due_s <= 50


_DUE = (("c", 0.3), ("a", 0.1), ("late", 60.0), ("d", 0.4), ("b", 0.2))


def _lease_anew(broker: Broker, epoch: int, lease_s: float = 60.0) -> Lease:
    broker.enlist(f"w.0.{epoch}", lease_s)
    (held,) = lease(broker, f"w.0.{epoch}")
    return held
