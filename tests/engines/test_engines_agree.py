"""Random histories of publish, lease, settle, lose and sweep: SQLite does what memory does.

The house in memory is plain enough to be read as the rules; SQLite must give the same answer to
every step of every history. The clock is passed in.
"""

import random

import pytest

from umbel.engines.memory.broker import MemoryBroker
from umbel.engines.memory.house import House
from umbel.engines.memory.store import MemoryStore
from umbel.engines.placing import Steps
from umbel.engines.sqlite.broker import SqliteBroker
from umbel.engines.sqlite.location import location_of
from umbel.engines.sqlite.store import SqliteStore
from umbel.model.errors import LeaseLost
from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening
from umbel.model.lease import Loss
from umbel.model.settlement import Fate, Settlement
from umbel.ports.broker import SweepPolicy
from umbel.ports.engine import EngineOptions
from umbel.testing.conformance.harness import document, message, part

POLICY = SweepPolicy(lease_s=6, interval_s=1, max_deliveries=3, poison=b"p", begun=b"b")
CONSUMERS = ("u.0.1", "u.1.1", "v.0.1", "w.0.1")
STEPS = 60


class Side:
    """One engine, and the tokens by which it knows the leases that a history has numbered."""

    def __init__(self, broker, store):
        self.broker = broker
        self.store = store
        self.tokens = {}

    def close(self):
        self.broker.close()
        self.store.close()


class History:
    """One random history, played on both sides."""

    def __init__(self, seed, folder):
        self.random = random.Random(seed)
        self.now = 1_000_000.0
        self.leases = []  # (consumer, number) of all that were ever given
        self.number = 0
        self.size = self.random.randint(1, 4)
        house = House(lambda: self.now)
        location = location_of(f"sqlite:///{folder}/{seed}.db", EngineOptions())
        self.sides = (
            Side(
                MemoryBroker("memory://", house, Steps(), keeps_results=True),
                MemoryStore("memory://", house),
            ),
            Side(
                SqliteBroker(location, Steps(), keeps_results=True, clock=lambda: self.now),
                SqliteStore(location, clock=lambda: self.now),
            ),
        )
        self.told = []

    def play(self):
        moves = [self.publish, self.cycle, self.cycle, self.cycle, self.pass_time]
        moves += [self.enlist, self.release, self.recover, self.sweep, self.sweep, self.retire]
        self.enlist()
        for _ in range(STEPS):
            self.random.choice(moves)()
            self.compare()

    def close(self):
        for side in self.sides:
            side.close()

    # - Moves

    def publish(self):
        sent = []
        for _ in range(self.random.randint(1, 4)):
            self.number += 1
            due = self.random.choice([None, None, None, self.now + self.random.randint(0, 5)])
            priority = self.random.choice([0, 0, 3, 9])
            sent.append(message(f"m{self.number}", priority=priority, due=due))
        opens = [JoinOpening("g", self.size)] if self.random.random() < 0.2 else []
        self.both("publish", lambda side: side.broker.publish(sent, opens))

    def enlist(self):
        consumer = self.random.choice(CONSUMERS)
        self.both("enlist", lambda side: side.broker.enlist(consumer, POLICY.lease_s))

    def pass_time(self):
        self.now += self.random.choice([0.1, 0.5, 0.9, 1.5, 2.5])
        alive = self.random.sample(CONSUMERS, 3)
        self.both("renew", lambda side: side.broker.renew(alive, POLICY.lease_s))

    def cycle(self):
        consumer = self.random.choice(CONSUMERS)
        ends = [self.settlement() for number in self.some_of(consumer)]
        numbers = self.some_of(consumer)[: len(ends)]
        ends = ends[: len(numbers)]
        limit = self.random.choice([0, 1, 2, 5])

        def step(side):
            settlements = [
                end._replace(token=side.tokens[number])
                for end, number in zip(ends, numbers, strict=True)
            ]
            settled, leases = side.broker.cycle(consumer, settlements, ("q",), limit)
            first = len(self.leases)
            for place, lease in enumerate(leases):
                side.tokens[first + place] = lease.token
            return settled, [lease._replace(token=0) for lease in leases]

        answer = self.both("cycle", step)
        if isinstance(answer, tuple):
            self.leases += [(consumer, len(self.leases) + place) for place in range(len(answer[1]))]

    def settlement(self):
        chance = self.random.random()
        self.number += 1
        status = self.random.choice(["SUCCESS", "FAILURE", "RETRY"])
        records = (document(f"t{self.number % 7}", status, b"%d" % self.number),)
        if chance < 0.3:
            return Settlement(0, documents=records)
        if chance < 0.4:
            return Settlement(0, documents=records, messages=(message(f"m{self.number}"),))
        if chance < 0.6:
            grows = (JoinGrowth("g", 1),) if self.random.random() < 0.2 else ()
            parts = (part("g", self.random.randint(0, 5)),)
            return Settlement(0, parts=parts, grows=grows)
        if chance < 0.63:
            return Settlement(0, closes=(JoinClosing("g", failed=False),))
        fate = self.random.choice(list(Fate))
        return Settlement(0, fate, due=self.now + self.random.randint(1, 4), cause="chance")

    def release(self):
        consumer = self.random.choice(CONSUMERS)
        numbers = self.some_of(consumer)
        self.both(
            "release",
            lambda side: side.broker.release(consumer, [side.tokens[n] for n in numbers]),
        )

    def recover(self):
        consumer = self.random.choice(CONSUMERS)
        facts = [
            (number, self.random.choice([None, None, b"v"]), self.random.random() < 0.8)
            for number in self.some_of(consumer)
        ]
        self.both(
            "recover",
            lambda side: side.broker.recover(
                consumer,
                [Loss(side.tokens[n], verdict, counted) for n, verdict, counted in facts],
                POLICY,
            ),
        )

    def sweep(self):
        self.now += 0.4
        self.both("sweep", lambda side: side.broker.sweep(POLICY))

    def retire(self):
        if self.random.random() < 0.3:
            consumer = self.random.choice(CONSUMERS)
            self.both("retire", lambda side: side.broker.retire(consumer))

    # - Both sides

    def some_of(self, consumer):
        mine = [number for owner, number in self.leases if owner == consumer][-6:]
        return sorted(self.random.sample(mine, self.random.randint(0, len(mine))))

    def both(self, name, step):
        answers = []
        for side in self.sides:
            try:
                answers.append(step(side))
            except LeaseLost:
                answers.append("lost")
        self.told.append((name, answers[0]))
        assert _rounded(answers[0]) == _rounded(answers[1]), self.told[-5:]
        return answers[0]

    def compare(self):
        memory, sqlite = self.sides
        assert memory.broker.depth("q") == sqlite.broker.depth("q"), self.told[-5:]
        assert memory.broker.peek("q", 99) == sqlite.broker.peek("q", 99), self.told[-5:]
        ids = [f"t{number}" for number in range(7)]
        assert memory.store.get(ids) == sqlite.store.get(ids), self.told[-5:]
        assert memory.store.parts("g") == sqlite.store.parts("g"), self.told[-5:]


def _rounded(answer):
    if hasattr(answer, "next_due_s") and answer.next_due_s is not None:
        return answer._replace(next_due_s=round(answer.next_due_s, 6))
    return answer


@pytest.mark.parametrize("seed", range(40))
def test_sqlite_does_what_memory_does(seed, tmp_path):
    history = History(seed, tmp_path)

    try:
        history.play()
    finally:
        history.close()
