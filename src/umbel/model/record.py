"""What is kept of a task: Celery's result record, as a value and as the bytes that are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Record(NamedTuple):
    """One result record, decoded. ``result`` is a value, an exception, or the state's meta."""

    task_id: str
    status: str
    result: Any = None
    traceback: str | None = None
    children: Sequence[Any] | None = None  # result tuples: [[id, parent], [children] or None]
    date_done: str | None = None
    group_id: str | None = None
    parent_id: str | None = None
    # name, args, kwargs, worker, retries, queue and stamps, with ``result_extended``.
    extended: Mapping[str, Any] | None = None


class Document(NamedTuple):
    """A Record as it is stored."""

    task_id: str
    status: str
    data: bytes
    ttl_s: float | None = None  # None or 0: kept for ever
