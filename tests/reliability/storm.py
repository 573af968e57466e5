"""A storm: thousands of tasks, chains and chords while processes are killed, frozen and cut off.

    python tests/reliability/storm.py --engine redis --seed 7 --seconds 60

Theory of operation. A seed gives a *plan*: what is sent in which order, and what is hurt when and
for how long; the same seed gives the same plan. One thread sends, this one hurts. Then everything
is healed, and what was accepted must come to its end. Counted are: accepted, refused (and whether
one of them ran all the same), of unknown outcome, run, run more than once (each repetition must
follow a lost process, so it is marked as redelivered), lost, stuck, wrong, forked (a task that was
sent twice, a chord's body above all) and early.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from rig import Bench, until

# A short lease, so that the loss of a worker is seen several times in a short storm.
SETTINGS = {
    "worker_lease_seconds": 2.0,
    "worker_lease_heartbeat": 0.5,
    "worker_sweep_interval": 0.4,
    "broker_connection_timeout": 2.0,
}
SHORT = ("kill_worker", "kill_machine", "kill_child", "freeze_child", "term_worker")
OF_SQLITE = (*SHORT, "freeze_worker")
OF_REDIS = (*OF_SQLITE, "kill_broker", "freeze_broker", "cut", "cut")
KINDS = {
    "sqlite": OF_SQLITE,
    "redis": OF_REDIS,
    "sqlite+redis": OF_REDIS,
    "redis+redis": OF_REDIS,
}


class Blow(NamedTuple):
    """Something that is hurt."""

    after_s: float
    what: str
    whom: float  # 0..1: which of those there are
    for_s: float


class Sent(NamedTuple):
    """Something that was accepted."""

    key: str
    kind: str
    result: object
    value: object
    due: float


class Tally(NamedTuple):
    """What came of a storm."""

    seed: int
    blows: Counter
    accepted: Counter
    run: int
    repeated: int
    refused: int
    unknown: int
    # What must be empty.
    ran_though_refused: list
    lost: list
    stuck: list
    wrong: list
    forked: list
    early: list
    left_over: str
    took_s: float

    @property
    def faults(self):
        return {
            name: getattr(self, name)
            for name in (
                "ran_though_refused",
                "lost",
                "stuck",
                "wrong",
                "forked",
                "early",
                "left_over",
            )
            if getattr(self, name)
        }

    def __str__(self):
        accepted = ", ".join(f"{n} {kind}" for kind, n in sorted(self.accepted.items()))
        blows = ", ".join(f"{n} {what}" for what, n in sorted(self.blows.items()))
        return (
            f"seed {self.seed}: {blows}\n"
            f"accepted {accepted}; refused {self.refused}, unknown {self.unknown}\n"
            f"runs {self.run}, of them repetitions {self.repeated}; settled {self.took_s:.1f} s "
            f"after the last blow\n" + (f"FAULTS {self.faults}" if self.faults else "no faults")
        )


def plan_of(seed, seconds, kinds):
    """What is hurt, and when."""
    dice = random.Random(f"blows {seed}")
    blows = []
    at = 0.3
    while at < seconds:
        what = dice.choice(kinds)
        for_s = dice.uniform(0.1, 1.0)
        if what == "freeze_worker":
            for_s = dice.choice([0.3, 4.0])  # within its lease, and beyond it
        blows.append(Blow(at, what, dice.random(), for_s))
        at += dice.uniform(0.2, 1.4)
    return blows


class Producer(threading.Thread):
    """Sends until it is told to stop; keeps what was accepted."""

    def __init__(self, bench, seed, rate):
        super().__init__(daemon=True)
        self.bench = bench
        self.dice = random.Random(f"calls {seed}")
        self.rate = rate
        self.sent = []
        self.refused = []
        self.unknown = []
        self.failure = None
        self.is_over = threading.Event()

    def run(self):
        from umbel.model.errors import OperationalError, PublishOutcomeUnknown

        started, number = time.monotonic(), 0
        try:
            while not self.is_over.is_set():
                number += 1
                kind, key, canvas, value, options = self.call(number)
                due = time.time() + options.get("countdown", 0)
                try:
                    result = canvas.apply_async(**options)
                except PublishOutcomeUnknown:
                    self.unknown.append(key)
                except OperationalError:
                    self.refused.append(key)
                else:
                    self.sent.append(Sent(key, kind, result, value, due))
                behind = started + number / self.rate - time.monotonic()
                if behind > 0:
                    self.is_over.wait(behind)
                else:
                    started -= behind  # what an outage has cost is not made up for
        except BaseException as error:
            self.failure = error
            raise

    def call(self, number):
        """(kind, key, canvas, value, options)."""
        from umbel import chain, chord

        dice, t = self.dice, self.bench.tasks
        draw, seconds = dice.random(), dice.choice([0, 0, 0.001, 0.005, 0.02])
        if draw < 0.75:
            key = f"task-{number}"
            return "tasks", key, t.work.si(key, seconds, number), number, {}
        if draw < 0.80:
            key = f"later-{number}"
            options = {"countdown": dice.uniform(0.2, 3.0)}
            return "countdowns", key, t.work.si(key, 0, number), number, options
        if draw < 0.83:
            key = f"retried-{number}"
            return "retried", key, t.stubborn.si(key, 2, number), number, {}
        if draw < 0.84:
            key = f"fragile-{number}"
            marker = str(self.bench.folder / f"marker-{number}")
            return "fragile", key, t.fragile.si(key, number, marker), number, {}
        if draw < 0.93:
            key, length = f"chain-{number}", dice.randint(2, 8)
            steps = [t.step.s(f"{key}-{i}", seconds) for i in range(length)]
            if dice.random() < 0.3:
                length *= 8
                steps = [t.hop.s(f"{key}-{i}") for i in range(length)]
            return "chains", key, chain(t.work.si(f"{key}-first", 0, 0), *steps), length, {}
        key, width = f"chord-{number}", dice.randint(2, 12)
        header = [
            chain(t.work.si(f"{key}-{i}a", 0, i), t.step.s(f"{key}-{i}b", seconds))
            if i % 3 == 0
            else t.work.si(f"{key}-{i}", seconds, i)
            for i in range(width)
        ]
        value = sum(i + (i % 3 == 0) for i in range(width))
        return "chords", key, chord(header, t.total.s(f"{key}-body")), value, {}


class Storm:
    """Hurts a bench after a plan, and heals it."""

    def __init__(self, bench, workers=2, say=lambda text: None):
        self.bench = bench
        self.workers = []
        self.say = say
        self._later = []  # (when, what heals), soonest first
        for _ in range(workers):
            self.workers.append(bench.start_worker(is_ready=False))
        for worker in self.workers:
            worker.wait_until_ready()

    def strike(self, blows):
        """Hurt everything at its time."""
        started = time.monotonic()
        for blow in blows:
            self.heal_until(started + blow.after_s)
            self.say(f"{blow.after_s:6.2f} {blow.what} for {blow.for_s:.2f} s")
            getattr(self, blow.what)(blow)

    def heal_until(self, moment):
        """Heal what is to be healed until then, and wait for it."""
        while self._later and self._later[0][0] <= moment:
            when, _, heal = self._later.pop(0)
            time.sleep(max(when - time.monotonic(), 0))
            heal()
        time.sleep(max(moment - time.monotonic(), 0))

    def heal_all(self):
        """Heal everything, and see that there is a worker."""
        self.heal_until(max([time.monotonic(), *[when for when, _, _ in self._later]]))
        assert any(worker.is_running for worker in self.workers)

    def after(self, seconds, heal):
        self._later.append((time.monotonic() + seconds, len(self._later), heal))
        self._later.sort(key=lambda one: one[:2])

    def _place(self, blow):
        return int(blow.whom * len(self.workers)) % len(self.workers)

    def _replace(self, place, after_s):
        def start():
            self.workers[place] = self.bench.start_worker(is_ready=False)

        self.after(after_s, start)

    def kill_worker(self, blow):
        worker = self.workers[self._place(blow)]
        if worker.is_running:
            worker.kill()
            self._replace(self._place(blow), blow.for_s)

    def kill_machine(self, blow):
        worker = self.workers[self._place(blow)]
        if worker.is_running:
            worker.kill_all()
            self._replace(self._place(blow), blow.for_s)

    def term_worker(self, blow):
        """Stopped as on a deployment, and killed when it takes too long."""
        worker = self.workers[self._place(blow)]
        if worker.is_running:
            worker.thaw()
            worker.process.send_signal(signal.SIGTERM)

            def end(place=self._place(blow)):
                if worker.is_running:
                    worker.kill()
                self.workers[place] = self.bench.start_worker(is_ready=False)

            self.after(blow.for_s + 1.0, end)

    def _child(self, blow):
        children = self.workers[self._place(blow)].children()
        return children[int(blow.whom * 997) % len(children)] if children else None

    def kill_child(self, blow):
        child = self._child(blow)
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def freeze_child(self, blow):
        child = self._child(blow)
        if child is None:
            return

        def thaw():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGCONT)

        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGSTOP)
            self.after(blow.for_s, thaw)

    def freeze_worker(self, blow):
        worker = self.workers[self._place(blow)]
        if worker.is_running:
            worker.freeze()
            self.after(blow.for_s, worker.thaw)

    def _server(self, blow):
        """The broker, or the results."""
        servers = self.bench.servers
        return servers[int(blow.whom * 997) % len(servers)]

    def kill_broker(self, blow):
        server = self._server(blow)
        if server.process.poll() is None:
            server.kill()
            self.after(blow.for_s, server.start)

    def freeze_broker(self, blow):
        server = self._server(blow)
        if server.process.poll() is None:
            server.freeze()
            self.after(blow.for_s, lambda: server.process.poll() is None and server.thaw())

    def cut(self, blow):
        with contextlib.suppress(OSError):
            self._server(blow).say("CLIENT KILL TYPE normal SKIPME yes")


def storm(engine, seed, seconds, folder, *, rate=120, patience_s=60.0, say=lambda text: None):
    """One storm; gives its tally."""
    with Bench(engine, folder, settings=SETTINGS) as bench:
        blows = plan_of(seed, seconds, KINDS[engine])
        weather = Storm(bench, say=say)
        producer = Producer(bench, seed, rate)
        producer.start()
        try:
            weather.strike(blows)
        finally:
            producer.is_over.set()
            weather.heal_all()
        producer.join(30)
        assert producer.failure is None, producer.failure
        calm = time.monotonic()
        say("all is healed")
        pending = wait_for_all(bench, producer.sent, patience_s)
        took_s = time.monotonic() - calm
        return tally(bench, seed, blows, producer, pending, took_s)


def wait_for_all(bench, sent, patience_s):
    """Wait until all have ended; gives the ids of those that have not."""
    pending = {one.result.id for one in sent}
    limit = time.monotonic() + patience_s
    while pending and time.monotonic() < limit:
        for record in bench.app.archive.records(list(pending)):
            if record.status in ("SUCCESS", "FAILURE", "REVOKED"):
                pending.discard(record.task_id)
        time.sleep(0.1)
    return pending


def tally(bench, seed, blows, producer, pending, took_s):
    """Count."""
    sent = producer.sent
    begun, runs = bench.trace.begun(), bench.trace.runs()
    first = {}
    for run in runs:
        first.setdefault(run.key, run.at)
    wrong = []
    for one in sent:
        if one.result.id not in pending:
            record = bench.app.archive.records([one.result.id])[0]
            if record.status != "SUCCESS" or record.result != one.value:
                wrong.append((one.key, record.status, repr(record.result), one.value))
    flows = ("chains", "chords")
    return Tally(
        seed=seed,
        blows=Counter(blow.what for blow in blows),
        accepted=Counter(one.kind for one in sent),
        run=sum(begun.values()),
        repeated=bench.trace.repeated(),
        refused=len(producer.refused),
        unknown=len(producer.unknown),
        ran_though_refused=sorted(
            key
            for key in producer.refused
            if any(begun.get(name) for name in (key, f"{key}-first", f"{key}-1", f"{key}-0a"))
        ),
        lost=sorted(o.key for o in sent if o.result.id in pending and o.kind not in flows),
        stuck=sorted(o.key for o in sent if o.result.id in pending and o.kind in flows),
        wrong=wrong,
        forked=bench.trace.forked(),
        early=[o.key for o in sent if o.key in first and first[o.key] < o.due - 0.001],
        left_over=left_over(bench),
        took_s=took_s,
    )


def left_over(bench):
    """What still lies at the broker when everything has ended."""

    def is_empty():
        return not any(bench.depth())

    try:
        until(is_empty, 15)
    except AssertionError:
        return str(bench.depth())
    return ""


def main():
    parser = argparse.ArgumentParser(description="A seeded storm over one engine.")
    parser.add_argument("--engine", choices=list(KINDS), default="redis")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=120.0)
    parser.add_argument("--keep", help="a folder that stays, to look into")
    given = parser.parse_args()
    seed = given.seed if given.seed is not None else random.randrange(10**6)
    with contextlib.ExitStack() as stack:
        if given.keep:
            folder = Path(given.keep) / f"{given.engine}-{seed}"
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="storm-"))
        print(f"engine {given.engine}, seed {seed}, {given.seconds:g} s", flush=True)
        found = storm(
            given.engine,
            seed,
            given.seconds,
            folder,
            rate=given.rate,
            say=lambda text: print(text, flush=True),
        )
    print(found)
    sys.exit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
