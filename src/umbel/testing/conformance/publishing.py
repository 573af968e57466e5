"""Cases of ``Broker.publish``, and of looking at queues without leasing."""

from __future__ import annotations

import pytest

from umbel.model.join import JoinOpening
from umbel.model.message import Message
from umbel.model.settlement import Settlement
from umbel.ports.bus import Notice
from umbel.ports.graveyard import Wanted
from umbel.testing.conformance.harness import (
    Harness,
    drain,
    heard,
    lease,
    message,
    messages,
    names,
    settle,
)


class PublishCases:
    """What a publisher may rely on."""

    def test_published_is_stored(self, engine: Harness) -> None:
        engine.open().broker.publish(messages("a b"))

        other = engine.open().broker
        other.enlist("w.0.1", 60)
        leases = lease(other, "w.0.1")

        assert names(leases) == "a b"
        assert [(held.queue, held.deliveries, held.redelivered) for held in leases] == [
            ("q", 0, False),
            ("q", 0, False),
        ]
        assert all(held.verdict is None for held in leases)

    def test_published_is_stored_byte_by_byte(self, engine: Harness) -> None:
        broker = engine.open().broker
        raw = bytes(range(256)) * 300

        broker.publish([message()._replace(raw=raw), message()._replace(raw=b"")])

        broker.enlist("w.0.1", 60)
        assert [held.raw for held in lease(broker, "w.0.1")] == [raw, b""]

    def test_publish_is_all_or_nothing(self, engine: Harness) -> None:
        broker = engine.open_apart().broker

        with pytest.raises(ValueError):
            broker.publish(messages("a b"), [JoinOpening("g", 2)])

        assert broker.depth("q").ready == 0

    def test_publishing_nothing_is_legal(self, engine: Harness) -> None:
        broker = engine.open().broker

        broker.publish([])

        assert broker.depth("q").ready == 0

    def test_order_is_kept(self, engine: Harness) -> None:
        first, second = engine.open().broker, engine.open().broker
        first.publish(messages("a b"))
        second.publish(messages("c"))
        first.publish(messages("d e"))
        first.enlist("w.0.1", 60)

        leases = lease(first, "w.0.1", 2) + lease(first, "w.0.1", 10)

        assert names(leases) == "a b c d e"

    def test_priorities_are_served_in_order(self, engine: Harness) -> None:
        broker = engine.open().broker
        for priority in (9, 4, 0, 6, 3, 2):
            broker.publish([message(str(priority), priority=priority)])
        broker.enlist("w.0.1", 60)

        leases = lease(broker, "w.0.1")

        # Steps 0, 3, 6, 9: 4 and 3 are one step, 0 and 2 are one step, each in order of arrival.
        assert names(leases) == "0 2 4 3 6 9"

    def test_priorities_are_served_in_order_before_the_order_of_queues(
        self, engine: Harness
    ) -> None:
        broker = engine.open().broker
        broker.publish([message("a6", "a", priority=6), message("b0", "b")])
        broker.publish([message("a0", "a"), message("c0", "c")])
        broker.enlist("w.0.1", 60)

        leases = lease(broker, "w.0.1", queues=("a", "b"))

        assert sorted(names(leases[:2]).split()) == ["a0", "b0"]
        assert names(leases[2:]) == "a6"
        assert {held.raw.decode(): held.queue for held in leases} == {
            "a0": "a",
            "b0": "b",
            "a6": "a",
        }

    def test_due_messages_wait(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        due = engine.now() + 0.6
        broker.publish([message("later", due=due), message("now")])

        early = drain(broker, "w.0.1")
        depth = broker.depth("q")
        swept = broker.sweep(engine.policy)
        engine.advance(0.7)
        broker.sweep(engine.policy)

        assert names(early) == "now"
        assert (depth.ready, depth.due) == (0, 1)
        assert swept.next_due_s is not None
        assert 0 < swept.next_due_s <= 0.6
        assert names(drain(broker, "w.0.1")) == "later"
        assert engine.now() >= due

    def test_depth_counts_each_place(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish([*messages("a b c"), message("d", due=engine.now() + 60)])
        broker.publish([message("e", "other", priority=9)])
        lease(broker, "w.0.1", 1)

        assert tuple(broker.depth("q")) == (2, 1, 1, 0)
        assert tuple(broker.depth("other")) == (1, 0, 0, 0)
        assert tuple(broker.depth("nowhere")) == (0, 0, 0, 0)

    def test_peek_leases_nothing(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.publish([message("z", priority=9), *messages("a b")])

        assert broker.peek("q", 2) == [b"a", b"b"]
        assert broker.peek("q", 9) == [b"a", b"b", b"z"]
        assert broker.depth("q").ready == 3

    def test_purge_leaves_what_is_leased(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish([*messages("a b c"), message("d", due=engine.now() + 60)])
        lease(broker, "w.0.1", 1)

        assert broker.purge("q") == 3
        assert tuple(broker.depth("q")) == (0, 0, 1, 0)

    def test_a_named_exchange_reaches_the_queues_bound_to_it(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.bind("pictures", "topic", "all", "#")
        broker.bind("pictures", "topic", "large", "*.large")
        broker.bind("orders", "direct", "new", "created")

        broker.publish(
            [
                _routed("a", "pictures", "cat.large"),
                _routed("b", "pictures", "cat.small"),
                _routed("c", "orders", "created"),
            ]
        )

        assert broker.peek("all", 9) == [b"a", b"b"]
        assert broker.peek("large", 9) == [b"a"]
        assert broker.peek("new", 9) == [b"c"]

    def test_a_fanout_reaches_who_listens(self, engine: Harness) -> None:
        broker = engine.open().broker
        listeners = [engine.open().broker.bus.listen("news", [key]) for key in ("#", "a", "b")]
        fanout = message("f", "", due=engine.now() + 60)
        fanout = fanout._replace(exchange="news", routing_key="a", is_fanout=True)

        broker.publish([message("before"), fanout, message("after")])
        broker.publish([fanout])

        broker.enlist("w.0.1", 60)
        assert names(lease(broker, "w.0.1")) == "before after"
        for listener, number in zip(listeners, (2, 2, 0), strict=True):
            assert heard(listener, number) == [Notice("news", "a", b"f")] * number
            assert listener.arrived(0) == []
            listener.close()

    def test_a_fanout_reaches_who_listens_by_a_settlement(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")
        fanout = message("f", "")._replace(exchange="news", is_fanout=True)
        settlement = Settlement(held.token, messages=(fanout, message("next")))

        with_others = engine.open().broker
        listener = with_others.bus.listen("news")
        first, second = settle(broker, "w.0.1", settlement), settle(broker, "w.0.1", settlement)

        assert (first, second) == ([True], [False])
        assert [notice.raw for notice in listener.arrived(5)] == [b"f"]
        assert listener.arrived(0) == []
        assert names(lease(broker, "w.0.1")) == "next"
        listener.close()

    def test_a_settlement_finds_the_queues_of_an_exchange(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.bind("logs", "topic", "q", "#.error")
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.0.1")
        follow = (_routed("b", "logs", "disk.error"), _routed("c", "logs", "disk.info"))

        settle(broker, "w.0.1", Settlement(held.token, messages=follow))

        assert names(lease(broker, "w.0.1")) == "b"
        (letter,) = broker.graveyard.letters(Wanted(), 10)
        assert letter.raw == b"c"
        assert "'logs'" in letter.cause


def _routed(name: str, exchange: str, routing_key: str) -> Message:
    return message(name, "")._replace(exchange=exchange, routing_key=routing_key)
