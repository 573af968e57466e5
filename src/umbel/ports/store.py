"""What an engine must offer to keep results: put, get, watch, forget, groups, joins.

A stored SUCCESS is final: whatever is put later is dropped [success_is_final]. On Redis the keys,
values and channels are Celery's (``wire/WIRE.md`` section 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from umbel.model.join import JoinClosing, JoinGrowth, JoinOpening, JoinPart
from umbel.model.message import Message
from umbel.model.record import Document


class Watch(Protocol):
    """A running subscription to the records of some tasks. A context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def changes(self, timeout_s: float | None) -> dict[str, bytes]:
        """Documents that were stored since the last call, by task id; the first call gives what
        is there already, even with a timeout of 0. Empty when the time is up.

        A lost connection is made good by reading everything again: nothing is missed
        [a_watch_misses_nothing].
        """
        ...

    def add(self, task_ids: Sequence[str]) -> None:
        """Watch more tasks; the next ``changes`` includes what is there already."""
        ...


class Store(Protocol):
    """One connection to a result store, used by one thread of one process."""

    url: str  # without the password

    def put(self, documents: Sequence[Document]) -> None:
        """Store records and tell who watches them [stored_is_told]."""
        ...

    def get(self, task_ids: Sequence[str]) -> list[bytes | None]:
        """The records, in order; None where there is none (yet, or any more)."""
        ...

    def watch(self, task_ids: Sequence[str]) -> Watch:
        """Subscribe, with one subscription for all of them."""
        ...

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records."""
        ...

    def put_group(self, group_id: str, data: bytes, ttl_s: float | None) -> None:
        """Keep a saved group."""
        ...

    def get_group(self, group_id: str) -> bytes | None:
        """A saved group."""
        ...

    def forget_group(self, group_id: str) -> None:
        """Delete a saved group."""
        ...

    def parts(self, group_id: str) -> list[bytes]:
        """The parts of a join, in order of their index."""
        ...

    def apply(
        self,
        documents: Sequence[Document],
        opens: Sequence[JoinOpening] = (),
        parts: Sequence[JoinPart] = (),
        grows: Sequence[JoinGrowth] = (),
        closes: Sequence[JoinClosing] = (),
    ) -> list[Message]:
        """The result side of a settlement, for a broker on another server; idempotent.

        Gives the claims of joins that these parts completed; each is given again by a later call
        with the same part until the join is closed, so that a crash before the claim was published
        loses nothing [a_join_elsewhere_is_claimed_again].
        """
        ...

    def expire(self, limit: int) -> int:
        """Delete up to ``limit`` expired records, where the server does not do that itself."""
        ...

    def close(self) -> None:
        """End the connection. Closing twice, or in a forked child, is legal."""
        ...
