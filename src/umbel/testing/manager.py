"""``Manager``: waiting for results and conditions in integration tests; times in seconds.

The part of ``celery.contrib.testing.manager`` that needs results only. For workers there is
``app.control``.
https://docs.celeryq.dev/en/stable/reference/celery.contrib.testing.manager.html
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from umbel.model.clock import monotonic_s
from umbel.model.errors import TimeoutError

Errors = type[BaseException] | tuple[type[BaseException], ...]
_JOIN_S = 10.0


class Sentinel(Exception):  # noqa: N818 - Celery's name
    """What ``true_or_raise`` raises, for ``retry_over_time`` to call again."""


class Manager:
    """Waits on behalf of a test."""

    def __init__(
        self,
        app: Any,
        *,
        no_join: bool = False,
        block_timeout: float = 1800.0,
        stdout: IO[str] | None = None,
    ) -> None:
        self.app = app
        self.no_join = no_join
        self.block_timeout = block_timeout
        self.stdout = stdout or sys.stdout

    def remark(self, text: str, sep: str = "") -> None:
        """Tell whoever watches the tests."""
        self.stdout.write(f"{sep}{text}\n")

    def missing_results(self, r: Sequence[Any]) -> list[str]:
        """The ids of results that are not there yet."""
        return [result.id for result in r if not result.ready()]

    def true_or_raise(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What ``fun`` gives; raises ``Sentinel`` where that is false."""
        if found := fun(*args, **kwargs):
            return found
        raise Sentinel()

    def wait_for(
        self,
        fun: Callable[..., Any],
        catch: Errors,
        desc: str = "thing",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        errback: Callable[[BaseException, float, int], Any] | None = None,
        max_retries: int = 10,
        interval_start: float = 0.1,
        interval_step: float = 0.5,
        interval_max: float = 5.0,
        emit_warning: bool = False,
    ) -> Any:
        """What ``fun`` gives once it no longer raises ``catch``; raises that in the end."""
        pause_s, retries = interval_start, 0
        while True:
            try:
                return fun(*args, **(kwargs or {}))
            except catch as error:
                retries += 1
                if max_retries and retries > max_retries:
                    raise
                if emit_warning:
                    self.remark(f"waiting for {desc}: {error!r}", "! ")
                if errback is not None:
                    errback(error, pause_s, retries)
            threading.Event().wait(pause_s)
            pause_s = min(pause_s + interval_step, interval_max)

    retry_over_time = wait_for

    def ensure_not_for_a_while(
        self, fun: Callable[..., Any], catch: Errors, desc: str = "thing", **options: Any
    ) -> None:
        """Raise ``AssertionError`` where ``fun`` stops raising ``catch``, by default within 6 s."""
        waits = {"max_retries": 20, "interval_step": 0.02, "interval_max": 1.0, **options}
        try:
            self.wait_for(fun, catch, desc, **waits)
        except catch:
            return
        raise AssertionError(f"should not have happened: {desc}")

    def join(self, r: Any, propagate: bool = False, max_retries: int = 10) -> Any:
        """The values of results; None with ``no_join``. ``AssertionError`` names the missing."""
        if self.no_join:
            return None
        results = r if hasattr(r, "get") else self.app.ResultSet(list(r))
        limit_s = monotonic_s() + self.block_timeout
        missing: list[str] = []
        for _ in range(max_retries):
            try:
                wait_s = max(min(_JOIN_S, limit_s - monotonic_s()), 0)
                return results.get(timeout=wait_s, propagate=propagate)
            except TimeoutError:
                missing = self.missing_results(getattr(results, "results", [results]))
                self.remark(f"still waiting for {len(missing)} results: {', '.join(missing)}", "! ")
                if monotonic_s() >= limit_s:
                    break
        raise AssertionError(f"no results of {', '.join(missing)}")


ManagerMixin = Manager
