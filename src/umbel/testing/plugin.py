"""pytest fixtures: an app and a worker for tests, under the names that Celery's users know.

Load it with ``pytest_plugins = ("umbel.testing.plugin",)`` in ``conftest.py``, or, where umbel
answers to the name celery, with ``"celery.contrib.pytest"``. It loads little until it is used.
https://docs.celeryq.dev/en/stable/userguide/testing.html#fixtures
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest


def pytest_configure(config: Any) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers", "celery(**overrides): override the app's settings for a test case"
    )


@pytest.fixture(scope="session")
def use_celery_app_trap() -> bool:
    """Override to let every use of the current app fail a test."""
    return False


@pytest.fixture(scope="session")
def celery_config() -> Mapping[str, Any]:
    """Override with the settings of the test apps."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> Mapping[str, Any]:
    """Override with further arguments of the apps' constructor."""
    return {}


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """Override to let workers set logging up."""
    return False


@pytest.fixture(scope="session")
def celery_includes() -> Sequence[str]:
    """Override with modules that are imported before a worker starts."""
    return ()


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """Override with the pool of workers: ``solo`` or ``threads``."""
    return "solo"


@pytest.fixture(scope="session")
def celery_worker_parameters() -> Mapping[str, Any]:
    """Override with further arguments of ``start_worker``."""
    return {}


@pytest.fixture(scope="session")
def celery_class_tasks() -> Sequence[Any]:
    """Override with task classes that the session's app is to know."""
    return []


@pytest.fixture(scope="session")
def celery_session_app(
    request: pytest.FixtureRequest,
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Any]:
    """An app for the whole session, which is the current one."""
    with _app(
        request, celery_config, celery_parameters, celery_enable_logging, use_celery_app_trap
    ) as app:
        if not use_celery_app_trap:
            app.set_default()
            app.set_current()
        yield app


@pytest.fixture(scope="session")
def celery_session_worker(
    celery_session_app: Any,
    celery_includes: Sequence[str],
    celery_class_tasks: Sequence[Any],
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
) -> Iterator[Any]:
    """A worker for the whole session."""
    with _worker(
        celery_session_app,
        celery_includes,
        celery_worker_pool,
        celery_worker_parameters,
        celery_class_tasks,
    ) as worker:
        yield worker


@pytest.fixture
def celery_app(
    request: pytest.FixtureRequest,
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    celery_enable_logging: bool,
    use_celery_app_trap: bool,
) -> Iterator[Any]:
    """An app for one test; ``@pytest.mark.celery(...)`` gives it settings of its own."""
    with _app(
        request, celery_config, celery_parameters, celery_enable_logging, use_celery_app_trap
    ) as app:
        yield app


@pytest.fixture
def celery_worker(
    celery_app: Any,
    celery_includes: Sequence[str],
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
) -> Iterator[Any]:
    """A worker for one test, on ``celery_app``."""
    with _worker(
        celery_app, celery_includes, celery_worker_pool, celery_worker_parameters
    ) as worker:
        yield worker


@pytest.fixture
def depends_on_current_app(celery_app: Any) -> None:
    """Make ``celery_app`` the current app of the test."""
    celery_app.set_current()


@contextmanager
def _app(
    request: pytest.FixtureRequest,
    config: Mapping[str, Any],
    parameters: Mapping[str, Any],
    enable_logging: bool,
    use_trap: bool,
) -> Iterator[Any]:
    # Not at the top: pytest loads this module in runs that use none of it.
    from umbel.testing.apps import TestApp, setup_default_app

    mark = request.node.get_closest_marker("celery")
    settings = {**config, **(mark.kwargs if mark else {})}
    app = TestApp(config=settings, enable_logging=enable_logging, **parameters)
    with setup_default_app(app, use_trap=use_trap):
        yield app


@contextmanager
def _worker(
    app: Any,
    includes: Sequence[str],
    pool: str,
    parameters: Mapping[str, Any],
    class_tasks: Sequence[Any] = (),
) -> Iterator[Any]:
    if os.environ.get("NO_WORKER"):
        yield None
        return
    from umbel.testing.worker import start_worker

    for module in includes:
        app.loader.import_task_module(module)
    for task in class_tasks:
        app.register_task(task)
    with start_worker(app, pool=pool, **parameters) as worker:
        yield worker
