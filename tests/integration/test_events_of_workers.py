"""What monitors hear of a real worker's processes, on SQLite and Redis."""

import importlib
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def tasks(urls, monkeypatch):
    """The program of the tasks, imported here as a producer."""
    for name, value in urls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SENT_EVENTS", "1")
    monkeypatch.syspath_prepend(str(PROGRAMS))
    sys.modules.pop("eventful_tasks", None)
    module = importlib.import_module("eventful_tasks")
    yield module
    module.app.close()
    sys.modules.pop("eventful_tasks", None)


@pytest.fixture
def watch(tasks):
    """A monitor that listens in a thread, and its picture."""
    watched = Watched(tasks.app)
    yield watched
    watched.close()


class Watched:
    def __init__(self, app):
        self.app = app
        self.state = app.events.State()
        self.events = []
        self.changed = threading.Condition()
        self.receiver = app.events.Receiver(app.connection(), handlers={"*": self.note})
        self.receiver.listen()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        self.receiver.capture(limit=None, timeout=None, wakeup=True)
        self.app.close()

    def note(self, event):
        with self.changed:
            self.state.event(event)
            self.events.append(event)
            self.changed.notify_all()

    def wait_for(self, predicate):
        with self.changed:
            assert self.changed.wait_for(lambda: predicate(self), 20), self.events

    def of(self, uuid):
        """The events of a task; those of its sender first, which race with the worker's."""
        found = [event for event in self.events if event.get("uuid") == uuid]
        return sorted(found, key=lambda event: event["type"] != "task-sent")

    def kinds(self, uuid):
        return [event["type"] for event in self.of(uuid)]

    def wait_for_kinds(self, uuid, *kinds):
        self.wait_for(lambda self: self.kinds(uuid) == list(kinds))

    def close(self):
        self.receiver.should_stop = True
        self.thread.join(20)


def test_a_worker_tells_that_it_is_there_lives_and_goes(start_worker, urls, watch):
    worker = start_worker("eventful_tasks", "-n", "w1@host.example", env=urls)
    watch.wait_for(lambda watch: [one.alive for one in watch.state.workers.values()] == [True])
    watch.wait_for(lambda watch: any(e["type"] == "worker-heartbeat" for e in watch.events))
    worker.stop()
    watch.wait_for(lambda watch: any(e["type"] == "worker-offline" for e in watch.events))

    first = watch.events[0]
    assert first["type"] == "worker-online"
    assert first["hostname"] == "w1@host.example"
    assert first["pid"] == worker.process.pid
    assert (first["freq"], first["active"], first["processed"]) == (2.0, 0, 0)
    assert len(first["loadavg"]) == 3
    assert first["sw_ident"] == "umbel"
    assert first["sw_sys"]
    clocks = [event["clock"] for event in watch.events]
    assert clocks == sorted(set(clocks))
    assert not list(watch.state.alive_workers())
    assert "task events: OFF (enable -E" in worker.log


def test_without_heartbeat_a_worker_says_nothing_of_itself(start_worker, urls, tasks, watch):
    start_worker("eventful_tasks", "-E", "--without-heartbeat", env=urls)

    sent = tasks.add.delay(2, 3)

    watch.wait_for_kinds(sent.id, "task-sent", "task-received", "task-started", "task-succeeded")
    assert not [event for event in watch.events if event["type"].startswith("worker-")]


def test_without_task_events_nothing_is_told_of_tasks(start_worker, urls, tasks, watch):
    start_worker("eventful_tasks", "--heartbeat-interval", "0.2", env=urls)

    assert tasks.add.delay(2, 3).get(timeout=20) == 5

    watch.wait_for(lambda watch: watch.events[-1].get("processed"))
    told = {event["type"] for event in watch.events}
    assert told == {"task-sent", "worker-online", "worker-heartbeat"}
    assert watch.events[-1]["freq"] == 0.2


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_the_whole_life_of_tasks_is_told(start_worker, urls, tasks, watch, pool):
    worker = start_worker("eventful_tasks", "-E", "-P", pool, "-c", "2", "-n", "w@h", env=urls)
    assert "task events: ON" in worker.log

    added = tasks.add.apply_async((2, 3), shadow="shadow.name")
    failed = tasks.fail.delay()
    retried = tasks.flaky.delay()
    rejected = tasks.reject.delay()
    ignored = tasks.ignore.delay()
    expired = tasks.add.apply_async((1, 1), expires=-1)
    unknown = tasks.app.send_task("nowhere.task")
    quiet = tasks.quiet.delay()
    progress = tasks.progress.delay()

    begun = ["task-sent", "task-received", "task-started"]
    watch.wait_for_kinds(added.id, *begun, "task-succeeded")
    watch.wait_for_kinds(failed.id, *begun, "task-failed")
    again = ["task-retried", "task-received", "task-started", "task-succeeded"]
    watch.wait_for(lambda watch: watch.kinds(retried.id)[-1:] == ["task-succeeded"])
    # The retry is sent, and told of, once more.
    assert watch.kinds(retried.id) == ["task-sent", *begun, *again]
    watch.wait_for_kinds(rejected.id, *begun, "task-failed", "task-rejected")
    watch.wait_for_kinds(ignored.id, *begun)
    watch.wait_for_kinds(expired.id, "task-sent", "task-revoked")
    watch.wait_for_kinds(unknown.id, "task-sent", "task-failed")
    watch.wait_for_kinds(progress.id, *begun, "task-progress", "task-succeeded")
    assert quiet.get(timeout=20)
    assert watch.kinds(quiet.id) == ["task-sent"]

    sent, received, started, succeeded = watch.of(added.id)
    assert sent["hostname"].startswith("gen")
    assert {e["hostname"] for e in (received, started, succeeded)} == {"w@h"}
    assert {e["pid"] for e in (received, started, succeeded)} == {worker.process.pid}
    assert (received["name"], received["args"], received["kwargs"]) == (
        "shadow.name",
        "(2, 3)",
        "{}",
    )
    assert (succeeded["result"], type(succeeded["runtime"])) == ("5", float)
    failure = watch.of(failed.id)[-1]
    assert failure["exception"] == "ValueError('boom', 42)"
    assert failure["traceback"].startswith("Traceback")
    assert watch.of(expired.id)[-1]["expired"] is True
    assert "traceback" not in watch.of(unknown.id)[-1]
    assert watch.of(retried.id)[-1]["result"] == "1"
    picture = watch.state.tasks
    assert (picture[added.id].state, picture[failed.id].state) == ("SUCCESS", "FAILURE")
    assert picture[retried.id].state == "SUCCESS"


def test_a_long_task_is_seen_to_run(start_worker, urls, tasks, watch):
    start_worker("eventful_tasks", "-E", "-c", "1", env=urls)
    for _ in range(3):
        tasks.add.delay(1, 1)

    long = tasks.sleep.delay(3)

    watch.wait_for_kinds(long.id, "task-sent", "task-received", "task-started")
    assert watch.state.tasks[long.id].state == "STARTED"
    assert not long.ready()


def test_a_task_that_waits_for_its_time_is_received(start_worker, urls, tasks, watch):
    start_worker("eventful_tasks", "-E", env=urls)

    sent = tasks.add.apply_async((1, 2), countdown=1.5)

    watch.wait_for(lambda watch: watch.kinds(sent.id)[-1:] == ["task-succeeded"])
    assert watch.kinds(sent.id)[-3:] == ["task-received", "task-started", "task-succeeded"]
    assert watch.state.tasks[sent.id].eta


def test_many_short_tasks_are_all_told_of(start_worker, urls, tasks, watch):
    start_worker("eventful_tasks", "-E", "-c", "2", env=urls)

    results = [tasks.add.delay(number, 1) for number in range(300)]

    ids = {result.id for result in results}
    watch.wait_for(
        lambda watch: ids <= {e["uuid"] for e in watch.events if e["type"] == "task-succeeded"}
    )
    assert all(watch.kinds(id_)[-3:-1] == ["task-received", "task-started"] for id_ in ids)


def test_the_steps_of_a_workflow_are_told_of_when_they_are_sent(start_worker, urls, tasks, watch):
    start_worker("eventful_tasks", env={**urls, "SENT_EVENTS": "1"})

    last = (tasks.add.s(1, 2) | tasks.add.s(10)).apply_async()

    assert last.get(timeout=20) == 13
    watch.wait_for_kinds(last.id, "task-sent")
    (sent,) = watch.of(last.id)
    assert (sent["parent_id"], sent["name"], sent["args"]) == (last.parent.id, "t.add", "(3, 10)")


def test_a_death_is_told_of(start_worker, urls, tasks, watch):
    start_worker("eventful_tasks", "-E", "-c", "1", env=urls)
    tasks.app.conf.task_max_deliveries = 1

    limited = tasks.sleep.apply_async((30,), time_limit=0.5)

    watch.wait_for_kinds(limited.id, "task-sent", "task-received", "task-started", "task-failed")
    assert "TimeLimitExceeded" in watch.of(limited.id)[-1]["exception"]


def test_events_of_tasks_are_switched_while_a_worker_runs(start_worker, urls, tasks, watch):
    start_worker("eventful_tasks", "-c", "1", env=urls)
    control = tasks.app.control

    control.enable_events(reply=True)
    told = tasks.add.delay(1, 1)
    watch.wait_for_kinds(told.id, "task-sent", "task-received", "task-started", "task-succeeded")
    control.disable_events(reply=True)
    untold = tasks.add.delay(2, 2)
    assert untold.get(timeout=20) == 4
    control.enable_events(reply=True)
    again = tasks.add.delay(3, 3)

    watch.wait_for_kinds(again.id, "task-sent", "task-received", "task-started", "task-succeeded")
    assert watch.kinds(untold.id) == ["task-sent"]


def test_a_monitor_that_starts_later_knows_the_workers_at_once(start_worker, urls, tasks):
    start_worker("eventful_tasks", "--heartbeat-interval", "60", env=urls)

    watch = Watched(tasks.app)

    watch.wait_for(lambda watch: list(watch.state.alive_workers()))
    watch.close()


def test_the_signal_of_a_heartbeat_reaches_the_app(start_worker, urls, tmp_path):
    (tmp_path / "beaten.py").write_text(
        "from eventful_tasks import app\n"
        "from umbel.signals import heartbeat_sent\n"
        "@heartbeat_sent.connect\n"
        "def note(**_):\n"
        "    open('beaten.txt', 'a').write('.')\n"
    )
    start_worker("beaten:app", "--heartbeat-interval", "0.1", env=urls)

    limit = time.monotonic() + 20
    beaten = tmp_path / "beaten.txt"
    while not beaten.exists() or len(beaten.read_text()) < 2:
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.redis
def test_a_broker_that_goes_away_disturbs_no_work(start_redis, start_worker, monkeypatch):
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    urls = {"CELERY_BROKER_URL": server.url, "CELERY_RESULT_BACKEND": server.url}
    for name, value in urls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(PROGRAMS))
    sys.modules.pop("eventful_tasks", None)
    tasks = importlib.import_module("eventful_tasks")
    worker = start_worker("eventful_tasks", "-E", "-c", "2", env=urls)
    assert tasks.add.delay(1, 1).get(timeout=20) == 2
    before = tasks.sleep.delay(1.5)
    time.sleep(0.3)

    server.kill()
    server.start()

    assert before.get(timeout=30) is None
    watch = Watched(tasks.app)
    after = tasks.add.delay(2, 2)
    assert after.get(timeout=30) == 4
    watch.wait_for(lambda watch: watch.kinds(after.id)[-1:] == ["task-succeeded"])
    watch.wait_for(lambda watch: any(e["type"].startswith("worker-") for e in watch.events))
    watch.close()
    tasks.app.close()
    assert worker.log.count("Events of tasks are lost") <= 2
