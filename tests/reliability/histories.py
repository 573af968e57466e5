"""Random histories of a broker, and a model of what it promises, without processes or waiting.

A *history* is a string of bytes, three for each step: what happens, and two numbers that say to
whom and how much. Bytes are quick to make, and a failing history shrinks to a short one. The model
keeps one line per message: where it must be, who may hold it, how often its process was lost. It
is told what was done, and it refuses what may not be so:

- a lease that is not free to give: held, done, dead, not due yet, begun at most once, not alone;
- a settlement that counts although the lease was lost, or does not although it was held;
- a consumer that is given up while it is renewed, or lives on when it is not;
- a death that counts for somebody else, poison too early or too late;
- a join that is claimed too early, twice or never; a message that is nowhere.
"""

from itertools import count

from umbel.engines.memory.broker import MemoryBroker
from umbel.engines.memory.house import House
from umbel.engines.placing import Steps
from umbel.model.errors import LeaseLost
from umbel.model.history import MOST_BYTES, deaths
from umbel.model.join import JOIN_TASK, JoinClosing, JoinOpening, JoinPart
from umbel.model.lease import Loss
from umbel.model.message import Message
from umbel.model.settlement import Fate, Settlement
from umbel.ports.broker import SweepPolicy

LEASE_S, INTERVAL_S, MOST = 6.0, 1.0, 3
POISON, BEGUN, LIMIT = b"poison", b"begun", b"limit"
POLICY = SweepPolicy(LEASE_S, INTERVAL_S, MOST, POISON, BEGUN)
QUEUES = ("q", "r")
FREE, HELD, DONE, DEAD = "free", "held", "done", "dead"
FATES = (Fate.DONE, Fate.DONE, Fate.DONE, Fate.REQUEUE, Fate.PARK, Fate.DEAD, Fate.RETURN)
PAUSES_S = (0.2, 0.5, 0.9, 1.5, 3.0, 7.0)


class Line:
    """What the model knows of one message."""

    def __init__(self, message, join=None, due=None):
        self.message = message
        self.join = join  # the join that it is a member of
        self.place = FREE
        self.due = due
        self.holder = None  # (consumer, token)
        self.deaths = 0  # of its process alone
        self.losses = 0  # with a whole worker
        self.tries = 0  # deaths after it was judged
        self.told = 0  # lines of its history
        self.begun = False
        self.verdict = None

    @property
    def is_claim(self):
        return self.message.task == JOIN_TASK

    def judge(self, verdict):
        if self.verdict is None:
            self.verdict = verdict


class Join:
    """What the model knows of one join."""

    def __init__(self, group_id, size):
        self.group_id = group_id
        self.size = size
        self.counted = set()
        self.claims = 0
        self.bodies = 0


class History:
    """Plays the bytes."""

    def __init__(self):
        self.time = 1_000_000.0
        self.house = House(lambda: self.time)
        self.broker = MemoryBroker("memory://", self.house, Steps(), keeps_results=True)
        self.lines = {}  # raw -> Line
        self.joins = {}
        self.deadlines = {}  # of consumers that are enlisted
        self.consumers = []  # all that ever were
        self.given = []  # (consumer, token, raw): all leases that ever were
        self.swept_at = None
        self._numbers = count(1)

    def play(self, program):
        for at in range(0, len(program) - 2, 3):
            what, a, b = program[at : at + 3]
            STEPS[what % len(STEPS)](self, a, b)
            self.check_places()
        self.finish()

    # - What happens

    def publish(self, a, b):
        self.send([self.message(QUEUES[a % 2], 9 * (b // 4 % 2)) for _ in range(1 + b % 4)])

    def publish_due(self, a, b):
        self.send([self.message(QUEUES[a % 2], 0, self.time + PAUSES_S[b % 6])])

    def publish_twice(self, a, b):
        """The same message lies in its queue twice, as after a producer's own repetition."""
        message = self.message(QUEUES[a % 2], 0)
        self.send([message])
        self.send([message._replace(raw=message.raw + b"'")])

    def publish_chord(self, a, b):
        number = next(self._numbers)
        join = self.joins[f"g{number}"] = Join(f"g{number}", 1 + b % 3)
        members = [self.message(QUEUES[a % 2], 0) for _ in range(join.size)]
        if a // 4 % 2:
            # One of them lies in its queue twice.
            members.append(members[0]._replace(raw=members[0].raw + b"'"))
        opening = JoinOpening(join.group_id, join.size)
        if a // 2 % 2:
            # A long header is sent in pieces; its opening comes with the last.
            self.send(members[:-1], join)
            self.send(members[-1:], join, [opening])
        else:
            self.send(members, join, [opening])

    def enlist(self, a, b):
        name = f"{'vw'[a % 2]}.{b % 2}.{next(self._numbers)}"
        self.consumers.append(name)
        self.broker.enlist(name, LEASE_S)
        self.deadlines[name] = self.time + LEASE_S

    def renew(self, a, b):
        names = [name for name in self.consumers if name.startswith("vw"[a % 2])]
        lost = self.broker.renew(names, LEASE_S)
        assert sorted(lost) == sorted(set(names) - set(self.deadlines))
        for name in set(names) & set(self.deadlines):
            self.deadlines[name] = self.time + LEASE_S

    def claim(self, a, b):
        self.cycle(self.some_consumer(a), [], 1 + b % 5)

    def settle(self, a, b):
        """Some of what it holds, and sometimes something that it does not hold (any more)."""
        consumer = self.some_consumer(a)
        held = self.held_by(consumer)
        chosen = held[: 1 + b % 3]
        if b // 64 == 3:
            chosen += [self.given[a % len(self.given)][1]] if self.given else [7]
        fate = FATES[b // 4 % len(FATES)]
        settlements = [self.settlement(consumer, token, fate) for token in dict.fromkeys(chosen)]
        self.cycle(consumer, settlements, (b // 32 % 2) * 3)

    def begin(self, a, b):
        consumer = self.some_consumer(a)
        self.cycle(consumer, [Settlement(t, Fate.BEGUN) for t in self.held_by(consumer)[:1]], 0)

    def release(self, a, b):
        consumer = self.some_consumer(a)
        tokens = self.held_by(consumer)[b % 3 :]
        free = [t for t in tokens if not self.line_of(consumer, t).begun]
        assert self.broker.release(consumer, tokens) == len(free)
        for token in free:
            self.line_of(consumer, token).place = FREE

    def retire(self, a, b):
        consumer = self.some_consumer(a)
        self.let_go(consumer)
        self.broker.retire(consumer)
        self.deadlines.pop(consumer, None)

    def recover(self, a, b):
        """One child is dead; its supervisor tells what it ran."""
        consumer = self.some_consumer(a)
        ran = self.held_by(consumer)[: b % 2 + b // 8 % 2]
        self.die(consumer, ran, LIMIT if b // 16 % 4 == 3 else None, counted=b // 2 % 4 > 0)

    def die(self, consumer, ran, verdict, *, counted):
        self.broker.recover(consumer, [Loss(t, verdict, counted) for t in ran], POLICY)
        for token in ran:
            line = self.line_of(consumer, token)
            line.told += bool(counted or line.verdict or verdict or line.begun)
            if line.verdict:
                line.tries += counted
            else:
                line.deaths += counted
            if verdict:
                line.judge(verdict)
            elif line.begun:
                line.judge(BEGUN)
            elif counted and line.deaths + line.losses >= MOST:
                line.judge(POISON)
        self.let_go(consumer, BEGUN)
        self.deadlines.pop(consumer, None)

    def kill(self, a, b):
        """A child is born, claims, and dies of it, some times over."""
        for _ in range(1 + b % 4):
            self.enlist(a, 0)
            consumer = self.consumers[-1]
            self.cycle(consumer, [], 1)
            ran = self.held_by(consumer)
            self.die(consumer, ran, None, counted=True)

    def pass_time(self, a, b):
        self.time += PAUSES_S[b % len(PAUSES_S)]

    def sweep(self, a=0, b=0):
        last, self.swept_at = self.swept_at, self.time
        is_late = last is None or self.time - last > 2 * INTERVAL_S
        expected = set()
        if is_late:
            self.deadlines = dict.fromkeys(self.deadlines, self.time + LEASE_S)
        else:
            expected = {name for name, at in self.deadlines.items() if at <= self.time}
        for name in expected:
            for token in self.held_by(name):
                self.lose(self.line_of(name, token))
            del self.deadlines[name]
        for line in self.lines.values():
            if line.place == FREE and line.begun:
                line.judge(BEGUN)
        assert set(self.broker.sweep(POLICY).consumers) == expected

    def lose(self, line):
        line.losses += 1
        line.told += 1
        line.tries += line.verdict is not None
        line.place = FREE
        if line.begun:
            line.judge(BEGUN)
        elif line.losses > 1 and line.deaths + line.losses >= MOST:
            line.judge(POISON)

    # - The model

    def message(self, queue, priority, due=None, task="tasks.any"):
        number = next(self._numbers)
        name = f"{task} {number}"
        return Message(name, task, queue, priority, f"tag {number}", name.encode(), due)

    def send(self, messages, join=None, openings=()):
        self.broker.publish(messages, openings)
        self.note(messages, join)

    def note(self, messages, join=None):
        for message in messages:
            self.lines[message.raw] = Line(message, join, message.due)

    def some_consumer(self, a):
        if not self.consumers:
            self.enlist(a, a)
        # The last few: old ones come back as zombies, but not all the time.
        return self.consumers[-1 - a % min(len(self.consumers), 5)]

    def held_by(self, consumer):
        if consumer not in self.deadlines:
            return []
        return sorted(
            line.holder[1]
            for line in self.lines.values()
            if line.place == HELD and line.holder[0] == consumer
        )

    def line_of(self, consumer, token):
        return next(
            line
            for line in self.lines.values()
            if line.place == HELD and line.holder == (consumer, token)
        )

    def let_go(self, consumer, begun=None):
        for token in self.held_by(consumer):
            line = self.line_of(consumer, token)
            line.place = FREE
            if line.begun and begun:
                line.judge(begun)

    def settlement(self, consumer, token, fate):
        """What a child would send for this lease, as far as a broker can see."""
        is_held = consumer in self.deadlines and token in self.held_by(consumer)
        line = self.line_of(consumer, token) if is_held else None
        if line is not None and line.begun and fate in (Fate.REQUEUE, Fate.PARK, Fate.RETURN):
            fate = Fate.DONE  # what has begun is not given back
        if fate is Fate.PARK:
            return Settlement(token, fate, due=self.time + 2.0)
        if fate is not Fate.DONE or line is None:
            # What a zombie wants to happen must not happen.
            follow = () if line else (self.message("q", 0),)
            return Settlement(token, fate, messages=follow, cause="because")
        if line.is_claim:
            join = line.join
            body = self.message("q", 0, task="body")
            return Settlement(token, messages=(body,), closes=(JoinClosing(join.group_id, False),))
        if line.join is not None:
            group_id = line.join.group_id
            claim = self.message("q", 0, task=JOIN_TASK)
            claim = claim._replace(raw=f"claim {group_id} {claim.tag}".encode())
            part = JoinPart(group_id, line.message.id, 0, b"part", lambda: claim)
            return Settlement(token, parts=(part,))
        follow = (self.message("r", 0),) if token % 3 == 0 and "body" not in line.message.id else ()
        return Settlement(token, messages=follow)

    def cycle(self, consumer, settlements, limit):
        claimable = self.claimable()
        try:
            settled, leases = self.broker.cycle(consumer, settlements, QUEUES, limit)
        except LeaseLost:
            assert consumer not in self.deadlines, "an enlisted consumer was refused"
            return
        assert consumer in self.deadlines, "a consumer that was given up was served"
        for settlement, was_held in zip(settlements, settled, strict=True):
            is_held = settlement.token in self.held_by(consumer)
            assert was_held == is_held, f"settled {was_held}, held {is_held}"
            if is_held:
                self.apply(self.line_of(consumer, settlement.token), settlement)
        assert len(leases) <= limit
        assert leases or limit == 0 or not claimable, "there was work, and nothing was given"
        for lease in leases:
            self.check_lease(consumer, lease, leases)

    def apply(self, line, settlement):
        if settlement.fate is Fate.BEGUN:
            line.begun = True
            return
        line.place = {Fate.DONE: DONE, Fate.DEAD: DEAD}.get(settlement.fate, FREE)
        line.due = settlement.due if settlement.fate is Fate.PARK else None
        self.note(settlement.messages)
        for part in settlement.parts:
            join = self.joins[part.group_id]
            join.counted.add(part.task_id)
            if len(join.counted) == join.size and not join.claims:
                join.claims += 1
                self.note([part.claim()], join)
        for closing in settlement.closes:
            join = self.joins[closing.group_id]
            join.bodies += 1
            assert join.bodies == 1, "a body was sent twice"

    def claimable(self):
        """Whether anybody at all must be given something."""
        return any(
            line.place == FREE
            and (line.due is None or line.due <= self.time)
            and (line.verdict is not None or (line.losses == 0 and not line.begun))
            for line in self.lines.values()
        )

    def check_lease(self, consumer, lease, together):
        line = self.lines.get(lease.raw)
        assert line is not None, f"{lease.raw} was never sent"
        assert line.place == FREE, f"{lease.raw} is {line.place}"
        assert line.due is None or line.due <= self.time, "early"
        assert lease.queue == line.message.queue
        assert lease.verdict == line.verdict, f"verdict {lease.verdict}, wanted {line.verdict}"
        assert not line.begun or line.verdict, "what had begun begins again"
        assert lease.tries == line.tries
        is_cut = len(lease.history) > MOST_BYTES - 100
        assert len(deaths(lease.history)) == line.told or is_cut, "deaths that are not told"
        if lease.verdict is None:
            assert lease.deliveries == line.deaths + max(line.losses - 1, 0)
            assert line.deaths + line.losses <= MOST
        if lease.verdict is None and line.losses:
            assert len(together) == 1, "a suspect came with others"
        if lease.verdict is None and line.losses > 1:
            worker = consumer.partition(".")[0]
            assert not any(
                other.place == HELD
                and other.losses > 1
                and other.verdict is None
                and other.holder[0].partition(".")[0] == worker
                for other in self.lines.values()
            ), "two suspects in one worker"
        assert (consumer, lease.token) not in {given[:2] for given in self.given}
        self.given.append((consumer, lease.token, lease.raw))
        line.place, line.holder = HELD, (consumer, lease.token)

    def check_places(self):
        """Each message is in exactly one place: what is not settled is at the broker, once."""
        there = sum(sum(self.broker.depth(queue)) for queue in QUEUES)
        open_lines = [line for line in self.lines.values() if line.place in (FREE, HELD)]
        assert there == len(open_lines), f"{there} at the broker, wanted {len(open_lines)}"
        dead = [line for line in self.lines.values() if line.place == DEAD]
        assert len(self.house.dead) == len(dead)

    def finish(self):
        """Everybody dies, one comes and works off: everything ends."""
        for _ in range(12):
            self.time += 0.9
            self.sweep()
        assert not self.deadlines
        for round_ in range(200):
            if all(line.place in (DONE, DEAD) for line in self.lines.values()):
                break
            self.time += 0.5
            name = f"last.0.{round_}"
            self.broker.enlist(name, LEASE_S)
            self.deadlines[name] = self.time + LEASE_S
            for _ in range(50):
                self.cycle(name, [], 10)
                held = self.held_by(name)
                if not held:
                    break
                self.cycle(name, [self.settlement(name, t, Fate.DONE) for t in held], 0)
            self.broker.retire(name)
            del self.deadlines[name]
        self.check_places()
        assert all(line.place in (DONE, DEAD) for line in self.lines.values()), "not all ended"
        for join in self.joins.values():
            is_whole = len(join.counted) == join.size
            assert join.bodies <= 1
            dead_claim = any(
                line.is_claim and line.join is join and line.place == DEAD
                for line in self.lines.values()
            )
            assert join.bodies == is_whole or dead_claim, "a join was never carried out"


STEPS = (
    History.publish,
    History.publish,
    History.publish_due,
    History.publish_twice,
    History.publish_chord,
    History.publish_chord,
    History.enlist,
    History.renew,
    History.claim,
    History.claim,
    History.claim,
    History.settle,
    History.settle,
    History.settle,
    History.begin,
    History.release,
    History.retire,
    History.recover,
    History.recover,
    History.kill,
    History.pass_time,
    History.pass_time,
    History.sweep,
    History.sweep,
)
