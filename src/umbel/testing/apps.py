"""Apps for tests: memory of their own, no logging, and a trap for who relies on the current app.

Names and behaviour are those of ``celery.contrib.testing.app``. One thing is better here: each app
has its own memory, so that a test that leaves messages behind does not disturb the next one.
https://docs.celeryq.dev/en/stable/reference/celery.contrib.testing.app.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from umbel.app import shared
from umbel.app.logs import Logs
from umbel.front import Celery
from umbel.model.ids import new_id
from umbel.ports import current

DEFAULT_TEST_CONFIG: dict[str, Any] = {
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
    "accept_content": {"json"},
    "enable_utc": True,
    "timezone": "UTC",
}


class Trap:
    """Stands for the current app where a test must not use one."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__") or name in ("_is_coroutine", "_is_coroutine_marker"):
            raise AttributeError(name)  # asked by mock, inspect and pickle of everything
        raise RuntimeError("Test depends on current_app")


class UnitLogging(Logs):
    """The logs of an app for tests, which leave logging to the test's own set-up."""


class TestApp(Celery):
    """An app for tests; ``config`` wins over ``DEFAULT_TEST_CONFIG``."""

    __test__ = False  # it is no test, whatever pytest thinks of its name

    def __init__(
        self,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        enable_logging: bool = False,
        set_as_current: bool = False,
        log: Any = UnitLogging,
        backend: str | None = None,
        broker: str | None = None,
        **kwargs: Any,
    ) -> None:
        own_memory = f"memory://{new_id()}"
        super().__init__(
            name or "celery.tests",
            set_as_current=set_as_current,
            broker=broker,
            backend=backend,
            **kwargs,
        )
        self.enable_logging = enable_logging
        self.add_defaults(
            {
                "broker_url": own_memory,
                "result_backend": own_memory,
                **DEFAULT_TEST_CONFIG,
            }
        )
        if config:
            self.conf.update(config)


@contextmanager
def set_trap(app: Any) -> Iterator[None]:
    """While the block runs, whoever asks for the current app falls into a trap."""
    trap = Trap()
    before = current.swap(trap, trap)
    try:
        yield
    finally:
        current.swap(*before)


@contextmanager
def setup_default_app(app: Any, use_trap: bool = False) -> Iterator[None]:
    """Put everything back at the end: the current app, the default app, shared tasks."""
    before = current.chosen()
    try:
        with shared.forgotten_after():
            if use_trap:
                with set_trap(app):
                    yield
            else:
                yield
    finally:
        current.swap(*before)
        if app is not before[0]:
            app.close()
