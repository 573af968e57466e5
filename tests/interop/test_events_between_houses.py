"""Events in a mixed fleet: monitors of either house, workers of either house.

What Celery's worker tells of a task is the measure: an umbel worker tells the same of the same
task, event by event and field by field, and both monitors hear all of it.
"""

import threading
import time

import pytest
from fleet import Fleet, until

pytestmark = [pytest.mark.redis, pytest.mark.slow]

OURS, THEIRS = "ours@host.example", "theirs@host.example"
# Differ from run to run.
VARYING = frozenset({"uuid", "root_id", "parent_id", "clock", "pid", "timestamp", "runtime"})
VARYING |= {"traceback", "eta", "expires", "local_received", "hostname"}


@pytest.fixture(scope="module")
def both(_producers, redis_server, tmp_path_factory):
    """A worker of each house, with gossip and mingle, each with a queue of its own."""
    redis_server.say("FLUSHALL")
    fleet = Fleet(redis_server.url, tmp_path_factory.mktemp("events"))
    conf = {"task_send_sent_event": True}
    for house, name in (("umbel", "ours"), ("celery", "theirs")):
        fleet.start(house, "-E", "-c", "2", "-Q", name, name=name, conf=conf)
    for worker in fleet.workers:
        worker.wait_until_ready()
    yield fleet
    fleet.close()


class Monitor:
    """A receiver and a state of one house, in a thread."""

    def __init__(self, app):
        self.app = app
        self.state = app.events.State()
        self.events = []
        self.should_stop = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        until(lambda: any(event["type"] == "worker-heartbeat" for event in list(self.events)))

    def run(self):
        with self.app.connection() as connection:
            self.receiver = self.app.events.Receiver(connection, handlers={"*": self.note})
            self.receiver.capture(limit=None, timeout=None, wakeup=False)
        self.app.close()

    def note(self, event):
        self.events.append(dict(event))  # Celery's state writes into what it is given
        self.state.event(event)

    def of(self, uuid):
        return [event for event in list(self.events) if event.get("uuid") == uuid]

    def from_worker(self, uuid):
        return [event for event in self.of(uuid) if event["type"] != "task-sent"]

    def close(self):
        self.receiver.should_stop = True
        self.thread.join(10)


@pytest.fixture(scope="module")
def monitors(both):
    """Celery's monitor and ours, on the same fleet."""
    found = {house: Monitor(both.producer(house).app) for house in ("celery", "umbel")}
    yield found
    for monitor in found.values():
        monitor.close()


CALLS = {
    "success": lambda tasks, to: tasks.add.apply_async((2, 3), **to),
    "shadow": lambda tasks, to: tasks.add.apply_async((2, 3), shadow="shadow.name", **to),
    "failure": lambda tasks, to: tasks.fail.apply_async(**to),
    "retry": lambda tasks, to: tasks.flaky.apply_async((1,), **to),
    "eta": lambda tasks, to: tasks.add.apply_async((1, 1), countdown=0.5, **to),
    "expired": lambda tasks, to: tasks.add.apply_async((2, 3), expires=-1, **to),
    "rejected": lambda tasks, to: tasks.raise_reject.apply_async(**to),
    "requeued": lambda tasks, to: tasks.raise_requeue.apply_async(**to),
    "ignored": lambda tasks, to: tasks.raise_ignore.apply_async(**to),
    "unregistered": lambda tasks, to: tasks.app.send_task("nowhere.task", (1,), **to),
    "time limit": lambda tasks, to: tasks.sleep_for.apply_async((9,), time_limit=1, **to),
}
LAST = {"ignored": "task-started", "expired": "task-revoked", "failure": "task-failed"}
LAST |= {"rejected": "task-rejected", "unregistered": "task-failed", "time limit": "task-failed"}


def told(events):
    """What events say, without what differs from run to run; sorted, for their order may."""
    return sorted(
        (event["type"], sorted(event), sorted((k, v) for k, v in event.items() if k not in VARYING))
        for event in events
    )


@pytest.mark.parametrize("sender", ["celery", "umbel"])
@pytest.mark.parametrize("case", list(CALLS))
def test_either_worker_tells_the_same_of_the_same_task(both, monitors, case, sender):
    tasks = both.producer(sender)
    last = LAST.get(case, "task-succeeded")
    ids = {name: CALLS[case](tasks, {"queue": name}).id for name in ("ours", "theirs")}

    for monitor in monitors.values():
        for uuid in ids.values():
            until(lambda m=monitor, u=uuid: last in [e["type"] for e in m.of(u)])

    time.sleep(0.3 if case in ("requeued", "time limit") else 0.05)
    for monitor in monitors.values():
        ours, theirs = (monitor.from_worker(ids[name]) for name in ("ours", "theirs"))
        assert {event["hostname"] for event in ours} == {OURS}
        assert told(as_comparable(case, ours)) == told(as_comparable(case, theirs))
        tasks_seen = [monitor.state.tasks[ids[name]] for name in ("ours", "theirs")]
        if case == "retry":
            # Celery's worker may tell of the retry when the next attempt has ended already.
            assert tasks_seen[0].state == "SUCCESS"
        else:
            assert tasks_seen[0].state == tasks_seen[1].state
        assert tasks_seen[0].info(["args", "kwargs", "result"]) == tasks_seen[1].info(
            ["args", "kwargs", "result"]
        )


def as_comparable(case, events):
    """Celery tells of a task with an eta when it arrives; umbel again when it runs. A process that
    is killed is told of twice by Celery, with an exception that it could not write."""
    kinds = {}
    for event in events:
        shown = dict(event)
        if case == "time limit" and event["type"] == "task-failed":
            shown["exception"] = "killed"
        kinds.setdefault(event["type"], []).append(shown)
    if case in ("eta", "time limit"):
        return [events[0] for events in kinds.values()]
    return [event for events in kinds.values() for event in events]


def test_both_monitors_hear_the_same_of_both_workers(both, monitors):
    tasks = both.producer("umbel")
    ids = [
        tasks.add.apply_async((n, n), queue=name).id
        for n in range(20)
        for name in ("ours", "theirs")
    ]

    for uuid in ids:
        for monitor in monitors.values():
            until(lambda m=monitor, u=uuid: len(m.from_worker(u)) == 3)

    ours, theirs = (monitors[house] for house in ("umbel", "celery"))
    local = ("local_received",)
    for uuid in ids:
        assert [without(event, local) for event in ours.from_worker(uuid)] == [
            without(event, local) for event in theirs.from_worker(uuid)
        ]


def without(event, names):
    return {name: value for name, value in event.items() if name not in names}


def test_both_monitors_know_both_workers(both, monitors):
    for monitor in monitors.values():
        until(lambda m=monitor: {w.hostname for w in m.state.alive_workers()} == {OURS, THEIRS})
        ours, theirs = (monitor.state.workers[name] for name in (OURS, THEIRS))
        assert ours.pid == both.workers[0].process.pid
        assert (ours.sw_ident, theirs.sw_ident) == ("umbel", "py-celery")
        assert (ours.freq, ours.sw_sys) == (theirs.freq, theirs.sw_sys)
        assert type(ours.processed) is type(theirs.processed) is int
        assert len(ours.loadavg) == len(theirs.loadavg)
    heartbeats = {
        name: next(e for e in reversed(monitor.events) if _is_beat_of(e, name))
        for monitor in monitors.values()
        for name in (OURS, THEIRS)
    }
    assert list(heartbeats[OURS]) == list(heartbeats[THEIRS])


def _is_beat_of(event, name):
    return event["type"] == "worker-heartbeat" and event["hostname"] == name


def test_logical_clocks_follow_each_other(both, monitors):
    """Celery's worker gossips, so it has heard of ours; what it says later has a higher number."""
    tasks = both.producer("celery")
    monitor = monitors["celery"]
    for n in range(30):
        tasks.add.apply_async((n, 1), queue="ours")
    last = tasks.add.apply_async((1, 1), queue="ours")
    until(lambda: len(monitor.from_worker(last.id)) == 3)
    clock = monitor.from_worker(last.id)[-1]["clock"]

    until(lambda: any(_is_beat_of(e, OURS) and e["clock"] > clock for e in list(monitor.events)))


def test_events_of_ones_own_cross_over(both, monitors):
    for sender in ("celery", "umbel"):
        app = both.producer(sender).app
        with app.events.default_dispatcher() as dispatcher:
            dispatcher.send("my-event", sender=sender)

    for monitor in monitors.values():
        until(
            lambda m=monitor: (
                {e.get("sender") for e in list(m.events) if e["type"] == "my-event"}
                == {"celery", "umbel"}
            )
        )


def test_events_of_our_worker_are_switched_by_either_client(both, monitors):
    """Celery's worker can't be switched off once it was started with -E."""
    for house in ("celery", "umbel"):
        tasks = both.producer(house)
        control = tasks.app.control
        control.disable_events(destination=[OURS], reply=True)
        quiet = tasks.add.apply_async((1, 1), queue="ours")
        assert quiet.get(timeout=20) == 2
        control.enable_events(destination=[OURS], reply=True)
        loud = tasks.add.apply_async((1, 1), queue="ours")

        for monitor in monitors.values():
            until(lambda m=monitor, u=loud.id: len(m.from_worker(u)) == 3)
            assert monitor.from_worker(quiet.id) == []
