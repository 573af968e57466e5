"""Cases of the bus: who listens hears, answers reach their box, and nothing else happens."""

from __future__ import annotations

import select
import threading
import time

import pytest

from umbel.model.clock import monotonic_s
from umbel.model.errors import OperationalError
from umbel.ports.bus import Bus, Listener, Notice
from umbel.testing.conformance.harness import Harness, eventually, heard, lease, messages

# Far above the few milliseconds that it takes on an idle machine, far below any poll.
_AT_ONCE_S = 0.3
_LIMIT_S = 10.0


class NoticeCases:
    """What is said, to whom, and how answers come back."""

    def test_who_listens_hears(self, engine: Harness) -> None:
        first, second = (engine.open().broker.bus.listen("news") for _ in range(2))
        bus = engine.open().broker.bus

        said = [Notice("news", "", b"one"), Notice("news", "a.b", b"two"), _news("three")]
        bus.say(said)
        bus.say([_news("four")])

        assert heard(first, 4) == [*said, _news("four")]
        assert heard(second, 4) == [*said, _news("four")]
        first.close()
        second.close()

    def test_who_listens_hears_from_then_on(self, engine: Harness) -> None:
        bus = engine.open().broker.bus
        bus.say([_news("before")])

        with _listening(engine.open().broker.bus) as listener:
            bus.say([_news("after")])

            assert heard(listener, 1) == [_news("after")]
            assert listener.arrived(0) == []

    def test_who_listens_hears_at_once(self, engine: Harness) -> None:
        with _listening(engine.open().broker.bus) as listener:
            found: list[tuple[list[Notice], float]] = []
            thread = threading.Thread(
                target=lambda: found.append((listener.arrived(_LIMIT_S), monotonic_s()))
            )
            thread.start()
            threading.Event().wait(0.1)

            started = monotonic_s()
            engine.open().broker.bus.say([_news("now")])
            thread.join(_LIMIT_S)

            ((news, at_s),) = found
            assert news == [_news("now")]
            assert at_s - started < _AT_ONCE_S

    def test_who_listens_is_counted(self, engine: Harness) -> None:
        bus = engine.open().broker.bus
        others = [engine.open().broker.bus.listen(name) for name in ("news", "news", "weather")]

        heard_by = [bus.say([_news("one"), _news("two")]), bus.say([])]
        others[0].close()

        assert heard_by == [2, 0]
        # A server may notice the end of a connection a moment later.
        assert eventually(lambda: bus.say([_news("three")]) == 1)
        others[1].close()
        others[2].close()
        assert eventually(lambda: bus.say([_news("four")]) == 0)

    def test_who_listens_hears_in_a_poll(self, engine: Harness) -> None:
        with _listening(engine.open().broker.bus) as listener:
            poll = select.poll()
            poll.register(listener.fileno(), select.POLLIN)
            before = poll.poll(0)

            engine.open().broker.bus.say([_news("now")])

            assert before == []
            assert poll.poll(_LIMIT_S * 1000)
            assert heard(listener, 1) == [_news("now")]
            assert poll.poll(0) == []

    def test_who_listens_hears_a_thousand(self, engine: Harness) -> None:
        with _listening(engine.open().broker.bus) as listener:
            said = [_news(f"{number} {'x' * 500}") for number in range(1000)]
            engine.open().broker.bus.say(said)

            assert heard(listener, 1000) == said

    def test_nothing_is_said_to_nobody(self, engine: Harness) -> None:
        bus = engine.open().broker.bus

        bus.say([_news("unheard")])
        bus.say([])

        with _listening(bus) as listener:
            assert listener.arrived(0.05) == []

    def test_a_closed_listener_hears_no_more(self, engine: Harness) -> None:
        bus = engine.open().broker.bus
        listener = bus.listen("news")

        listener.close()
        listener.close()
        bus.say([_news("late")])

        with pytest.raises(OperationalError):
            listener.arrived(0)

    def test_only_what_is_asked_for_isheard(self, engine: Harness) -> None:
        broker = engine.open().broker
        wanted = broker.bus.listen("news", ["worker.#", "task.sent", "a.*.c"])
        plain = broker.bus.listen("news", [""])
        everything = broker.bus.listen("news", ["#", "worker.#", "worker.online"])

        keys = ["", "worker", "worker.online", "worker.a.b", "task.sent", "task.x", "a.b.c", "a.c"]
        said = [Notice("news", key, key.encode()) for key in keys]
        other = [Notice("newsletter", "worker.online", b"x"), Notice("new", "worker.online", b"x")]
        engine.open().broker.bus.say([*other, *said, Notice("news", "task.sent", b"end")])

        found = [notice.routing_key for notice in heard(wanted, 5)]
        assert found == ["worker.online", "worker.a.b", "task.sent", "a.b.c", "task.sent"]
        assert [notice.raw for notice in heard(plain, 1)] == [b""]
        assert [notice.routing_key for notice in heard(everything, 9)] == [*keys, "task.sent"]
        for listener in (wanted, plain, everything):
            assert listener.arrived(0) == []
            listener.close()

    def test_only_what_is_asked_for_is_heard_by_odd_names(self, engine: Harness) -> None:
        broker = engine.open().broker
        with _listening(broker.bus, "n?w*s", ["k[a].#"]) as listener:
            broker.bus.say([Notice("newws", "ka.x", b"other"), Notice("n?w*s", "k[a].x", b"mine")])

            assert [notice.raw for notice in heard(listener, 1)] == [b"mine"]

    def test_listening_costs_nothing(self, engine: Harness) -> None:
        with _listening(engine.open().broker.bus) as listener:
            cpu_s = time.thread_time()

            nothing = listener.arrived(1.0)

            assert nothing == []
            assert time.thread_time() - cpu_s < 0.02

    def test_saying_disturbs_no_waiter(self, engine: Harness) -> None:
        # What the server tells of the queue may arrive in front of the reply to something said.
        publisher, waiting = engine.open().broker, engine.open().broker
        waiting.enlist("w.0.1", 60)
        with _listening(publisher.bus):
            assert lease(waiting, "w.0.1") == []
            publisher.publish(messages("a"))
            waiting.bus.say([_news("in between")])

            started = monotonic_s()
            assert waiting.wait(("q",), _LIMIT_S, None)
            assert monotonic_s() - started < _AT_ONCE_S

    def test_answers_are_taken_once(self, engine: Harness) -> None:
        asking, answering = engine.open().broker.bus, engine.open().broker.bus
        asking.open_box("replies", "me")
        asking.open_box("replies", "me")
        asking.open_box("replies", "you")

        put = [answering.put(Notice("replies", box, raw)) for box, raw in _ANSWERS]

        assert put == [True, True, True]
        assert _taken(asking, "me", 2) == [b"one", b"two"]
        assert asking.take("replies", "me", 0) == []
        assert _taken(asking, "you", 1) == [b"other"]

    def test_answers_are_taken_at_once(self, engine: Harness) -> None:
        asking, answering = engine.open().broker.bus, engine.open().broker.bus
        asking.open_box("replies", "me")
        found: list[tuple[list[bytes], float]] = []
        thread = threading.Thread(
            target=lambda: found.append((asking.take("replies", "me", _LIMIT_S), monotonic_s()))
        )
        thread.start()
        threading.Event().wait(0.1)

        started = monotonic_s()
        answering.put(Notice("replies", "me", b"here"))
        thread.join(_LIMIT_S)

        ((answers, at_s),) = found
        assert answers == [b"here"]
        assert at_s - started < _AT_ONCE_S

    def test_answers_are_waited_for_no_longer_than_said(self, engine: Harness) -> None:
        bus = engine.open().broker.bus
        bus.open_box("replies", "me")
        started, cpu_s = monotonic_s(), time.thread_time()

        assert bus.take("replies", "me", 0.7) == []

        assert 0.65 <= monotonic_s() - started < 3
        assert time.thread_time() - cpu_s < 0.02

    def test_an_answer_without_a_box_is_dropped(self, engine: Harness) -> None:
        asking, answering = engine.open().broker.bus, engine.open().broker.bus

        never = answering.put(Notice("replies", "me", b"too early"))
        asking.open_box("replies", "me")
        elsewhere = answering.put(Notice("others", "me", b"wrong exchange"))
        answering.put(Notice("replies", "me", b"left behind"))
        asking.close_box("replies", "me")
        asking.close_box("replies", "me")
        late = answering.put(Notice("replies", "me", b"too late"))
        asking.open_box("replies", "me")

        assert (never, elsewhere, late) == (False, False, False)
        assert asking.take("replies", "me", 0) == []


_ANSWERS = [("me", b"one"), ("you", b"other"), ("me", b"two")]


def _news(text: str) -> Notice:
    return Notice("news", "k", text.encode())


class _listening:  # noqa: N801 - reads as a word
    """A listener, closed at the end."""

    def __init__(self, bus: Bus, exchange: str = "news", keys: list[str] | None = None) -> None:
        self._listener = bus.listen(exchange, keys or ["#"])

    def __enter__(self) -> Listener:
        return self._listener

    def __exit__(self, *_error: object) -> None:
        self._listener.close()


def _taken(bus: Bus, box: str, number: int) -> list[bytes]:
    found: list[bytes] = []
    limit = monotonic_s() + _LIMIT_S
    while len(found) < number and monotonic_s() < limit:
        found += bus.take("replies", box, limit - monotonic_s())
    return found
