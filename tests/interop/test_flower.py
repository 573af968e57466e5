"""Flower, unmodified, beside a worker of each house: what it shows, and what its buttons do.

It runs as its users run it, on Celery's own code; the tests press its buttons through its HTTP
interface.
https://flower.readthedocs.io/en/latest/api.html
"""

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import pytest
from fleet import Fleet, until

pytestmark = [pytest.mark.redis, pytest.mark.slow]

OURS, THEIRS = "ours@host.example", "theirs@host.example"
NODES = pytest.mark.parametrize("queue", ["ours", "theirs"])


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Flower:
    """The program, and its HTTP interface."""

    def __init__(self, fleet):
        self.port = free_port()
        self.log_path = fleet.folder / "flower.log"
        command = [sys.executable, "-m", "celery", "-A", "wire_tasks", "flower"]
        command += [f"--port={self.port}", "--address=127.0.0.1"]
        env = {**fleet.environment("celery"), "FLOWER_UNAUTHENTICATED_API": "true"}
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=fleet.folder, env=env
            )
        until(self.is_up, say=self.log_path.read_text)

    def is_up(self):
        assert self.process.poll() is None, self.log_path.read_text()
        try:
            return self.get("/api/workers?refresh=true").keys() >= {OURS, THEIRS}
        except (urllib.error.URLError, ConnectionError):
            return False

    def request(self, path, data=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.read().decode()

    def get(self, path):
        return json.loads(self.request(path))

    def post(self, path, body=None, **fields):
        data = json.dumps(body) if body is not None else urllib.parse.urlencode(fields)
        return json.loads(self.request(path, data.encode()))

    def task(self, task_id):
        """What it knows of a task; None where it has not heard of it."""
        try:
            return self.get(f"/api/task/info/{task_id}")
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            return None

    def until_in(self, task_id, state):
        """What it knows of a task once it knows it in this state."""
        return until(
            lambda: (found := self.task(task_id)) and found["state"] == state and found,
            say=lambda: f"{task_id} is {self.task(task_id)}, not {state}",
        )

    def close(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def fleet(_producers, redis_server, tmp_path_factory):
    redis_server.say("FLUSHALL")
    fleet = Fleet(redis_server.url, tmp_path_factory.mktemp("flower"))
    fleet.start("umbel", "-c", "2", "-E", "-Q", "ours", name="ours")
    fleet.start("celery", "-c", "2", "-E", "-Q", "theirs", name="theirs")
    for worker in fleet.workers:
        worker.wait_until_ready()
    yield fleet
    fleet.close()


@pytest.fixture(scope="module")
def flower(fleet):
    flower = Flower(fleet)
    yield flower
    flower.close()


def send(flower, queue, name, *args):
    """By Flower's own hand."""
    body = {"args": list(args), "queue": queue}
    return flower.post(f"/api/task/async-apply/wire_tasks.{name}", body)["task-id"]


def test_both_workers_are_shown_with_the_same_facts(flower):
    workers = flower.get("/api/workers?refresh=true")
    statuses = flower.get("/api/workers?status=true")

    ours, theirs = workers[OURS], workers[THEIRS]
    assert statuses == {OURS: True, THEIRS: True}
    assert ours.keys() == theirs.keys()
    assert ours["stats"].keys() == theirs["stats"].keys()
    assert ours["stats"]["pool"].keys() == theirs["stats"]["pool"].keys()
    assert [each["name"] for each in ours["active_queues"]] == ["ours"]
    assert set(ours["registered"]) == set(theirs["registered"])


@NODES
def test_a_task_is_shown_with_arguments_result_and_times(flower, queue):
    task_id = send(flower, queue, "add", 2, 3)

    shown = flower.until_in(task_id, "SUCCESS")

    assert shown["name"] == "wire_tasks.add"
    assert (shown["args"], shown["kwargs"], shown["result"]) == ("[2, 3]", "{}", "5")
    assert shown["worker"] == f"{queue}@host.example"
    assert shown["received"] <= shown["started"] <= shown["succeeded"]
    assert shown["runtime"] >= 0
    result = flower.get(f"/api/task/result/{task_id}")
    assert (result["state"], result["result"]) == ("SUCCESS", 5)
    assert task_id in flower.get("/api/tasks?taskname=wire_tasks.add")


@NODES
def test_a_failure_is_shown_with_its_traceback(flower, queue):
    task_id = send(flower, queue, "fail")

    shown = flower.until_in(task_id, "FAILURE")

    assert "boom" in shown["exception"]
    assert "Traceback" in shown["traceback"]


@NODES
def test_a_running_task_is_seen_to_run_and_is_terminated(flower, queue):
    task_id = send(flower, queue, "sleep_for", 300)
    flower.until_in(task_id, "STARTED")

    said = flower.post(f"/api/task/revoke/{task_id}?terminate=True&signal=SIGKILL", {})

    assert said == {"message": f"Revoked '{task_id}'"}
    flower.until_in(task_id, "REVOKED")
    # The pool goes on.
    flower.until_in(send(flower, queue, "add", 1, 1), "SUCCESS")


@NODES
def test_a_task_that_waits_is_revoked(flower, queue):
    body = {"args": [1, 1], "queue": queue, "countdown": 2}
    task_id = flower.post("/api/task/async-apply/wire_tasks.add", body)["task-id"]

    flower.post(f"/api/task/revoke/{task_id}", {})

    flower.until_in(task_id, "REVOKED")


@NODES
def test_limits_are_changed_for_one_worker(flower, queue):
    node = f"{queue}@host.example"

    rate = flower.post("/api/task/rate-limit/wire_tasks.mul", workername=node, ratelimit="200/m")
    times = flower.post("/api/task/timeout/wire_tasks.mul", workername=node, soft=30, hard=100)

    assert rate == {"message": "new rate limit set successfully"}
    assert times == {"message": "time limits set successfully"}
    registered = flower.get(f"/api/workers?refresh=true&workername={node}")[node]["registered"]
    assert "wire_tasks.mul [rate_limit=200/m]" in registered


@NODES
def test_the_pool_grows_and_shrinks(flower, queue):
    node = f"{queue}@host.example"

    def processes():
        workers = flower.get(f"/api/workers?refresh=true&workername={node}")
        return len(workers[node]["stats"]["pool"]["processes"])

    grown = flower.post(f"/api/worker/pool/grow/{node}?n=2", {})
    until(lambda: processes() == 4)
    until(lambda: "Shrinking" in flower.post(f"/api/worker/pool/shrink/{node}?n=2", {})["message"])
    until(lambda: processes() == 2)

    assert grown == {"message": f"Growing '{node}' worker's pool by 2"}


@NODES
def test_queues_are_added_and_cancelled(flower, queue):
    node = f"{queue}@host.example"

    added = flower.post(f"/api/worker/queue/add-consumer/{node}?queue=extra-{queue}", {})
    flower.until_in(send(flower, f"extra-{queue}", "add", 1, 1), "SUCCESS")
    cancelled = flower.post(f"/api/worker/queue/cancel-consumer/{node}?queue=extra-{queue}", {})

    assert added == {"message": f"add consumer extra-{queue}"}
    assert cancelled == {"message": f"no longer consuming from extra-{queue}"}


def test_its_pages_are_drawn(flower):
    task_id = send(flower, "ours", "add", 20, 3)
    flower.until_in(task_id, "SUCCESS")

    assert OURS in flower.request("/workers")
    assert "Max concurrency" in flower.request(f"/worker/{OURS}")
    assert "wire_tasks.add" in flower.request(f"/task/{task_id}")


@pytest.mark.parametrize("house", ["umbel", "celery"])
def test_a_worker_is_shut_down(fleet, flower, house):
    worker = fleet.start(house, "-c", "1", "-Q", f"leaving-{house}", name=f"leaving-{house}")
    worker.wait_until_ready()
    node = f"leaving-{house}@host.example"
    until(lambda: node in flower.get("/api/workers?refresh=true"))

    said = flower.post(f"/api/worker/shutdown/{node}", {})

    assert said == {"message": "Shutting down!"}
    assert worker.process.wait(20) == 0
    until(lambda: flower.get("/api/workers?status=true")[node] is False)
