"""A worker that grows and shrinks: children come when work waits, and go when they are idle."""

import time

import pytest

from umbel import Celery

pytestmark = pytest.mark.slow  # real workers

LIMIT_S = 30.0


def until(condition, timeout_s=LIMIT_S):
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.02)


def children_of(supervisor):
    """How many processes a supervisor has beside its nursery."""
    with open(f"/proc/{supervisor}/task/{supervisor}/children") as file:
        return len(file.read().split()) - 1


@pytest.mark.parametrize("least", [0, 1])
def test_children_come_with_work_and_go_without_ending_any(urls, start_worker, tmp_path, least):
    url = urls["CELERY_BROKER_URL"]
    worker = start_worker(
        "holding_tasks", f"--autoscale=3,{least}", env={**urls, "AUTOSCALE_KEEPALIVE": "1"}
    )
    with Celery("holding_tasks", broker=url, backend=url) as app:
        hold = app.signature("holding_tasks.hold")
        at_first = children_of(worker.process.pid)

        short = [hold.delay(str(tmp_path), f"short{n}", "first") for n in range(2)]
        long = hold.delay(str(tmp_path), "long", "last")
        until(lambda: len(list(tmp_path.glob("*.began"))) == 3)
        at_most = children_of(worker.process.pid)
        (tmp_path / "first").touch()
        for result in short:
            result.get(timeout=LIMIT_S)
        until(lambda: children_of(worker.process.pid) == 1)
        is_running = not (tmp_path / "long.ended").exists()
        (tmp_path / "last").touch()
        long.get(timeout=LIMIT_S)
        until(lambda: children_of(worker.process.pid) == least)

    assert at_first == least
    assert at_most == 3
    assert is_running
    assert f"concurrency: {{min={least}, max=3}} (prefork)" in worker.log
    assert "Scaling up" in worker.log
    assert "exited with" not in worker.log
