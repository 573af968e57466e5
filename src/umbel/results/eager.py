"""``EagerResult``: the result of a task that ran here and now, without a message.

``Task.apply``, the ``apply`` of signatures, and ``task_always_eager`` give it.
"""

from __future__ import annotations

from typing import Any, Self

from umbel.model import states
from umbel.model.generics import R_co
from umbel.results.handle import AsyncResult, Callback


class EagerResult(AsyncResult[R_co]):
    """The result of a task that was run in this process, without a message."""

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        ret_value: Any,
        state: str,
        traceback: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(id, task_name=name)
        self._meta = {
            "task_id": id,
            "status": state,
            "result": ret_value,
            "traceback": traceback,
            "children": None,
            "name": name,
        }
        self._cache = self._meta

    def _get_task_meta(self) -> dict[str, Any]:
        return self._meta

    def get(  # type: ignore[override]  # Celery's shorter list; the rest is taken and means nothing
        self,
        timeout: float | None = None,
        propagate: bool = True,
        disable_sync_subtasks: bool = True,
        callback: Callback | None = None,
        **_waiting: Any,
    ) -> R_co:
        """What the task returned, or raise what it raised. Never waits."""
        self.maybe_throw(propagate=propagate, callback=callback)
        value: R_co = self.result
        return value

    wait = get  # type: ignore[assignment]  # as above

    def ready(self) -> bool:
        """True: it ran."""
        return True

    def forget(self) -> None:
        """Nothing is kept anywhere."""

    def revoke(self, *args: Any, **kwargs: Any) -> None:
        """Mark it as revoked; it has run already."""
        self._meta["status"] = states.REVOKED

    def __repr__(self) -> str:
        return f"<EagerResult: {self.id}>"

    def __copy__(self) -> Self:
        return type(self)(*self.__reduce__()[1])

    def __reduce__(self) -> tuple[Any, ...]:
        meta = self._meta
        return type(self), (
            self.id,
            meta["result"],
            meta["status"],
            meta["traceback"],
            meta["name"],
        )
