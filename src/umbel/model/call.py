"""A signature with every id fixed: what is about to become a Message.

Made by the canvas (a signature, a chain, a chord unrolled) and by tasks that send; used up by the
publisher, which turns it into a Message. ``options`` are ``apply_async`` options by Celery's names,
less those that have a field of their own here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# A signature as plain data: {"task", "args", "kwargs", "options", "subtask_type", "immutable"}.
SignatureDict = Mapping[str, Any]

NO_OPTIONS: Mapping[str, Any] = {}


class Call(NamedTuple):
    """One task call, ready to be composed."""

    task: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    id: str
    root_id: str | None = None  # None: the call is a root, its own id is written
    parent_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    chord: SignatureDict | None = None  # the body; set on members that count for a join
    chain: Sequence[SignatureDict] | None = None  # the remaining steps, REVERSED: next one last
    link: Sequence[SignatureDict] | None = None
    link_error: Sequence[SignatureDict] | None = None
    options: Mapping[str, Any] = NO_OPTIONS
