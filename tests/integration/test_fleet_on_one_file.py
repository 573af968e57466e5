"""Several workers on one SQLite file: seen, steered and watched as a fleet, without any server."""

import json
import subprocess
import sys
import threading
import time

import pytest

from umbel.exceptions import TaskRevokedError

pytestmark = pytest.mark.slow  # real workers

PATIENCE_S = 20.0
NODES = ("one@here", "two@here", "three@here")


@pytest.fixture
def urls(tmp_path):
    url = f"sqlite:///{tmp_path}/umbel.db"
    return {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}


@pytest.fixture
def workers(urls, start_worker):
    """Three on one file."""
    started = {
        node: start_worker("commanded_tasks", "-E", "-c", "1", "-n", node, env=urls, is_ready=False)
        for node in NODES
    }
    for worker in started.values():
        worker.wait_for("ready.")
    return started


@pytest.fixture
def umbel(urls, environment_of, tmp_path):
    """Run a command of the command line; gives what it printed, read as JSON."""

    def run(*words):
        command = [sys.executable, "-m", "umbel", "-A", "commanded_tasks", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment_of(urls), capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return run


def until(condition):
    limit = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.02)
    return found


def ask(commanded, *nodes):
    return commanded.app.control.inspect(list(nodes or NODES), timeout=PATIENCE_S)


def test_status_and_questions_are_answered_by_each(workers, umbel, commanded):
    late = commanded.add.apply_async((1, 2), countdown=3600)
    until(lambda: all(ask(commanded).scheduled().values()))

    online = umbel("status", "--json")
    stats = umbel("inspect", "stats", "--json")
    scheduled = umbel("inspect", "scheduled", "--json")
    alone = umbel("inspect", "ping", "--json", "-d", "two@here")

    assert online == {node: {"ok": "pong"} for node in NODES}
    assert {node: told["pid"] for node, told in stats.items()} == {
        node: worker.process.pid for node, worker in workers.items()
    }
    assert [scheduled[node][0]["request"]["id"] for node in NODES] == [late.id] * 3
    assert alone == {"two@here": {"ok": "pong"}}


def test_a_task_that_runs_is_ended_where_it_runs_and_nowhere_else(workers, commanded):
    running = [commanded.nap.delay(300) for _ in NODES]
    until(lambda: all(ask(commanded).active().values()))
    hosts = {task["id"]: node for node, tasks in ask(commanded).active().items() for task in tasks}
    doomed, *others = running
    others_nodes = [hosts[result.id] for result in others]
    before = ask(commanded, *others_nodes).stats()

    commanded.app.control.revoke(doomed.id, terminate=True)

    with pytest.raises(TaskRevokedError):
        doomed.get(timeout=PATIENCE_S)
    after = ask(commanded, *others_nodes).stats()
    assert [after[node]["pool"]["processes"] for node in others_nodes] == [
        before[node]["pool"]["processes"] for node in others_nodes
    ]
    assert [result.state for result in others] == ["PENDING", "PENDING"]
    # That it was revoked is known to each, also to those that did not run it.
    until(lambda: all(doomed.id in revoked for revoked in ask(commanded).revoked().values()))
    assert commanded.add.delay(1, 2).get(timeout=PATIENCE_S) == 3
    for result in others:
        result.revoke(terminate=True)


def test_one_worker_is_steered_and_the_others_are_not(workers, umbel, commanded):
    control, one = commanded.app.control, ["one@here"]

    control.add_consumer("extra", destination=one, reply=True, timeout=PATIENCE_S)
    control.pool_grow(1, destination=one, reply=True, timeout=PATIENCE_S)
    queues = umbel("inspect", "active_queues", "--json")
    sizes = until(
        lambda: (
            (now := ask(commanded, *NODES[:2]).stats())["one@here"]["pool"]["max-concurrency"] == 2
            and now
        )
    )
    control.shutdown(destination=one)
    ended = workers["one@here"].process.wait(PATIENCE_S)

    named = {node: sorted(each["name"] for each in queues[node]) for node in NODES}
    assert named == {"one@here": ["celery", "extra"], "two@here": ["celery"], NODES[2]: ["celery"]}
    assert sizes["two@here"]["pool"]["max-concurrency"] == 1
    assert ended == 0
    assert set(umbel("status", "--json")) == set(NODES[1:])
    assert commanded.add.delay(1, 2).get(timeout=PATIENCE_S) == 3


def test_events_of_all_are_seen_and_their_clock_never_goes_back(workers, commanded):
    seen, is_over = [], threading.Event()
    state = commanded.app.events.State()

    def note(event):
        state.event(event)
        seen.append(event)

    def watch():
        with commanded.app.connection() as connection:
            receiver = commanded.app.events.Receiver(connection, handlers={"*": note})
            while not is_over.is_set():
                try:
                    receiver.capture(limit=None, timeout=0.2, wakeup=False)
                except OSError:  # nothing for so long
                    continue

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        until(lambda: {event["hostname"] for event in seen} >= set(NODES))
        results = [commanded.nap.delay(0.05) for _ in range(30)]
        ids = {result.id for result in results}
        until(lambda: {e["uuid"] for e in seen if e["type"] == "task-succeeded"} >= ids)
    finally:
        is_over.set()
        watching.join(10)

    runners = {event["hostname"] for event in seen if event["type"] == "task-started"}
    assert runners == set(NODES)
    for node in NODES:
        assert state.workers[node].alive
    assert {state.tasks[each].state for each in ids} == {"SUCCESS"}
    for task_id in ids:
        clocks = [event["clock"] for event in seen if event.get("uuid") == task_id]
        assert clocks == sorted(clocks)


def test_what_a_killed_worker_held_is_run_by_the_others(workers, umbel, commanded):
    results = [commanded.nap.delay(0.3, number) for number in range(12)]
    until(lambda: ask(commanded, "one@here").active()["one@here"])

    workers["one@here"].kill()

    assert [result.get(timeout=PATIENCE_S) for result in results] == list(range(12))
    assert set(umbel("status", "--json")) == set(NODES[1:])
