"""The only room that reads the time: monotonic for waiting, UTC for telling.

Parts that tests want to drive take one of these functions as an argument instead of a patch.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

monotonic_s = time.monotonic
monotonic_ns = time.monotonic_ns
unix_s = time.time
unix_ns = time.time_ns


def utc_now() -> datetime:
    """Now, aware, in UTC."""
    return datetime.now(UTC)


def parse_iso8601(text: str) -> datetime:
    """An ISO 8601 date and time; naive where the text has no offset.

    Raises ``ValueError`` where the text is no such date.
    """
    return datetime.fromisoformat(text)
