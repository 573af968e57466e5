"""``get(progress=True)``: a bar on the terminal while results come in.

rich draws it, where rich can be imported and stderr is a terminal; nobody else is bothered, and
rich is not imported before it is wanted.
"""

from __future__ import annotations

import importlib.util
import sys
from types import TracebackType
from typing import Any, Self


class NoBar:
    """Counts nothing and shows nothing."""

    def ended(self, *, failed: bool) -> None:
        """One more task has ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class Bar(NoBar):
    """done/total, failed, elapsed and an estimate of what is left."""

    def __init__(self, total: int, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._failed = 0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[failed]} failed"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
        )
        self._row = self._bar.add_task("tasks", total=total, failed=0)

    def ended(self, *, failed: bool) -> None:
        """Move on by one."""
        self._failed += failed
        self._bar.update(self._row, advance=1, failed=self._failed)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


_NO_BAR = NoBar()


def progress_of(total: int, *, wanted: bool) -> NoBar:
    """A bar for ``total`` tasks, or one that shows nothing."""
    if not wanted or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        return _NO_BAR
    return Bar(total)
