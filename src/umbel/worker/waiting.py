"""Waiting until one of a few file descriptors is readable.

By ``poll``, not ``select``: a process with more than 1,023 open files must not fail here.
"""

from __future__ import annotations

import select
from collections.abc import Iterable


def readable(descriptors: Iterable[int], timeout_s: float | None) -> list[int]:
    """Those that are readable; none when the time is up. None waits for ever."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [found for found, _ in poll.poll(None if timeout_s is None else timeout_s * 1000)]
