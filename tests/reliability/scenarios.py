"""What is done to a system, and what is counted: the scenarios of the table of guarantees.

Each is a function of a ``Scene`` and says in its docstring what it does; the page shows that. The
blows fall at the same times on all systems. What is not done some seconds after everything is up
again counts as lost, or as held where it still lies at the broker (Celery: for its visibility
timeout of an hour).
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from malformed import captured, removed
from rig import PROGRAMS, until

PATIENCE_S = 15.0


class Row(NamedTuple):
    """One scenario on one system."""

    scenario: str
    system: str
    accepted: int
    run: int
    lost: int
    held: int
    twice: int
    stuck: str
    recovered_s: float | None
    remark: str = ""


class Scene:
    """What a scenario has at hand, and what it counts."""

    def __init__(self, bench):
        self.bench = bench
        self.tasks = bench.tasks
        self.is_celery = bench.system == "celery"
        self.results = {}
        self.flows = {}
        self.blows = []
        self.remark = ""

    def pause(self, seconds):
        """Let the scenario go on for a while."""
        threading.Event().wait(seconds)

    def send(self, key, signature, **options):
        """One task; what is refused is not accepted."""
        with contextlib.suppress(OSError, *refusals()):
            self.results[key] = signature.apply_async(**options)

    def send_flow(self, key, canvas):
        """A chain or chord."""
        self.flows[key] = canvas.apply_async()

    def canvas(self):
        """(chain, chord) of the system."""
        if self.is_celery:
            from celery import chain, chord
        else:
            from umbel import chain, chord
        return chain, chord

    def struck(self):
        """Note the time of a blow."""
        self.blows.append(time.time())

    def kill(self, worker):
        """The loss of a machine."""
        self.struck()
        worker.kill_all()

    def ended(self, keys):
        """Which keys came to their end."""
        ended = self.bench.trace.ended()
        return [key for key in keys if ended.get(key)]

    def wait(self, patience_s=PATIENCE_S):
        """Until everything has ended, or nothing has for a while."""
        last, seen = time.monotonic(), -1
        while time.monotonic() - last < patience_s:
            done = len(self.ended(self.results)) + len(self.done_flows())
            if done == len(self.results) + len(self.flows):
                return
            if done != seen:
                last, seen = time.monotonic(), done
            self.pause(0.1)

    def done_flows(self):
        """Which flows have a result."""
        return [key for key, result in self.flows.items() if result.ready()]

    def row(self, scenario):
        """The counts."""
        done = self.ended(self.results)
        begun = self.bench.trace.begun()
        held = 0
        if self.is_celery:
            held = integer(self.bench.server.say("HLEN unacked"))
        missing = len(self.results) - len(done)
        stuck = f"{len(self.flows) - len(self.done_flows())} of {len(self.flows)}"
        return Row(
            scenario,
            self.bench.system,
            len(self.results) + len(self.flows),
            len(done) + len(self.done_flows()),
            max(missing - held, 0),
            min(missing, held),
            sum(1 for number in begun.values() if number > 1),
            stuck if self.flows else "",
            self.recovered_s(),
            self.remark,
        )

    def recovered_s(self):
        """The longest time from a blow to the repetition of what it interrupted."""
        open_runs, waits = {}, []
        for run in self.bench.trace.runs():
            if run.kind == "end":
                open_runs.pop(run.key, None)
                continue
            if run.key in open_runs:
                begun = open_runs[run.key]
                waits += [run.at - at for at in self.blows if begun < at < run.at][:1]
            open_runs[run.key] = run.at
        return max(waits, default=None)


def refusals():
    """What the systems raise when they can't send."""
    from celery.exceptions import OperationalError as OfCelery

    from umbel.model.errors import OperationalError as OfUmbel

    return OfCelery, OfUmbel


def integer(reply):
    """An integer reply of Redis."""
    return int(reply[1:].split(b"\r\n")[0]) if reply.startswith(b":") else 0


# - The scenarios: each a sentence, which the page shows.


def kill9_worker(scene):
    """600 tasks of 10 ms; the whole worker is killed 3 times and started again"""
    worker = scene.bench.start_worker()
    for number in range(600):
        scene.send(f"t{number}", scene.tasks.work.si(f"t{number}", 0.01))
    for at in (50, 200, 350):
        until(lambda at=at: len(scene.ended(scene.results)) >= at, 20)
        scene.kill(worker)
        worker = scene.bench.start_worker()
        # Where an hour passes before anything is given back, the next kill comes all the same.
        if scene.is_celery:
            scene.pause(1)
    scene.wait()


def kill9_slow(scene):
    """24 tasks of 0.5 s; the whole worker is killed twice"""
    worker = scene.bench.start_worker()
    for number in range(24):
        scene.send(f"t{number}", scene.tasks.work.si(f"t{number}", 0.5))
    for _ in range(2):
        scene.pause(0.8)
        scene.kill(worker)
        worker = scene.bench.start_worker()
    scene.wait()


def kill9_child(scene):
    """20 tasks of 0.3 s; 4 pool processes are killed"""
    worker = scene.bench.start_worker()
    for number in range(20):
        scene.send(f"t{number}", scene.tasks.work.si(f"t{number}", 0.3))
    until(lambda: scene.bench.trace.begun())
    for _ in range(4):
        scene.pause(0.4)
        scene.struck()
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(worker.children()[-1], signal.SIGKILL)
    scene.wait()


def poison(scene):
    """a task that always kills its process, among 20 good ones"""
    scene.bench.start_worker()
    bad = scene.tasks.poison.delay("poison")
    for number in range(20):
        scene.send(f"t{number}", scene.tasks.work.si(f"t{number}", 0.01))
    scene.wait()
    with contextlib.suppress(AssertionError):
        until(bad.ready, 10)
    scene.remark = f"the poison ran {scene.bench.trace.begun()['poison']} times: {bad.state}"


def poison_tree(scene):
    """a task that always kills its whole worker, among 20 good ones; restarted each time"""
    worker = scene.bench.start_worker()
    bad = scene.tasks.poison_tree.delay("poison")
    for number in range(20):
        scene.send(f"t{number}", scene.tasks.work.si(f"t{number}", 0.01))
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not bad.ready():
        if not worker.is_running:
            # It may die before it says that it is ready.
            worker = scene.bench.start_worker(is_ready=False)
        scene.pause(0.2)
        if scene.is_celery and time.monotonic() > limit - 40:
            break
    scene.wait(3)
    scene.remark = f"the poison ran {scene.bench.trace.begun()['poison']} times: {bad.state}"


def chord_kill(scene):
    """3 chords of 100 members; the whole worker is killed 3 times"""
    chain, chord = scene.canvas()
    worker = scene.bench.start_worker()
    for place in range(3):
        header = [scene.tasks.work.si(f"c{place}-{n}", 0.01, n) for n in range(100)]
        scene.send_flow(f"c{place}", chord(header, scene.tasks.total.s(f"c{place}-body")))
    for _ in range(3):
        scene.pause(0.6)
        scene.kill(worker)
        worker = scene.bench.start_worker()
    scene.wait()
    bodies = {run.key for run in scene.bench.trace.runs() if run.key.endswith("-body")}
    forked = [key for key in scene.bench.trace.forked() if key in bodies]
    scene.remark = f"bodies sent twice: {len(forked)}"


def chain_kill(scene):
    """8 chains of 20 steps of 20 ms; the whole worker is killed 4 times"""
    chain, _ = scene.canvas()
    worker = scene.bench.start_worker()
    for place in range(8):
        steps = [scene.tasks.step.s(f"c{place}-{n}", 0.02) for n in range(19)]
        first = scene.tasks.work.si(f"c{place}-first", 0.02, 0)
        scene.send_flow(f"c{place}", chain(first, *steps))
    for _ in range(4):
        scene.pause(0.5)
        scene.kill(worker)
        worker = scene.bench.start_worker()
    scene.wait()


def eta_kill(scene):
    """100 tasks with a countdown of 5 s; the whole worker is killed after 2 s"""
    worker = scene.bench.start_worker()
    sent = time.time()
    for number in range(100):
        scene.send(f"t{number}", scene.tasks.work.si(f"t{number}"), countdown=5)
    scene.pause(2)
    scene.kill(worker)
    scene.bench.start_worker()
    scene.wait()
    late = [run.at - sent - 5 for run in scene.bench.trace.runs() if run.kind == "begin"]
    if late:
        scene.remark = f"{min(late):.1f} to {max(late):.1f} s late"


def sigterm_grace(scene):
    """10 tasks of 5 s; SIGTERM, and SIGKILL 3 s later, as a deployment does it"""
    worker = scene.bench.start_worker()
    for number in range(10):
        scene.send(f"t{number}", scene.tasks.work.si(f"t{number}", 5))
    until(lambda: len(scene.bench.trace.begun()) >= 2)
    worker.process.send_signal(signal.SIGTERM)
    scene.pause(3)
    scene.kill(worker)
    scene.bench.start_worker()
    scene.wait()


def sigquit(scene):
    """10 tasks of 1 s; SIGQUIT"""
    worker = scene.bench.start_worker()
    for number in range(10):
        scene.send(f"t{number}", scene.tasks.work.si(f"t{number}", 1))
    until(lambda: len(scene.bench.trace.begun()) >= 2)
    scene.struck()
    with contextlib.suppress(Exception):
        worker.stop(signal.SIGQUIT, 10)
    scene.bench.start_worker()
    scene.wait()


def zombie(scene):
    """a chord of 40 on two workers; one is frozen for 12 s, and comes back"""
    _, chord = scene.canvas()
    frozen = scene.bench.start_worker()
    scene.bench.start_worker()
    header = [scene.tasks.work.si(f"c-{n}", 0.2, n) for n in range(40)]
    scene.send_flow("c", chord(header, scene.tasks.total.s("c-body")))
    scene.pause(1)
    scene.struck()
    frozen.freeze()
    scene.pause(12)
    scene.remark = "done meanwhile" if scene.done_flows() else "waits for the frozen one"
    frozen.thaw()
    scene.wait()
    scene.pause(1)
    scene.remark += f"; the body ran {scene.bench.trace.begun()['c-body']} times"


def producer_kill(scene):
    """tasks, groups, chains and chords in a loop; the producer is killed 8 times, mid-sentence"""
    bench = scene.bench
    for number in range(8):
        log = bench.folder / f"producer-{number}"
        program = [sys.executable, str(PROGRAMS / "storm_producer.py"), f"p{number}", str(log)]
        producer = subprocess.Popen(program, env=bench.environment(), cwd=bench.folder)
        until(lambda log=log, more=4 + 3 * number: len(_sent(log)) > more, 60)
        producer.kill()
        producer.wait(10)
        for key in _sent(log):
            width = 40 if key.endswith(("group", "chord")) else 1
            scene.results |= {f"{key}-{place}": None for place in range(width)}
    bench.start_worker()
    scene.wait()


def _sent(log):
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1] for line in lines if line.startswith("sent ")]


def redis_kill(scene):
    """~150 tasks a second; Redis is killed twice, and is down for 1 s"""
    _while_sending(scene, lambda: _twice(scene, _kill_redis))


def redis_cut(scene):
    """~150 tasks a second; all connections are cut 16 times"""

    def cut():
        for _ in range(16):
            scene.bench.server.say("CLIENT KILL TYPE normal SKIPME yes")
            scene.pause(0.2)

    _while_sending(scene, cut)


def redis_full(scene):
    """~150 tasks a second; Redis is full for 5 s"""

    def fill():
        scene.pause(0.5)
        scene.bench.server.say("CONFIG SET maxmemory 1")
        scene.pause(5)
        scene.bench.server.say("CONFIG SET maxmemory 0")
        scene.pause(0.5)

    _while_sending(scene, fill)


def dup_message(scene):
    """the message of a chain of 10 lies in the queue three times"""
    chain, _ = scene.canvas()
    server = scene.bench.server
    steps = [scene.tasks.step.s(f"c-{n}") for n in range(9)]
    scene.send_flow("c", chain(scene.tasks.work.si("c-first", 0, 0), *steps))
    for _ in range(2):
        server.say("EVAL \"redis.call('LPUSH','celery',redis.call('LINDEX','celery',0))\" 0")
    scene.bench.start_worker()
    scene.wait()
    scene.pause(2)
    last = scene.bench.trace.begun()["c-8"]
    scene.remark = f"the last step ran {last} times"


def bad_messages(scene):
    """messages that Celery can't use, as captured; after each a good task"""
    server = scene.bench.server
    messages = {**captured(), **removed(_good_message(scene))}
    worker = scene.bench.start_worker()
    deaths = stopped = 0
    for number, raw in enumerate(messages.values()):
        _push(scene, raw)
        key = f"t{number}"
        scene.send(key, scene.tasks.work.si(key))
        with contextlib.suppress(AssertionError):
            until(lambda w=worker, key=key: not w.is_running or scene.ended([key]), 6)
        if scene.ended([key]) and worker.is_running:
            continue
        deaths += not worker.is_running
        stopped += worker.is_running
        # Emptied below, with the good task in it.
        del scene.results[key]
        worker.end()
        if server is not None:
            server.say("FLUSHALL")
        worker = scene.bench.start_worker()
    kept = 0 if scene.is_celery else scene.bench.app.dead.count()
    scene.remark = f"{len(messages)} messages: {deaths} deaths of the worker, {kept} kept"
    if stopped:
        scene.remark += f", {stopped} stopped it from working"


def _good_message(scene):
    """An envelope as the system sends it."""
    scene.tasks.work.delay("template")
    if scene.bench.server is not None:
        return json.loads(_bulk(scene.bench.server.say("RPOP celery")))
    broker = scene.bench.broker()
    try:
        (raw,) = broker.peek("celery", 1)
        broker.purge("celery")
    finally:
        broker.close()
    return json.loads(raw)


def _push(scene, raw):
    if scene.bench.server is None:
        from umbel.model.message import Message

        broker = scene.bench.broker()
        broker.publish([Message("bad", "?", "celery", 0, "bad", raw)])
        broker.close()
        return
    with socket.create_connection(("127.0.0.1", scene.bench.server.port), 10) as connection:
        words = (b"LPUSH", b"celery", raw)
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        connection.sendall(b"*3\r\n" + b"".join(parts))
        connection.recv(100)


def _bulk(reply):
    return reply.partition(b"\r\n")[2].removesuffix(b"\r\n")


def _twice(scene, blow):
    for _ in range(2):
        scene.pause(1.5)
        blow(scene)
    scene.pause(1.5)


def _kill_redis(scene):
    scene.struck()
    scene.bench.server.kill()
    scene.pause(1)
    scene.bench.server.start()


def _while_sending(scene, blows):
    worker = scene.bench.start_worker()
    is_over = threading.Event()
    attempts = 0

    def send():
        nonlocal attempts
        while not is_over.wait(0.006):
            attempts += 1
            scene.send(f"t{attempts}", scene.tasks.work.si(f"t{attempts}", 0.002))

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    blows()
    is_over.set()
    sender.join(30)
    has_died = not worker.is_running
    if has_died:
        scene.bench.start_worker()
    scene.wait()
    told = 0
    for key in scene.ended(scene.results):
        with contextlib.suppress(Exception):
            told += scene.results[key].state == "FAILURE"
    refused = attempts - len(scene.results)
    scene.remark = f"{refused} refused" + (f", {told} executed told as FAILURE" if told else "")
    if has_died:
        scene.remark += ", the worker died and was started again"


EVERYWHERE = (
    kill9_worker,
    kill9_slow,
    kill9_child,
    poison,
    poison_tree,
    chord_kill,
    chain_kill,
    eta_kill,
    sigterm_grace,
    sigquit,
    zombie,
    producer_kill,
    bad_messages,
)
ON_REDIS = (redis_kill, redis_cut, redis_full, dup_message)
