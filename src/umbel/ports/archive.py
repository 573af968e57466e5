"""What results need of an app: read, wait, forget, revoke. ``result.backend`` is one of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from umbel.model.record import Record


class Archive(Protocol):
    """Where the records of an app are kept, decoded.

    Where results are disabled every method raises ``NotImplementedError`` with the name of the
    setting that is missing.
    """

    def get_task_meta(self, task_id: str) -> dict[str, Any]:
        """Celery's dictionary: ``status``, ``result`` (an exception object where it failed),
        ``traceback``, ``children``, ``task_id`` and what else the record has. PENDING if none.
        """
        ...

    def records(self, task_ids: Sequence[str]) -> list[Record]:
        """The records, in order; PENDING where there is none."""
        ...

    def wait_for(
        self,
        task_ids: Sequence[str],
        timeout_s: float | None,
        on_interval: Callable[[], None] | None = None,
        on_message: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Iterator[Record]:
        """Records of tasks as they end, each once, in the order in which they end.

        ``on_message`` is given each stored state, also those that end nothing. Raises
        ``TimeoutError``, whose text says what is known of the broker and the workers.
        """
        ...

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **extra: Any,
    ) -> Any:
        """Store a state by hand (``update_state``)."""
        ...

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records."""
        ...

    def save_group(self, group_id: str, result: Any) -> None:
        """Keep a group's result tuple (``GroupResult.save``)."""
        ...

    def restore_group(self, group_id: str) -> Any | None:
        """The result tuple of a saved group, or None."""
        ...

    def delete_group(self, group_id: str) -> None:
        """Delete a saved group."""
        ...

    def revoke(
        self,
        task_ids: Sequence[str],
        *,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Ask that tasks do not run, or be ended; ``wait`` for the answers of workers."""
        ...

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        *,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """The same for all tasks with one of these stamps."""
        ...
