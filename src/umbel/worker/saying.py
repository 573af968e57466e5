"""How the supervisor speaks: its log lines, and the few words that go to the terminal as is."""

from __future__ import annotations

import logging
import os
from contextlib import suppress

from umbel.app.logs import ProcessFormatter
from umbel.app.settings import PROCESS_FORMAT
from umbel.worker.briefing import LogSettings

UNTIL_THE_APP_IS_KNOWN = LogSettings(logging.WARNING, None, PROCESS_FORMAT, None, False)


def say(message: str) -> None:
    """A line to stderr, whatever the log level: Celery's users wait for some of these."""
    with suppress(OSError):
        os.write(2, f"\n{message}\n".encode())


def set_up_logs(settings: LogSettings) -> None:
    """Write our lines where and as the app's workers write theirs."""
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    handler = _handler(settings.file)
    handler.setFormatter(
        ProcessFormatter(settings.format, settings.is_colored, settings.date_format)
    )
    root.addHandler(handler)
    root.setLevel(settings.level)


def forget_logs() -> None:
    """In a forked process: its log is the app's to set up."""
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.WARNING)


def _handler(path: str | None) -> logging.Handler:
    if path is None:
        return logging.StreamHandler()
    # Not at the top: it imports socket, queue and more.
    from logging.handlers import WatchedFileHandler

    return WatchedFileHandler(path, encoding="utf-8")
