"""``start_worker(app)``: a worker in the test's own process, as Celery's test suites start one.

    with start_worker(celery_app, perform_ping_check=False):
        assert add.delay(2, 2).get(timeout=10) == 4

It is ``running_worker`` under the names of ``celery.contrib.testing.worker``, with the app made
the current one while it runs. Time limits and lost processes are not here: start a real worker.
https://docs.celeryq.dev/en/stable/reference/celery.contrib.testing.worker.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from umbel.app.signals import Signal
from umbel.model.errors import ImproperlyConfigured
from umbel.model.ids import hostname
from umbel.ports import current
from umbel.testing.running import running_worker

test_worker_starting = Signal(name="test_worker_starting", providing_args={})
test_worker_started = Signal(name="test_worker_started", providing_args={"worker"})
test_worker_stopped = Signal(name="test_worker_stopped", providing_args={"worker"})

_POOLS = {"solo": "solo", "threads": "threads"}
# Parts of a Celery worker that this one does not have, so that they are always left out.
_LEFT_OUT = frozenset({"without_gossip", "without_heartbeat", "without_mingle"})


class TestWorker:
    """What ``start_worker`` gives: facts about the worker that runs."""

    __test__ = False

    def __init__(self, app: Any, node: str, pool: str, concurrency: int) -> None:
        self.app = app
        self.hostname = node
        self.pool_cls = pool
        self.concurrency = concurrency

    def ensure_started(self) -> None:
        """Wait until it consumes; it does when you have it."""

    def __repr__(self) -> str:
        return f"<TestWorker: {self.hostname}>"


@contextmanager
def start_worker(
    app: Any,
    concurrency: int = 1,
    pool: str = "solo",
    loglevel: int | str | None = None,
    logfile: str | None = None,
    perform_ping_check: bool = True,
    ping_task_timeout: float = 10.0,
    shutdown_timeout: float = 10.0,
    **kwargs: Any,
) -> Iterator[TestWorker]:
    """Run a worker for ``app`` while the block runs, in threads of this process.

    ``pool`` is ``solo`` or ``threads``. Further: ``queues``, ``exclude_queues``, ``hostname``.
    Logging is left to the test unless ``loglevel`` or ``logfile`` is given, or the app was made
    with ``enable_logging``. Times in seconds. Raises ``TimeoutError`` where the worker does not
    answer, or where a task still runs at the end.
    """
    if pool not in _POOLS:
        raise ImproperlyConfigured(
            f"pool {pool!r}: a worker inside a test's process is 'solo' or 'threads'; start"
            " `umbel worker` beside the test for others"
        )
    taken = _worker_options(kwargs)
    node = taken.pop("hostname", None) or f"test@{hostname()}"
    before = current.chosen()
    test_worker_starting.send(sender=app)
    worker = TestWorker(app, node, pool, concurrency)
    try:
        setup_app_for_worker(app, loglevel, logfile)
        with running_worker(
            app, pool=pool, threads=concurrency, node=node, stop_s=shutdown_timeout, **taken
        ):
            if perform_ping_check:
                _ping(app, ping_task_timeout)
            test_worker_started.send(sender=app, worker=worker)
            yield worker
        test_worker_stopped.send(sender=app, worker=worker)
    finally:
        current.swap(*before)


def setup_app_for_worker(app: Any, loglevel: int | str | None, logfile: str | None) -> None:
    """Make ``app`` the current one, and set logging up where somebody wants it."""
    app.finalize()
    app.set_current()
    app.set_default()
    if loglevel is not None or logfile is not None or getattr(app, "enable_logging", False):
        app.log.setup(loglevel or os.environ.get("WORKER_LOGLEVEL", "error"), logfile)


def _worker_options(given: dict[str, Any]) -> dict[str, Any]:
    taken = {}
    for name, value in given.items():
        if name in ("queues", "exclude_queues", "hostname"):
            taken[name] = value
        elif name not in _LEFT_OUT:
            raise TypeError(
                f"start_worker() takes no {name!r}; a worker inside a test's process has queues,"
                " exclude_queues and hostname"
            )
    return taken


def _ping(app: Any, timeout_s: float) -> None:
    # Not at the top: importing the module defines a shared task.
    from umbel.testing.tasks import pong

    if "celery.ping" not in app.tasks:
        app.task(pong, name="celery.ping")
    answer = app.tasks["celery.ping"].delay().get(timeout=timeout_s)
    assert answer == "pong", f"celery.ping answered {answer!r}"
