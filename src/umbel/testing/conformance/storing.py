"""Cases of the result store: put, get, forget, groups, expiry, watches."""

from __future__ import annotations

import threading

from umbel.model.clock import monotonic_s
from umbel.model.settlement import Settlement
from umbel.ports.store import Watch
from umbel.testing.conformance.harness import Harness, document, lease, messages


class StoreCases:
    """What a reader of results may rely on."""

    def test_records_are_kept(self, engine: Harness) -> None:
        engine.open().store.put([document("a", data=b"one"), document("b", "FAILURE", b"two")])

        assert engine.open().store.get(["b", "none", "a"]) == [b"two", None, b"one"]

    def test_many_records_are_read_in_one_go(self, engine: Harness) -> None:
        store = engine.open().store
        ids = [f"t{number}" for number in range(3000)]
        store.put([document(task_id, data=task_id.encode()) for task_id in ids])

        assert store.get(ids) == [task_id.encode() for task_id in ids]
        assert store.get([]) == []

    def test_a_later_state_replaces_an_earlier_one(self, engine: Harness) -> None:
        store = engine.open().store

        store.put([document("a", "STARTED", b"1"), document("a", "FAILURE", b"2")])
        store.put([document("a", "RETRY", b"3")])

        assert store.get(["a"]) == [b"3"]

    def test_success_is_final_in_the_store(self, engine: Harness) -> None:
        store = engine.open().store
        store.put([document("a", data=b"1")])

        store.put([document("a", "FAILURE", b"2"), document("a", "SUCCESS", b"3")])
        store.apply([document("a", "REVOKED", b"4")])

        assert store.get(["a"]) == [b"1"]

    def test_forgotten_records_are_gone(self, engine: Harness) -> None:
        store = engine.open().store
        store.put([document("a"), document("b")])

        store.forget(["a", "never"])
        store.put([document("a", "FAILURE", b"again")])

        assert store.get(["a", "b"]) == [b"again", b"{}"]

    def test_expired_records_are_gone(self, engine: Harness) -> None:
        store = engine.open().store
        # Whole seconds: Redis knows no others.
        store.put([document("a", ttl_s=1.0), document("b", ttl_s=None), document("c", ttl_s=0)])
        store.put_group("g", b"group", 1.0)
        store.put_group("h", b"group", None)

        engine.advance(1.1)
        while store.expire(1):
            pass

        assert store.get(["a", "b", "c"]) == [None, b"{}", b"{}"]
        assert (store.get_group("g"), store.get_group("h")) == (None, b"group")

    def test_saved_groups_are_kept(self, engine: Harness) -> None:
        store = engine.open().store

        store.put_group("g", b"one", 60)
        store.put_group("g", b"two", None)
        kept = engine.open().store.get_group("g")
        store.forget_group("g")

        assert kept == b"two"
        assert store.get_group("g") is None
        assert store.get_group("never") is None

    def test_stored_is_told(self, engine: Harness) -> None:
        writer = engine.open().store
        with engine.open().store.watch(["a", "b"]) as watch:
            before = watch.changes(0)
            writer.put([document("a", "STARTED", b"1"), document("other")])
            first = watch.changes(10)
            writer.put([document("a", data=b"2"), document("b", data=b"3")])
            rest = _changes_until(watch, {"a", "b"})

        assert before == {}
        assert first == {"a": b"1"}
        assert rest == {"a": b"2", "b": b"3"}

    def test_stored_is_told_at_once(self, engine: Harness) -> None:
        writer = engine.open().store
        store = engine.open().store
        waited: list[float] = []

        def watch() -> None:
            with store.watch(["a"]) as changes:
                assert changes.changes(0) == {}
                is_watching.set()
                assert changes.changes(10) == {"a": b"{}"}
                waited.append(monotonic_s())

        is_watching = threading.Event()
        thread = threading.Thread(target=watch)
        thread.start()
        is_watching.wait(10)
        threading.Event().wait(0.1)  # so that it sleeps deeply
        written = monotonic_s()
        writer.put([document("a")])
        thread.join(10)

        assert waited
        assert waited[0] - written < 0.25

    def test_stored_is_told_when_a_settlement_stores_it(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("m"))
        (held,) = lease(broker, "w.0.1")
        with engine.open().store.watch(["a"]) as watch:
            watch.changes(0)
            broker.cycle("w.0.1", [Settlement(held.token, documents=(document("a"),))], ("q",), 0)

            assert watch.changes(10) == {"a": b"{}"}

    def test_a_watch_misses_nothing(self, engine: Harness) -> None:
        writer = engine.open().store
        writer.put([document("a", data=b"early")])

        with engine.open().store.watch(["a", "b"]) as watch:
            # Between the subscription and the first look.
            writer.put([document("b", data=b"between")])
            first = _changes_until(watch, {"a", "b"})
            writer.put([document("c", data=b"before")])
            watch.add(["c", "d"])
            second = _changes_until(watch, {"c"})
            writer.put([document("d", data=b"after")])
            third = _changes_until(watch, {"d"})

        assert first == {"a": b"early", "b": b"between"}
        assert second == {"c": b"before"}
        assert third == {"d": b"after"}

    def test_a_watch_misses_nothing_of_a_thousand(self, engine: Harness) -> None:
        writer = engine.open().store
        ids = [f"t{number}" for number in range(1000)]

        with engine.open().store.watch(ids) as watch:
            watch.changes(0)
            for start in range(0, 1000, 10):
                writer.put([document(task_id) for task_id in ids[start : start + 10]])
            changes = _changes_until(watch, set(ids))

        assert set(changes) == set(ids)

    def test_a_watch_ends_when_the_time_is_up(self, engine: Harness) -> None:
        with engine.open().store.watch(["a"]) as watch:
            watch.changes(0)
            started = monotonic_s()

            assert watch.changes(0.1) == {}
            assert monotonic_s() - started < 2.0

    def test_a_store_can_be_used_beside_its_watch(self, engine: Harness) -> None:
        store = engine.open().store

        with store.watch(["a"]) as watch:
            watch.changes(0)
            store.put([document("a")])
            found = store.get(["a"])
            changes = watch.changes(10)
        with store.watch(["a"]) as watch:
            again = watch.changes(0)

        assert found == [b"{}"]
        assert changes == again == {"a": b"{}"}


def _changes_until(watch: Watch, task_ids: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    limit = monotonic_s() + 10
    while not task_ids <= set(found) and monotonic_s() < limit:
        found.update(watch.changes(10))
    return found
