"""Every documented signal that concerns a worker, sent by a real one, with Celery's arguments."""

import importlib
import json
import os
import signal as numbers
import sys
import time

import celery.signals
import pytest

from umbel import Celery, states
from umbel.model.message import Message

pytestmark = pytest.mark.slow  # real workers

LIMIT_S = 30.0

# In which process each is sent.
PRODUCER, NURSERY, CHILD = "producer", "nursery", "child"
SENT = {
    "before_task_publish": PRODUCER,
    "after_task_publish": PRODUCER,
    "user_preload_options": NURSERY,
    "import_modules": NURSERY,
    "celeryd_init": NURSERY,
    "celeryd_after_setup": NURSERY,
    "after_setup_logger": NURSERY,
    "after_setup_task_logger": NURSERY,
    "worker_init": NURSERY,
    "worker_before_create_process": NURSERY,
    "worker_ready": NURSERY,
    "heartbeat_sent": NURSERY,
    "worker_shutting_down": NURSERY,
    "worker_shutdown": NURSERY,
    "worker_process_init": CHILD,
    "worker_process_shutdown": CHILD,
    "task_received": CHILD,
    "task_prerun": CHILD,
    "task_postrun": CHILD,
    "task_success": CHILD,
    "task_failure": CHILD,
    "task_retry": CHILD,
    "task_revoked": CHILD,
    "task_rejected": CHILD,
    "task_unknown": CHILD,
    "task_internal_error": CHILD,
}
# Sent where somebody receives it instead of setting up the log, by producers of beat, and by pools
# that umbel does not have.
ELSEWHERE = {
    "setup_logging",
    "beat_init",
    "beat_embedded_init",
    "eventlet_pool_started",
    "eventlet_pool_preshutdown",
    "eventlet_pool_postshutdown",
    "eventlet_pool_apply",
    "task_sent",
}


def until(condition, timeout_s=LIMIT_S):
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture(params=["prefork", "threads"])
def pool(request):
    return request.param


@pytest.fixture
def told(urls, start_worker, tmp_path, monkeypatch, pool):
    """Start a worker, let everything happen to it that is told, and stop it; gives the lines."""
    path = tmp_path / "told"
    path.touch()
    urls["UMBEL_TEST_TOLD"] = str(path)
    for name, value in urls.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(os.path.join(os.path.dirname(__file__), "programs"))
    sys.modules.pop("telling_tasks", None)

    def lines():
        return [json.loads(line) for line in path.read_text().splitlines()]

    def count(name):
        return sum(line["signal"] == name for line in lines())

    worker = start_worker(
        "telling_tasks", "-c", "1", "-P", pool, "--heartbeat-interval", "0.2", env=urls
    )
    program = importlib.import_module("telling_tasks")
    try:
        with program.app as app:
            program.succeeds.apply_async(task_id="succeeds").get(timeout=LIMIT_S)
            program.fails.apply_async(task_id="fails").get(timeout=LIMIT_S, propagate=False)
            program.retries.apply_async(task_id="retries").get(timeout=LIMIT_S)
            program.leaves.apply_async(task_id="leaves").get(timeout=LIMIT_S, propagate=False)
            app.send_task("nobody.knows", task_id="unknown").get(timeout=LIMIT_S, propagate=False)
            late = program.succeeds.apply_async(task_id="late", expires=-1)
            until(lambda: late.state == states.REVOKED)
            garbage = Message(id="garbage", task="", queue="celery", priority=0, tag="t", raw=b"{!")
            pair = app.open_pair()
            pair.broker.publish([garbage])
            pair.broker.close()
            pair.store.close()
            until(lambda: count("task_rejected") and count("heartbeat_sent"))
        worker.stop(numbers.SIGTERM)
        sys.modules.pop("telling_tasks", None)
        yield lines()
    finally:
        program.fall_silent()


def test_each_is_sent_in_its_process_with_the_arguments_that_celery_documents(told):
    processes = {name: {line["pid"] for line in told if line["signal"] == name} for name in SENT}

    unsent = [name for name, pids in processes.items() if not pids]
    lacking = {
        line["signal"]: missing
        for line in told
        if line["signal"] in SENT
        and (
            missing := getattr(celery.signals, line["signal"]).providing_args - {*line["arguments"]}
        )
    }
    child = processes["worker_process_init"]
    nursery = processes["worker_ready"]

    assert unsent == []
    assert lacking == {}
    assert nursery.isdisjoint(child)
    for name, process in SENT.items():
        expected = {PRODUCER: {os.getpid()}, NURSERY: nursery, CHILD: child}[process]
        if name == "before_task_publish" or name == "after_task_publish":
            expected = expected | child  # a retry is published by the child
        if name in ("import_modules", "after_setup_logger", "after_setup_task_logger"):
            assert processes[name] & expected, name
        else:
            assert processes[name] <= expected, name


def test_what_they_say_is_what_happened(told):
    def of(name):
        return [line for line in told if line["signal"] == name]

    [shutting_down] = of("worker_shutting_down")
    [unknown] = of("task_unknown")
    [revoked] = of("task_revoked")
    [internal] = of("task_internal_error")

    assert [shutting_down[key] for key in ("sig", "how", "exitcode")] == ["SIGTERM", "Warm", 0]
    assert (unknown["name"], unknown["id"]) == ("nobody.knows", "unknown")
    assert revoked["request"][0] == "late"
    assert (revoked["terminated"], revoked["expired"]) == (False, True)
    assert internal["task_id"] == "leaves"
    assert ["succeeds", "telling_tasks.succeeds"] in [
        line["request"] for line in of("task_received")
    ]
    assert [line["exitcode"] for line in of("worker_process_shutdown")] == [0]
    order = [line["signal"] for line in told]
    firsts = [
        "user_preload_options",
        "celeryd_init",
        "worker_init",
        "celeryd_after_setup",
        "worker_process_init",
        "worker_ready",
        "worker_shutting_down",
        "worker_shutdown",
    ]
    places = [order.index(name) for name in firsts]
    assert places == sorted(places)


def test_no_signal_of_celery_is_missing_from_this_table():
    documented = {
        name for name in celery.signals.__all__ if hasattr(getattr(celery.signals, name), "send")
    }

    assert documented - SENT.keys() - ELSEWHERE == set()


def test_a_child_that_is_used_up_says_so(urls, start_worker, tmp_path, monkeypatch):
    path = tmp_path / "told"
    urls["UMBEL_TEST_TOLD"] = str(path)
    url = urls["CELERY_BROKER_URL"]
    start_worker("telling_tasks", "-c", "1", "--max-tasks-per-child", "1", env=urls)

    with Celery("telling_tasks", broker=url, backend=url) as app:
        app.send_task("telling_tasks.succeeds").get(timeout=LIMIT_S)
    ended = []

    def has_ended():
        ended[:] = [json.loads(line) for line in path.read_text().splitlines()]
        ended[:] = [line for line in ended if line["signal"] == "worker_process_shutdown"]
        return bool(ended)

    until(has_ended)
    assert ended[0]["exitcode"] == 75
