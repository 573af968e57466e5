"""``umbel drain``: after it a worker of Celery finds everything that umbel's had put aside."""

import json
import os
import subprocess
import sys
import time

import pytest
from fleet import Fleet, until

from umbel.engines.redis import open_broker
from umbel.model.lease import Loss
from umbel.model.message import Message
from umbel.model.settlement import Fate, Settlement
from umbel.ports.broker import SweepPolicy
from umbel.ports.engine import EngineOptions
from umbel.worker import verdicts

pytestmark = [
    pytest.mark.redis,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning"),
]

POLICY = SweepPolicy(6, 1, 5, verdicts.poison(5), verdicts.begun())


@pytest.fixture
def fleet(_producers, redis_url, tmp_path):
    fleet = Fleet(redis_url, tmp_path)
    yield fleet
    fleet.close()


@pytest.fixture
def broker(redis_url):
    broker = open_broker(redis_url, EngineOptions(), None)
    yield broker
    broker.close()


@pytest.fixture
def tasks(fleet):
    return fleet.producer("umbel")


def drain(fleet, *arguments):
    """The command, as an operator runs it."""
    env = fleet.environment("umbel")
    command = [sys.executable, "-m", "umbel", "-A", "wire_tasks", "drain", *arguments]
    return subprocess.run(
        command, cwd=fleet.folder, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def drained(fleet, *arguments):
    done = drain(fleet, "--json", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def celery_runs(fleet):
    worker = fleet.start("celery", "-c", "2", "--without-gossip", "--without-mingle")
    worker.wait_until_ready()
    return worker


def put_aside(broker, number, *, workers=0, own=0):
    """Lose so many messages with that many whole workers, and their own process."""
    for loss in range(workers):
        broker.enlist(f"gone{loss}.0.1", 0.01)
        assert len(broker.cycle(f"gone{loss}.0.1", (), ["celery"], number)[1]) in (1, number)
        until(lambda: broker.sweep(POLICY).consumers)
    for _ in range(own):
        broker.enlist("w.0.1", 60)
        leases = broker.cycle("w.0.1", (), ["celery"], number)[1]
        broker.recover("w.0.1", [Loss(lease.token) for lease in leases], POLICY)


def test_what_waits_for_its_time_is_run_by_celery(fleet, tasks):
    worker = fleet.start("umbel", "-c", "1")
    worker.wait_until_ready()
    results = [tasks.add.apply_async((n, n), countdown=n * 2 + 4) for n in range(3)]
    far = tasks.add.apply_async((7, 7), countdown=3600)
    retried = tasks.add.apply_async((8, 8), countdown=4, priority=6)
    until(lambda: fleet.client.zcard("umbel:due:celery") == 5)
    started = time.monotonic()
    worker.ask_to_stop()
    worker.wait_for_end()

    report = drained(fleet)
    later = tasks.add.apply_async((9, 9), countdown=1)
    celery_runs(fleet)

    assert [row["due"] for row in report["queues"]] == [5]
    assert not fleet.client.keys("umbel:due*")
    assert not fleet.client.keys("umbel:parked*")
    for n, result in enumerate(results):
        assert result.get(timeout=30) == 2 * n
        assert time.monotonic() - started > n * 2 + 3
    assert retried.get(timeout=30) == 16
    assert later.get(timeout=30) == 18
    assert far.state == "PENDING"
    assert fleet.client.hlen("unacked") == 1


def test_what_was_lost_with_processes_is_run_by_celery(fleet, tasks, broker):
    results = [tasks.add.delay(n, n) for n in range(4)]
    put_aside(broker, 4, own=1)
    more = [tasks.add.delay(n, n) for n in range(4, 6)]

    report = drained(fleet)
    assert [(row["queue"], row["lost"]) for row in report["queues"]] == [("celery", 4)]
    served = [json.loads(raw)["headers"]["id"] for raw in fleet.client.lrange("celery", 0, -1)]
    celery_runs(fleet)

    assert served[::-1] == [result.id for result in results + more]
    assert [result.get(timeout=30) for result in results + more] == [0, 2, 4, 6, 8, 10]


def test_suspects_are_put_behind_all_others(fleet, tasks, broker):
    suspect = tasks.add.delay(1, 1)
    put_aside(broker, 1, workers=2)
    other = tasks.add.delay(2, 2)

    report = drained(fleet)
    served = [json.loads(raw)["headers"]["id"] for raw in fleet.client.lrange("celery", 0, -1)]

    assert [row["lost"] for row in report["queues"]] == [1]
    assert served[::-1] == [other.id, suspect.id]


def test_a_killed_worker_is_waited_for(fleet, tasks):
    worker = fleet.start("umbel", "-c", "1")
    worker.wait_until_ready()
    result = tasks.sleep.delay(1) if hasattr(tasks, "sleep") else tasks.add.delay(1, 1)
    waiting = [tasks.add.delay(n, n) for n in range(3)]
    worker.process.kill()
    worker.process.wait(10)

    drained(fleet)
    celery_runs(fleet)

    assert [one.get(timeout=30) for one in waiting] == [0, 2, 4]
    result.get(timeout=30)
    assert not fleet.client.keys("umbel:i:*")


def test_a_running_worker_is_named_and_nothing_happens(fleet, tasks):
    worker = fleet.start("umbel", "-c", "1", name="busy")
    worker.wait_until_ready()
    tasks.add.apply_async((1, 1), countdown=3600)
    until(lambda: fleet.client.zcard("umbel:due:celery") == 1)

    refused = drain(fleet)
    still = fleet.client.zcard("umbel:due:celery")
    forced = drain(fleet, "--force")

    assert refused.returncode == 1
    assert "busy@host.example" in refused.stderr
    assert "--force" in refused.stderr
    assert still == 1
    assert forced.returncode == 0
    assert "celery: 1 with an eta" in forced.stdout


def test_dead_letters_go_where_they_do_no_harm(fleet, tasks, broker):
    good = tasks.app.publisher.compose(_call("wire_tasks.add", (1, 2), "good"))
    bad = [b"\xff", b'{"body": "not base64"}', good.raw.replace(b'"content-type"', b'"other"')]
    broker.publish([good, *(Message("", "?", "celery", 0, f"t{n}", b) for n, b in enumerate(bad))])
    broker.enlist("w.0.1", 60)
    leases = broker.cycle("w.0.1", (), ["celery"], 10)[1]
    broker.cycle("w.0.1", [Settlement(one.token, Fate.DEAD, cause="test") for one in leases], [], 0)
    broker.retire("w.0.1")

    without = drain(fleet)
    report = drained(fleet, "--dead")
    worker = celery_runs(fleet)

    assert "4 dead letters left; --dead" in without.stdout
    assert report["dead"] == 1
    assert len(report["dead_left"]) == report["dead_kept"] == 3
    assert tasks.app.AsyncResult("good").get(timeout=30) == 3
    assert worker.process.poll() is None


def test_what_only_umbel_can_finish_is_left_and_named(fleet, tasks, broker):
    tasks.add.delay(1, 1)
    broker.enlist("w.0.1", 60)
    (lease,) = broker.cycle("w.0.1", (), ["celery"], 1)[1]
    broker.recover("w.0.1", [Loss(lease.token, verdict=verdicts.poison(5))], POLICY)

    left = drain(fleet)
    worker = fleet.start("umbel", "-c", "1")
    worker.wait_until_ready()
    until(lambda: not fleet.client.exists("umbel:verdicts:celery"))
    worker.ask_to_stop()
    worker.wait_for_end()

    assert left.returncode == 1
    assert "1 decided task whose result is not stored yet" in left.stderr
    assert drained(fleet)["queues"] == []


def test_nobody_is_handed_over_to_on_sqlite(tmp_path):
    env = {**os.environ, "CELERY_BROKER_URL": f"sqlite:///{tmp_path}/u.db"}
    (tmp_path / "shop.py").write_text("from umbel import Celery\napp = Celery('shop')\n")

    done = subprocess.run(
        [sys.executable, "-m", "umbel", "-A", "shop", "drain"],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert "nothing but umbel reads sqlite:///" in done.stderr


def _call(name, args, task_id):
    from umbel.model.call import Call

    return Call(task=name, args=args, kwargs={}, id=task_id)
