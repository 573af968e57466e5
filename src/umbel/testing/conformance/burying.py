"""Cases of dead letters: kept whole, found again, sent again once, deleted when asked."""

from __future__ import annotations

import json
from collections.abc import Sequence

from umbel.model.lease import Loss
from umbel.model.message import Message
from umbel.model.settlement import Fate, Settlement
from umbel.ports.broker import Broker
from umbel.ports.graveyard import DeadLetter, Wanted
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

CONSUMER = "w.0.1"


class GraveCases:
    """What a graveyard keeps, and what becomes of it."""

    def test_a_dead_letter_keeps_bytes_and_cause(self, engine: Harness) -> None:
        broker = engine.open().broker
        raw = b"\x00\xff no envelope \n\r"
        before = engine.now()
        bury(broker, [message("a")._replace(raw=raw)], "no envelope: bad bytes")

        (letter,) = broker.graveyard.letters(Wanted(), 10)

        assert (letter.raw, letter.cause) == (raw, "no envelope: bad bytes")
        assert (letter.queue, letter.deliveries) == ("q", 0)
        assert before - 1 < letter.died < engine.now() + 1
        assert broker.graveyard.show(letter.number) == letter
        assert broker.graveyard.show(letter.number + 1) is None

    def test_a_dead_letter_keeps_its_count_of_deliveries(self, engine: Harness) -> None:
        broker = engine.open().broker
        broker.enlist("w.1.1", 60)
        broker.publish(messages("a"))
        (held,) = lease(broker, "w.1.1")
        broker.recover("w.1.1", [Loss(held.token)], engine.policy)
        broker.enlist(CONSUMER, 60)
        (again,) = lease(broker, CONSUMER)
        settle(broker, CONSUMER, Settlement(again.token, Fate.DEAD, cause="poison"))

        (letter,) = broker.graveyard.letters(Wanted(), 10)

        assert letter.deliveries == 1

    def test_dead_letters_are_listed_the_newest_first(self, engine: Harness) -> None:
        graveyard = _three(engine.open().broker).graveyard

        assert words(graveyard.letters(Wanted(), 10)) == "c b a"
        assert words(graveyard.letters(Wanted(), 2)) == "c b"
        assert graveyard.letters(Wanted(), 0) == []

    def test_dead_letters_are_found_by_what_is_known_of_them(self, engine: Harness) -> None:
        broker = engine.open().broker
        bury(broker, [envelope("t1", "mail.send", "mails")], "KeyError: 'To'")
        engine.advance(0.05)
        bury(broker, [envelope("t2", "mail.send", "mails")], "no such task")
        bury(broker, [envelope("t3", "pay.book", "money")], "WorkerLost: died 5 times")
        graveyard = broker.graveyard
        third, second, first = graveyard.letters(Wanted(), 10)

        def ids(wanted: Wanted) -> list[str]:
            found = [letter.task_id for letter in graveyard.letters(wanted, 10)]
            assert graveyard.count(wanted) == len(found)
            return sorted(found)

        assert ids(Wanted()) == ["t1", "t2", "t3"]
        assert ids(Wanted(task_ids=["t1", "t9", "t3"])) == ["t1", "t3"]
        assert ids(Wanted(tasks=["mail.send"])) == ["t1", "t2"]
        assert ids(Wanted(tasks=["pay.*"])) == ["t3"]
        assert ids(Wanted(queues=["money", "other"])) == ["t3"]
        assert ids(Wanted(cause="workerLOST")) == ["t3"]
        assert ids(Wanted(until=first.died)) == ["t1"]
        assert ids(Wanted(since=second.died)) == ["t2", "t3"]
        assert ids(Wanted(since=second.died, until=first.died)) == []
        assert ids(Wanted(tasks=["mail.*"], since=second.died)) == ["t2"]
        assert ids(Wanted(numbers=[third.number])) == ["t3"]
        assert ids(Wanted(numbers=[])) == []
        assert ids(Wanted(up_to=second.number)) == ["t1", "t2"]

    def test_a_replayed_letter_is_leased_as_new(self, engine: Harness) -> None:
        broker = _three(engine.open().broker)
        broker.publish(messages("waiting"))

        replayed = broker.graveyard.replay(Wanted())

        leases = drain(broker, CONSUMER)
        assert replayed == 3
        assert broker.graveyard.count(Wanted()) == 0
        assert names(leases) == "waiting a b c"
        assert {(each.deliveries, each.verdict) for each in leases} == {(0, None)}

    def test_a_replayed_letter_keeps_its_priority(self, engine: Harness) -> None:
        broker = engine.open().broker
        bury(broker, messages("late", priority=9), "a cause")
        broker.publish(messages("soon", priority=3))

        broker.graveyard.replay(Wanted())

        assert names(drain(broker, CONSUMER)) == "soon late"

    def test_a_replayed_letter_sends_what_follows_from_it(self, engine: Harness) -> None:
        pair = engine.open()
        bury(pair.broker, [envelope("t1", "mail.send", "q")], "a cause")
        pair.broker.graveyard.replay(Wanted())
        (held,) = lease(pair.broker, CONSUMER)

        settled = settle(
            pair.broker,
            CONSUMER,
            Settlement(held.token, documents=(document("t1"),), messages=(message("next"),)),
        )

        assert settled == [True]
        assert pair.store.get(["t1"]) == [b"{}"]
        assert names(drain(pair.broker, CONSUMER)) == "next"

    def test_replaying_twice_sends_once(self, engine: Harness) -> None:
        broker = _three(engine.open().broker)
        (letter,) = broker.graveyard.letters(Wanted(), 1)

        first = broker.graveyard.replay(Wanted(numbers=[letter.number]))
        second = broker.graveyard.replay(Wanted(numbers=[letter.number, letter.number]))

        assert (first, second) == (1, 0)
        assert names(drain(broker, CONSUMER)) == "c"
        assert broker.graveyard.count(Wanted()) == 2

    def test_a_replay_wakes_a_waiter(self, engine: Harness) -> None:
        broker = engine.open().broker
        bury(broker, messages("a"), "a cause")
        assert drain(broker, CONSUMER) == []

        engine.open().broker.graveyard.replay(Wanted())

        assert broker.wait(("q",), 10, None)
        assert names(drain(broker, CONSUMER)) == "a"

    def test_purged_letters_are_gone(self, engine: Harness) -> None:
        broker = _three(engine.open().broker)
        (newest,) = broker.graveyard.letters(Wanted(), 1)

        purged = broker.graveyard.purge(Wanted(numbers=[newest.number]))
        again = broker.graveyard.purge(Wanted(numbers=[newest.number]))
        rest = broker.graveyard.purge(Wanted())

        assert (purged, again, rest) == (1, 0, 2)
        assert broker.graveyard.letters(Wanted(), 10) == []
        assert drain(broker, CONSUMER) == []

    def test_more_dead_letters_than_a_page(self, engine: Harness) -> None:
        broker = engine.open().broker
        bury(broker, messages(" ".join(f"m{n}" for n in range(1203))), "a cause")

        graveyard = broker.graveyard
        found = graveyard.letters(Wanted(cause="cause"), 2000)

        assert words(found).split() == [f"m{n}" for n in range(1202, -1, -1)]
        assert graveyard.count(Wanted(queues=["q"])) == 1203
        assert graveyard.replay(Wanted()) == 1203
        assert names(drain(broker, CONSUMER)).split() == [f"m{n}" for n in range(1203)]


def bury(broker: Broker, sent: Sequence[Message], cause: str) -> None:
    """Publish messages, lease them and let them die."""
    broker.enlist(CONSUMER, 60)
    broker.publish(sent)
    left = len(sent)
    queues = sorted({each.queue for each in sent})
    while left:
        leases = broker.cycle(CONSUMER, (), queues, left)[1]
        assert leases, f"{left} messages could not be leased"
        settle(broker, CONSUMER, *[Settlement(one.token, Fate.DEAD, cause=cause) for one in leases])
        left -= len(leases)


def envelope(task_id: str, task: str, queue: str) -> Message:
    """A message whose bytes say what an engine may see from outside."""
    sent = message(task_id, queue)
    headers = {"lang": "py", "task": task, "id": task_id}
    properties = {"delivery_tag": sent.tag}
    raw = json.dumps({"body": "W10=", "headers": headers, "properties": properties})
    return sent._replace(id=task_id, task=task, raw=raw.encode())


def words(letters: Sequence[DeadLetter]) -> str:
    """The envelopes of dead letters, in order, as words."""
    return " ".join(letter.raw.decode() for letter in letters)


def _three(broker: Broker) -> Broker:
    for name in ("a", "b", "c"):
        bury(broker, messages(name), f"{name} died")
    return broker
