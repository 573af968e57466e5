"""The life of a child as billiard's ``Worker.workloop``, which others wrap.

Sentry flushes what it has collected when a worker's process ends, and finds that end by replacing
this method.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Worker:
    """One child process, to those who know billiard's."""

    def __init__(self, serve: Callable[[], int]) -> None:
        self._serve = serve

    def workloop(self, *_facts: Any, **_named: Any) -> int:
        """Run tasks until told to stop; gives the exit code."""
        return self._serve()
