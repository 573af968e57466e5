"""Cases of joins: opened, grown, counted, claimed once, closed; at the broker or beside it."""

from __future__ import annotations

from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening
from umbel.model.lease import Lease, Loss
from umbel.model.settlement import Settlement
from umbel.ports.broker import Broker
from umbel.testing.conformance.harness import (
    Harness,
    document,
    drain,
    lease,
    messages,
    names,
    part,
    settle,
)


class JoinCases:
    """A join completes once, whatever is delivered twice."""

    def test_a_join_completes_once(self, engine: Harness) -> None:
        pair = engine.open()
        broker = pair.broker
        held = _members(broker, 3)

        first = _count(broker, held[0], 0)
        second = _count(broker, held[1], 1)
        third = _count(broker, held[2], 2)

        assert (first, second) == ([], [])
        assert names(third) == "join g"
        assert third[0].queue == "q"
        assert pair.store.parts("g") == [b"part-0", b"part-1", b"part-2"]

    def test_a_join_completes_once_when_all_parts_come_in_one_cycle(self, engine: Harness) -> None:
        broker = engine.open().broker
        held = _members(broker, 3)

        settlements = [
            Settlement(each.token, parts=(part("g", place),)) for place, each in enumerate(held)
        ]
        settled, leases = broker.cycle("w.0.1", settlements, ("q",), 10)

        assert settled == [True, True, True]
        assert names(leases + drain(broker, "w.0.1")) == "join g"

    def test_a_join_completes_once_when_a_member_is_delivered_twice(self, engine: Harness) -> None:
        broker = engine.open().broker
        held = _members(broker, 4, size=2)

        counts = [_count(broker, held[place], position) for place, position in _TWICE]

        assert [names(each) for each in counts] == ["", "", "join g", ""]

    def test_a_join_completes_once_when_it_is_closed_and_a_member_comes_again(
        self, engine: Harness
    ) -> None:
        pair = engine.open()
        held = _members(pair.broker, 2, size=1)
        (join,) = _count(pair.broker, held[0], 0)

        closed = settle(
            pair.broker,
            "w.0.1",
            Settlement(join.token, closes=(JoinClosing("g", failed=False),)),
        )
        again = _count(pair.broker, held[1], 0)

        assert closed == [True]
        assert again == []
        assert pair.store.parts("g") == []

    def test_a_completed_join_is_leased_by_a_later_call_where_none_was_asked_for(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        held = _members(broker, 1)

        settled = settle(broker, "w.0.1", Settlement(held[0].token, parts=(part("g", 0),)))
        leases = lease(broker, "w.0.1", 1)

        assert settled == [True]
        assert names(leases) == "join g"
        assert settle(broker, "w.0.1", Settlement(leases[0].token)) == [True]

    def test_a_completed_join_outlives_its_holder(self, engine: Harness) -> None:
        pair = engine.open()
        held = _members(pair.broker, 2)
        _count(pair.broker, held[0], 0)
        settle(pair.broker, "w.0.1", Settlement(held[1].token, parts=(part("g", 1),)))

        # It dies before a call gave it the lease of the join, and the next holder dies too.
        pair.broker.recover("w.0.1", [], engine.policy)
        pair.broker.enlist("w.0.2", 60)
        (join,) = lease(pair.broker, "w.0.2")
        pair.broker.recover("w.0.2", [Loss(join.token)], engine.policy)

        pair.broker.enlist("w.0.3", 60)
        (again,) = lease(pair.broker, "w.0.3")
        assert (again.raw, again.deliveries) == (b"join g", 1)
        assert pair.store.parts("g") == [b"part-0", b"part-1"]

    def test_a_lost_lease_counts_no_part(self, engine: Harness) -> None:
        pair = engine.open()
        held = _members(pair.broker, 1)
        pair.broker.release("w.0.1", [held[0].token])

        settled = settle(pair.broker, "w.0.1", Settlement(held[0].token, parts=(part("g", 0),)))

        assert settled == [False]
        assert pair.store.parts("g") == []
        (again,) = lease(pair.broker, "w.0.1")
        assert again.raw == b"m0"

    def test_a_lost_join_lease_sends_no_body(self, engine: Harness) -> None:
        broker = engine.open().broker
        held = _members(broker, 1)
        (join,) = _count(broker, held[0], 0)
        broker.release("w.0.1", [join.token])
        body = Settlement(
            join.token, messages=tuple(messages("body")), closes=(JoinClosing("g", failed=False),)
        )

        refused = settle(broker, "w.0.1", body)
        (again,) = lease(broker, "w.0.1")
        accepted = settle(broker, "w.0.1", body._replace(token=again.token))

        assert (refused, accepted) == ([False], [True])
        assert names(drain(broker, "w.0.1")) == "body"

    def test_a_join_may_be_opened_after_its_first_parts(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("m0 m1"))
        early = [
            _count(broker, each, place) for place, each in enumerate(lease(broker, "w.0.1", 2))
        ]

        broker.publish(messages("m2"), [JoinOpening("g", 3)])
        (last,) = lease(broker, "w.0.1")

        assert early == [[], []]
        assert names(_count(broker, last, 2)) == "join g"

    def test_a_join_opened_after_all_its_parts_is_not_lost(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("m0"))
        (held,) = lease(broker, "w.0.1")
        early = _count(broker, held, 0)

        broker.publish([], [JoinOpening("g", 1)])

        assert early == []
        assert names(drain(broker, "w.0.1")) == "join g"

    def test_a_settlement_may_open_a_join(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")

        settlement = Settlement(
            held.token, opens=(JoinOpening("g", 2),), messages=tuple(messages("m0 m1"))
        )
        settle(broker, "w.0.1", settlement)
        members = lease(broker, "w.0.1")

        assert names(members) == "m0 m1"
        assert _count(broker, members[1], 1) == []
        assert names(_count(broker, members[0], 0)) == "join g"

    def test_a_join_grows(self, engine: Harness) -> None:
        broker = engine.open().broker
        held = _members(broker, 1)

        # A member adds another one and ends, in one settlement.
        settled, leases = broker.cycle(
            "w.0.1",
            [
                Settlement(
                    held[0].token,
                    messages=tuple(messages("m1")),
                    parts=(part("g", 0),),
                    grows=(JoinGrowth("g", 1),),
                )
            ],
            ("q",),
            10,
        )

        assert settled == [True]
        (added,) = leases or lease(broker, "w.0.1")
        assert names([added]) == "m1"
        assert names(_count(broker, added, 0, "another")) == "join g"

    def test_parts_are_in_the_order_of_their_position(self, engine: Harness) -> None:
        pair = engine.open()
        held = _members(pair.broker, 12, size=13)

        for place, position in enumerate((10, 2, 0, None, 9, 1, 11, 3, 8, 4, 7, 5)):
            _count(pair.broker, held[place], position)

        expected = [*(b"part-%d" % place for place in (0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11))]
        assert pair.store.parts("g") == [*expected, b"part-None"]

    def test_joins_do_not_mix(self, engine: Harness) -> None:
        pair = engine.open()
        pair.broker.enlist("w.0.1", 60)
        pair.broker.publish(messages("a b"), [JoinOpening("g", 2), JoinOpening("h", 1)])
        first, second = lease(pair.broker, "w.0.1")

        both = Settlement(first.token, parts=(part("g", 0), part("h", 0)))
        leases = pair.broker.cycle("w.0.1", [both], ("q",), 10)[1]

        assert names(leases) == "join h"
        assert names(_count(pair.broker, second, 1)) == "join g"

    def test_a_join_elsewhere_is_claimed_again(self, engine: Harness) -> None:
        store = engine.open_apart().store
        store.apply((), opens=(JoinOpening("g", 2),))

        early = store.apply((document("t0"),), parts=(part("g", 0),))
        claims = store.apply((), parts=(part("g", 1),))
        again = store.apply((), parts=(part("g", 1),))
        closing = store.apply((), closes=(JoinClosing("g", failed=False),))
        closed = store.apply((), parts=(part("g", 1),))

        assert (early, closing, closed) == ([], [], [])
        assert [claim.raw for claim in claims] == [b"join g"]
        assert [claim.raw for claim in again] == [b"join g"]
        assert store.get(["t0"]) == [b"{}"]

    def test_a_join_elsewhere_is_claimed_again_only_by_the_member_that_completed_it(
        self, engine: Harness
    ) -> None:
        store = engine.open_apart().store
        store.apply((), opens=(JoinOpening("g", 3),))
        for position in (0, 2):
            store.apply((), parts=(part("g", position),))
        claims = store.apply((), parts=(part("g", 1),))

        others = [store.apply((), parts=(part("g", position),)) for position in (0, 2)]
        again = store.apply((), parts=(part("g", 1),))

        assert [claim.raw for claim in claims] == [b"join g"]
        assert others == [[], []]
        assert [claim.raw for claim in again] == [b"join g"]
        assert store.parts("g") == [b"part-0", b"part-1", b"part-2"]

    def test_a_join_elsewhere_counts_each_part_once(self, engine: Harness) -> None:
        store = engine.open_apart().store

        store.apply((), parts=(part("g", 0),))
        store.apply((), opens=(JoinOpening("g", 2),))
        twice = store.apply((), opens=(JoinOpening("g", 2),), parts=(part("g", 0),))
        parts = store.parts("g")
        claims = store.apply((), parts=(part("g", 1),))

        assert twice == []
        assert parts == [b"part-0"]
        assert len(claims) == 1

    def test_a_join_elsewhere_grows_once(self, engine: Harness) -> None:
        store = engine.open_apart().store
        store.apply((), opens=(JoinOpening("g", 1),))

        # The settler was killed between the store and the broker, and the task ran again.
        first = store.apply((), parts=(part("g", 0),), grows=(JoinGrowth("g", 1),))
        second = store.apply((), parts=(part("g", 0),), grows=(JoinGrowth("g", 1),))
        claims = store.apply((), parts=(part("g", 0, "another"),))

        assert (first, second) == ([], [])
        assert [claim.raw for claim in claims] == [b"join g"]


_TWICE = ((0, 0), (1, 0), (2, 1), (3, 1))


def _members(broker: Broker, number: int, size: int | None = None) -> list[Lease]:
    broker.enlist("w.0.1", 60)
    broker.publish(
        messages(" ".join(f"m{place}" for place in range(number))),
        [JoinOpening("g", number if size is None else size)],
    )
    return lease(broker, "w.0.1", number)


def _count(
    broker: Broker, held: Lease, position: int | None, task_id: str | None = None
) -> list[Lease]:
    """Settle a member with its part; gives what is leased then."""
    settlement = Settlement(held.token, parts=(part("g", position, task_id),))
    settled, leases = broker.cycle("w.0.1", [settlement], ("q",), 10)
    assert settled == [True]
    return leases or lease(broker, "w.0.1", 10)
