"""From the name of a task to what the canvas must know of it, without knowing the app."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class TaskLike(Protocol):
    """A registered task, as signatures see it."""

    name: str
    ignore_result: bool | None

    def apply_async(
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> Any: ...

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any: ...


class Registry(Protocol):
    """The tasks of an app, by name."""

    def get(self, name: str, default: Any = None) -> Any:
        """The task, or the default."""
        ...


class Names(Protocol):
    """Only the names: what a pure part may ask."""

    def __contains__(self, name: object) -> bool: ...


NO_ARGS: Sequence[Any] = ()
NO_KWARGS: Mapping[str, Any] = {}
