"""Settings that only real processes show, many to a worker."""

from __future__ import annotations

import importlib
import sys
from textwrap import dedent

import pytest

from umbel import Celery
from umbel.exceptions import TimeoutError  # noqa: A004 - Celery's

pytestmark = pytest.mark.slow  # real workers

PROGRAM = """
    import os, threading, time
    from umbel import Celery
    from umbel.exceptions import SoftTimeLimitExceeded
    from umbel.log import get_task_logger

    app = Celery("tuned")
    app.conf.update({settings!r})
    logger = get_task_logger(__name__)

    @app.task
    def pid():
        return os.getpid()

    @app.task
    def lingers():
        print("lingering")
        logger.info("about to linger")
        try:
            time.sleep(60)
        except SoftTimeLimitExceeded:
            return "soft"

    @app.task
    def hangs():
        while True:
            try:
                time.sleep(60)
            except SoftTimeLimitExceeded:
                pass

    meeting = threading.Barrier(3)

    @app.task
    def meet():
        meeting.wait(20)
        return threading.current_thread().name
"""


@pytest.fixture
def tuned(tmp_path, monkeypatch, start_worker):
    """A worker under settings, and the program as its producer."""
    url = f"sqlite:///{tmp_path}/umbel.db"
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = []

    def start(**settings):
        settings = {"broker_url": url, "result_backend": url, **settings}
        name = f"tuned_{tmp_path.name}_{len(modules)}"
        (tmp_path / f"{name}.py").write_text(dedent(PROGRAM).format(settings=settings))
        modules.append(importlib.import_module(name))
        return modules[-1], start_worker(name)

    yield start
    for module in modules:
        module.app.close()
        sys.modules.pop(module.__name__)


def test_limits_names_and_forms_of_one_worker(tuned):
    program, worker = tuned(
        control_exchange="seen",
        task_soft_time_limit=0.3,
        task_time_limit=1.0,
        worker_concurrency=1,
        worker_max_tasks_per_child=2,
        worker_redirect_stdouts_level="ERROR",
        worker_task_log_format="<%(message)s>",
    )
    other = Celery("other", broker=program.app.conf.broker_url, set_as_current=False)

    pids = [program.pid.delay().get(timeout=20) for _ in range(4)]
    assert program.lingers.delay().get(timeout=20) == "soft"
    error = program.hangs.delay().get(timeout=20, propagate=False)

    assert pids[0] == pids[1] != pids[2] == pids[3]
    assert type(error).__name__ == "TimeLimitExceeded"
    assert ".> concurrency: 1 (prefork)" in worker.log
    assert "<about to linger>" in worker.log
    assert "ERROR/ForkPoolWorker-1] lingering" in worker.log
    assert len(program.app.control.ping(timeout=1)) == 1
    assert other.control.ping(timeout=0.5) == []
    other.close()


def test_a_child_that_has_grown_is_replaced(tuned):
    program, _ = tuned(worker_concurrency=1, worker_max_memory_per_child=1)

    pids = [program.pid.delay().get(timeout=20) for _ in range(3)]

    assert len(set(pids)) == 3


def test_the_pool_is_a_setting(tuned):
    program, worker = tuned(worker_pool="threads", worker_concurrency=3)

    names = {result.get(timeout=30) for result in [program.meet.delay() for _ in range(3)]}

    assert len(names) == 3
    assert ".> concurrency: 3 (threads)" in worker.log


def test_a_rate_limit_for_all_tasks(tuned):
    program, worker = tuned(worker_concurrency=2, task_default_rate_limit="30/m")

    first, second = program.pid.delay(), program.pid.delay()
    first.get(timeout=20)
    with pytest.raises(TimeoutError):
        second.get(timeout=0.5)

    assert second.get(timeout=20)
    assert worker.log.count("succeeded") == 2
