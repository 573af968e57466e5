"""A broadcast runs on every worker that listens, and what was heard survives a child."""

import importlib
import signal
import sys
import time
from pathlib import Path

import pytest

from umbel import Broadcast, Celery, Queue, chord
from umbel.testing.running import running_worker

LIMIT_S = 15
PROGRAMS = Path(__file__).parent / "programs"


def until(condition, say=lambda: ""):
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit, say()
        time.sleep(0.01)


def lines(path):
    return sorted(path.read_text().splitlines()) if path.exists() else []


@pytest.fixture
def tasks(urls, monkeypatch):
    for name, value in urls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(PROGRAMS))
    sys.modules.pop("broadcast_tasks", None)
    module = importlib.import_module("broadcast_tasks")
    yield module
    module.app.close()
    sys.modules.pop("broadcast_tasks", None)


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "notes"


def start(start_worker, urls, name, **more):
    return start_worker("broadcast_tasks", "-c", "2", "-n", f"{name}@h", env=urls, **more)


@pytest.mark.slow
def test_every_worker_runs_a_broadcast_once(urls, tasks, start_worker, notes):
    workers = [start(start_worker, urls, name) for name in ("a", "b")]

    tasks.note.delay(str(notes), "one")
    tasks.note.apply_async((str(notes), "later"), countdown=1)
    until(lambda: len(lines(notes)) == 4, lambda: f"{lines(notes)}{workers[0].log}")

    assert lines(notes) == ["a@h later", "a@h one", "b@h later", "b@h one"]
    assert tasks.plain.delay().get(timeout=LIMIT_S) == "done"
    assert ".> bcast" in workers[0].log
    assert "umbel.broadcast" not in workers[0].log


@pytest.mark.slow
def test_a_broadcast_whose_child_dies_runs_again_there(urls, tasks, start_worker, notes):
    for name in ("a", "b"):
        start(start_worker, urls, name)

    tasks.die_once.delay(str(notes), "survived")

    until(lambda: len(lines(notes)) == 2)
    assert lines(notes) == ["a@h survived", "b@h survived"]


@pytest.mark.slow
def test_what_a_killed_worker_heard_is_run_by_the_next_of_its_name(
    urls, tasks, start_worker, notes, tmp_path
):
    worker = start(start_worker, urls, "a")
    broker = tasks.app.open_pair().broker
    for _ in range(2):
        tasks.wait_for.delay(str(tmp_path / "go"))
    until(lambda: broker.depth("umbel.broadcast.a@h").leased == 2, lambda: worker.log)
    tasks.note.delay(str(notes), "heard")
    until(lambda: broker.depth("umbel.broadcast.a@h").ready == 1, lambda: worker.log)

    worker.kill()
    (tmp_path / "go").touch()
    start(start_worker, urls, "a")

    until(lambda: lines(notes) == ["a@h heard"])
    until(lambda: sum(broker.depth("umbel.broadcast.a@h")) == 0)


@pytest.mark.slow
def test_a_worker_that_stops_hears_no_more(urls, tasks, start_worker, notes):
    worker = start(start_worker, urls, "a")

    assert worker.stop(signal.SIGTERM) == 0
    tasks.note.delay(str(notes), "late")

    assert tasks.app.open_pair().broker.depth("umbel.broadcast.a@h").ready == 0


@pytest.mark.slow
@pytest.mark.redis
def test_a_worker_listens_again_when_its_broker_is_back(start_redis, start_worker, notes):
    server = start_redis("--appendonly", "yes", "--appendfsync", "always")
    urls = {"CELERY_BROKER_URL": server.url, "CELERY_RESULT_BACKEND": server.url}
    worker = start(start_worker, urls, "a")
    app = Celery("other", broker=server.url, set_as_current=False)
    app.conf.task_queues = [Broadcast("everybody")]

    server.kill()
    worker.wait_for("lost")
    server.start()
    worker.wait_for("Listening to the broadcasts of 'everybody' again")
    app.send_task("note", (str(notes), "back"), queue="everybody")

    until(lambda: lines(notes) == ["a@h back"], lambda: worker.log)
    app.close()


@pytest.mark.parametrize(
    "engine", ["memory", "sqlite", pytest.param("redis", marks=pytest.mark.redis)]
)
def test_workers_inside_a_program_each_run_a_broadcast(engine, request, tmp_path):
    url = {"memory": f"memory://{request.node.name}", "sqlite": f"sqlite:///{tmp_path}/u.db"}.get(
        engine
    )
    url = url or request.getfixturevalue("redis_url")
    app = Celery("inside", broker=url, backend=url, set_as_current=False)
    app.conf.task_queues = [Queue("celery"), Broadcast("everybody")]
    ran = []

    @app.task(name="note")
    def note(text):
        ran.append(text)

    with running_worker(app), running_worker(app, pool="threads", threads=2):
        note.apply_async(("x",), queue="everybody")
        until(lambda: len(ran) == 2)

    with running_worker(app):
        note.apply_async(("y",), queue="celery")
        until(lambda: "y" in ran)
    assert ran == ["x", "x", "y"]
    app.close()


def test_each_worker_retries_its_copy_by_itself(tmp_path):
    url = f"sqlite:///{tmp_path}/u.db"
    app = Celery("inside", broker=url, backend=url, set_as_current=False)
    app.conf.task_queues = [Queue("celery"), Broadcast("everybody")]
    app.conf.task_create_missing_queues = False
    ran, seen = [], []

    @app.task(name="stubborn", bind=True, max_retries=2, queue="everybody")
    def stubborn(self):
        ran.append(self.request.retries)
        seen.append(self.request.delivery_info["exchange"])
        raise self.retry(countdown=0)

    with running_worker(app), running_worker(app):
        result = stubborn.delay()
        until(lambda: len(ran) == 6)
        until(lambda: result.state == "FAILURE")
        stubborn.app.tasks["celery.accumulate"].delay().get(timeout=LIMIT_S)

    assert sorted(ran) == [0, 0, 1, 1, 2, 2]
    assert seen[0] == "everybody"
    app.close()


def test_a_chord_may_have_a_broadcast_as_member(tmp_path):
    url = f"sqlite:///{tmp_path}/u.db"
    app = Celery("inside", broker=url, backend=url, set_as_current=False)
    app.conf.task_queues = [Queue("celery"), Broadcast("everybody")]

    @app.task(name="member")
    def member(x):
        return x

    @app.task(name="body")
    def body(values):
        return sorted(values)

    with running_worker(app), running_worker(app):
        header = [member.s(1).set(queue="everybody"), member.s(2)]
        assert chord(header, body.s()).apply_async().get(timeout=LIMIT_S) == [1, 2]
    app.close()
