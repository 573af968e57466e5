"""Sentry's and OpenTelemetry's own integrations for Celery, unchanged, on real workers."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def watched(urls, tmp_path, environment_of, start_worker):
    """Run a program against a worker that is watched; gives what both have written."""
    path = tmp_path / "watched.jsonl"
    path.touch()
    env = {**urls, "WATCHED_FILE": str(path)}

    def written():
        return [json.loads(line) for line in path.read_text().splitlines()]

    def run(module, text, is_complete):
        worker = start_worker(module, "-c", "1", env=env)
        done = subprocess.run(
            [sys.executable, "-c", f"from {module} import *\n" + textwrap.dedent(text)],
            env=environment_of(env),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        limit = time.monotonic() + 20
        while not is_complete(written()) and time.monotonic() < limit:
            time.sleep(0.05)
        assert is_complete(written()), f"{written()}\n{worker.log}"
        return written(), worker.log

    return run


def test_sentry_sees_errors_and_joins_producers_and_tasks_in_one_trace(watched):
    items, log = watched(
        "sentry_tasks",
        """
        from celery import chain
        with sentry_sdk.start_transaction(name="front", op="test"):
            result = chain(add.s(1, 2), divide.s(0)).apply_async()
            again = once_more.delay(5)
            custom = called.delay(6)
            assert again.get(timeout=20) == 5 and custom.get(timeout=20) == 6
            try:
                result.get(timeout=20)
            except ZeroDivisionError:
                pass
        sentry_sdk.flush()
        """,
        lambda found: (
            len([item for item in found if item["type"] == "transaction"]) >= 6
            and any(item["type"] == "event" for item in found)
        ),
    )

    (event,) = [item for item in items if item["type"] == "event"]
    exception = event["exception"]["values"][0]
    assert exception["type"] == "ZeroDivisionError"
    assert exception["mechanism"]["type"] == "celery"
    assert event["transaction"] == "sentry_tasks.divide"
    assert event["extra"]["celery-job"]["task_name"] == "sentry_tasks.divide"
    assert event["tags"]["celery_task_id"]
    transactions = {item["transaction"]: item for item in items if item["type"] == "transaction"}
    names = {f"sentry_tasks.{name}" for name in ("add", "divide", "once_more", "called")}
    assert set(transactions) == {"front"} | names
    traces = {name: item["contexts"]["trace"]["trace_id"] for name, item in transactions.items()}
    assert traces == dict.fromkeys(traces, traces["front"])
    assert transactions["sentry_tasks.divide"]["contexts"]["trace"]["status"] == "internal_error"
    front = [span["op"] for span in transactions["front"]["spans"]]
    assert {"queue.submit.celery", "queue.publish"} <= set(front)
    for name in names:
        (process,) = [span for span in transactions[name]["spans"] if span["op"] == "queue.process"]
        assert process["data"]["messaging.message.id"]
        assert process["data"]["messaging.system"] in ("redis", "sqlite")
    assert "Internal error" not in log
    assert "Traceback" not in log.split("ZeroDivisionError")[-1]


def test_opentelemetry_joins_producers_tasks_and_their_steps_in_one_trace(watched):
    spans, log = watched(
        "otel_tasks",
        """
        from celery import chain
        instrument()
        with trace.get_tracer("test").start_as_current_span("front"):
            result = chain(add.s(1, 2), divide.s(0)).apply_async()
            again = once_more.delay(5)
            assert again.get(timeout=20) == 5
            try:
                result.get(timeout=20)
            except ZeroDivisionError:
                pass
        """,
        lambda found: (
            len([span for span in found if span["name"].startswith("run/")]) >= 4
            and any(span["name"] == "front" for span in found)
        ),
    )

    assert len({span["trace"] for span in spans}) == 1
    named = {span["name"]: span for span in spans}
    run_add, run_divide = named["run/otel_tasks.add"], named["run/otel_tasks.divide"]
    sent_add, sent_divide = (
        named["apply_async/otel_tasks.add"],
        named["apply_async/otel_tasks.divide"],
    )
    assert sent_add["parent"] == named["front"]["id"]
    assert run_add["parent"] == sent_add["id"]
    # A step of a workflow was sent by the task before it.
    assert sent_divide["parent"] == run_add["id"]
    assert run_divide["parent"] == sent_divide["id"]
    assert run_divide["status"] == "ERROR"
    assert "exception" in run_divide["events"]
    assert run_add["attributes"]["celery.action"] == "run"
    assert run_add["attributes"]["celery.state"] == "SUCCESS"
    assert sent_add["kind"] == "PRODUCER"
    assert run_add["kind"] == "CONSUMER"
    runs = [span for span in spans if span["name"] == "run/otel_tasks.once_more"]
    assert [bool(span["attributes"].get("celery.retry.reason")) for span in runs] == [True, False]
    assert "Failed to detach context" not in log
    assert "no existing span" not in log
