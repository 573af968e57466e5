"""A real supervisor with a real nursery and children, but a small play instead of an app.

Run as a program: ``python stage.py PLAY [SETTINGS as JSON]``. Every part tells what it does by a
JSON line on stdout; tests read them. The broker is one that only tells: what engines do with the
calls is theirs to test.
"""

import json
import logging
import os
import signal
import sys
import time

from umbel.model.errors import OperationalError
from umbel.ports.broker import Swept
from umbel.ports.engine import EngineOptions, Pair
from umbel.worker import supervisor
from umbel.worker.briefing import Briefing, LogSettings
from umbel.worker.rearing import Prepared


def tell(**facts):
    os.write(1, (json.dumps({"at": time.monotonic(), **facts}) + "\n").encode())


class TellingBroker:
    url = "telling://"
    ordered_ids = False

    def __init__(self, away_file=None, lost_file=None):
        self.away_file = away_file
        self.lost_file = lost_file
        self.next_due_s = None

    def _check(self):
        if self.away_file and os.path.exists(self.away_file):
            raise OperationalError("telling:// is away")

    def renew(self, consumers, lease_s):
        self._check()
        tell(broker="renew", consumers=list(consumers))
        return list(consumers) if self.lost_file and os.path.exists(self.lost_file) else []

    def release(self, consumer, tokens):
        self._check()
        tell(broker="release", consumer=consumer, tokens=list(tokens))
        return len(tokens)

    def recover(self, consumer, losses, policy):
        self._check()
        told = [
            [loss.token, loss.verdict.decode() if loss.verdict else None, loss.counted]
            for loss in losses
        ]
        tell(broker="recover", consumer=consumer, losses=told)
        return 0

    def sweep(self, policy):
        self._check()
        tell(broker="sweep")
        return Swept()

    def workers(self):
        self._check()
        return []

    def bind(self, exchange, kind, queue, routing_key):
        self._check()
        tell(broker="bind", queue=queue)

    def close(self):
        tell(broker="close")


# - Plays: what a child does. Each returns its exit code.

# Not a threading.Event: its lock would be taken twice by a handler that interrupts a wait.
stopping = []


def begin(slot):
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    slot.open_epoch()
    tell(child=slot.index, pid=os.getpid(), ppid=os.getppid())
    slot.mark_ready()


def until_stopped():
    while not stopping:
        time.sleep(0.01)
    return 0


def idle(options, slot):
    begin(slot)
    return until_stopped()


def long_task(options, slot):
    """Runs token 1, with three more behind it."""
    begin(slot)
    slot.offer([2, 3, 4])
    slot.begin(1, None, None)
    tell(began=1)
    return until_stopped()


def short_tasks(options, slot):
    """Runs 400 tasks of a millisecond, in batches of four."""
    begin(slot)
    ran = 0
    token = 0
    while ran < 400:
        batch = [token + 1, token + 2, token + 3, token + 4]
        token += 4
        slot.offer(batch[1:])
        slot.begin(batch[0], None, None)
        time.sleep(0.001)
        slot.end()
        slot.add_done(1)
        ran += 1
        while (following := slot.take()) is not None:
            slot.begin(following, None, None)
            time.sleep(0.001)
            slot.end()
            slot.add_done(1)
            ran += 1
    tell(ran=ran)
    return until_stopped()


def sleepy_task(options, slot):
    """Runs one task that stays until told to stop, and ends it then."""
    begin(slot)
    slot.begin(1, None, None)
    tell(began=1)
    until_stopped()
    time.sleep(0.2)
    slot.end()
    tell(ended=1)
    return 0


def stubborn(options, slot):
    """Its task never ends."""
    begin(slot)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    slot.begin(7, None, None)
    tell(began=7)
    while True:
        time.sleep(1)


def limited(options, slot):
    """The first child's task outruns both limits; later ones do nothing."""
    begin(slot)
    if slot.epoch > 1:
        return until_stopped()
    signal.signal(signal.SIGUSR1, lambda *_: tell(soft=slot.is_past_soft_limit()))
    slot.begin(5, 0.2, 0.5)
    tell(began=5)
    while True:
        time.sleep(1)


def limited_and_continued(options, slot):
    """As ``limited``, and somebody lets the child go on whenever it is stopped."""
    begin(slot)
    if slot.epoch > 1:
        return until_stopped()
    parent = os.getpid()
    if os.fork() == 0:
        deadline = time.monotonic() + 0.8
        while time.monotonic() < deadline:
            os.kill(parent, signal.SIGCONT)
        os._exit(0)
    slot.begin(5, None, 0.2)
    while True:
        time.sleep(1)


def two_threads(options, slot):
    """Lane 0 outruns its limit; lane 1 runs something innocent."""
    begin(slot)
    if slot.epoch > 1:
        return until_stopped()
    slot.begin(1, None, 0.2, lane=0)
    slot.begin(2, None, None, lane=1)
    while True:
        time.sleep(1)


def many_limited(options, slot):
    """A thousand tasks with a limit, none of which outruns it."""
    begin(slot)
    for token in range(1000):
        slot.begin(token, 1.0, 2.0)
        time.sleep(0.0005)
        slot.end()
    tell(ran=1000)
    return until_stopped()


def recycled(options, slot):
    begin(slot)
    if slot.epoch > 3:
        return until_stopped()
    slot.begin(1, None, None)
    slot.end()
    slot.add_done(1)
    return 75


def dies_at_start(options, slot):
    tell(start=slot.index)
    raise RuntimeError("no way to start")


def dying_task(options, slot):
    """The first child dies of its task."""
    begin(slot)
    if slot.epoch == 1:
        slot.offer([12, 13])
        slot.begin(11, None, None)
        os.kill(os.getpid(), signal.SIGSEGV)
    return until_stopped()


def parks(options, slot):
    begin(slot)
    due = time.time() + 0.3
    slot.note_due(due)
    tell(due=time.monotonic() + 0.3)
    return until_stopped()


def leaves_orphan(options, slot):
    begin(slot)
    if os.fork() == 0:
        if os.fork() == 0:
            tell(orphan=os.getpid())
            time.sleep(0.2)
        os._exit(0)
    os.wait()
    return until_stopped()


def broken_import(options, slot):
    raise AssertionError("never started")


def slow_import(options, slot):
    raise AssertionError("never started")


def prepare_for(play, settings):
    def prepare(is_again):
        tell(nursery=os.getpid(), is_again=is_again)
        if play is slow_import:
            time.sleep(30)
        if play is broken_import:
            os._exit(4) if settings.get("exits") else {}["an app that breaks"]
        briefing = Briefing(
            pool=settings.get("pool", "prefork"),
            children=settings.get("children", 1),
            threads=settings.get("threads", 1),
            queues=("celery",),
            fanouts=(),
            bindings=(("celery", "direct", "celery", "celery"),),
            broker_url="telling://",
            result_url=None,
            broker_options=EngineOptions(),
            result_options=EngineOptions(),
            lease_s=6.0,
            beat_s=settings.get("beat_s", 0.5),
            sweep_s=settings.get("sweep_s", 0.25),
            max_deliveries=5,
            grace_s=settings.get("grace_s", 0.0),
            is_ending_what_is_lost=settings.get("is_ending_what_is_lost", False),
            log=LogSettings(logging.INFO, None, "%(levelname)s: %(message)s", None, False),
        )
        return Prepared(briefing, play, lambda what, facts: tell(signal=what, facts=dict(facts)))

    return prepare


def main():
    play = globals()[sys.argv[1]]
    settings = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if settings.get("without_reaper"):
        supervisor.parentage.become_subreaper = lambda: False
    broker = TellingBroker(settings.get("away_file"), settings.get("lost_file"))
    worker = supervisor.Supervisor(
        "celery@stage", prepare_for(play, settings), lambda briefing: Pair(broker, None, False)
    )
    tell(supervisor=os.getpid(), worker=worker.worker)
    code = worker.run()
    tell(exit=code, wants_restart=worker.wants_restart)
    sys.exit(code)


if __name__ == "__main__":
    main()
