"""Soft time limits in the threads pool: the late task hears of it, its neighbours do not."""

import time

import pytest

from umbel import Celery
from umbel.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded

pytestmark = pytest.mark.slow  # real workers

LIMIT_S = 30.0


@pytest.fixture
def hold(urls, start_worker):
    start_worker("holding_tasks", "-P", "threads", "-c", "3", env=urls)
    url = urls["CELERY_BROKER_URL"]
    with Celery("holding_tasks", broker=url, backend=url) as app:
        yield app.signature("holding_tasks.hold")


def until(condition, timeout_s=LIMIT_S):
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.02)


def test_it_is_raised_in_the_thread_of_the_late_one_alone(hold, tmp_path):
    folder = str(tmp_path)
    patient = hold.apply_async((folder, "patient", "go"), soft_time_limit=60)
    late = hold.apply_async((folder, "late", "never"), soft_time_limit=0.3)
    unlimited = hold.apply_async((folder, "unlimited", "go"))

    raised = late.get(timeout=LIMIT_S, propagate=False)
    (tmp_path / "go").touch()

    assert isinstance(raised, SoftTimeLimitExceeded)
    assert not (tmp_path / "late.ended").exists()
    assert patient.get(timeout=LIMIT_S) == unlimited.get(timeout=LIMIT_S)
    # The thread is free for others.
    again = [hold.delay(folder, f"again{n}", "go") for n in range(9)]
    assert len({result.get(timeout=LIMIT_S) for result in again}) == 1


def test_the_hard_limit_still_ends_what_does_not_hear(hold, tmp_path):
    folder = str(tmp_path)
    deaf = hold.apply_async((folder, "deaf", "never"), time_limit=0.5)
    beside = hold.apply_async((folder, "beside", "go"))
    until(lambda: (tmp_path / "beside.began").exists())

    raised = deaf.get(timeout=LIMIT_S, propagate=False)
    (tmp_path / "go").touch()

    assert isinstance(raised, TimeLimitExceeded)
    assert beside.get(timeout=LIMIT_S)
