"""``map``, ``starmap`` and ``chunks``: one task called many times by one message.

The first two are messages for the built-in tasks ``celery.map`` and ``celery.starmap``, which call
the task for each item and give the list. ``chunks`` is a group of such messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic

from umbel.canvas.composite import Composite
from umbel.canvas.group import group
from umbel.canvas.shapes import slices
from umbel.canvas.signature import Signature, maybe_signature
from umbel.canvas.streams import sequence_of
from umbel.model.generics import R_co
from umbel.ports.sender import Sender
from umbel.results.group import GroupResult


class _Batch(Signature[list[R_co]], Generic[R_co]):
    _task_name = ""

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """The batch that a dictionary stands for."""
        if "task" not in d["kwargs"]:
            return Signature(d, app=app)
        made = cls.__new__(cls)
        made.update(Signature(d))
        made["kwargs"] = {**d["kwargs"], "task": maybe_signature(d["kwargs"]["task"], app)}
        made._app = app
        return made

    def __init__(
        self, task: Any, it: Iterable[Any], app: Sender | None = None, **options: Any
    ) -> None:
        task = _signature_of(task)
        super().__init__(
            self._task_name,
            (),
            {"task": task, "it": it if isinstance(it, list | tuple) else list(it)},
            options,
            immutable=True,
            app=app or task._app,
        )


@Signature.register_type("celery.map")
class xmap(_Batch[R_co]):  # noqa: N801 - Celery's name
    """``task.map(items)``: the list of ``task(item)``, made by one message."""

    _task_name = "celery.map"

    def __repr__(self) -> str:
        task, it = self["kwargs"]["task"], self["kwargs"]["it"]
        return f"[{task['task']}(x) for x in {it!r}]"


@Signature.register_type("celery.starmap")
class xstarmap(_Batch[R_co]):  # noqa: N801 - Celery's name
    """``task.starmap(items)``: the list of ``task(*item)``, made by one message."""

    _task_name = "celery.starmap"

    def __repr__(self) -> str:
        task, it = self["kwargs"]["task"], self["kwargs"]["it"]
        return f"[{task['task']}(*x) for x in {it!r}]"


@Signature.register_type("celery.chunks")
class chunks(Composite[list[list[R_co]]], Generic[R_co]):  # noqa: N801 - Celery's name
    """``task.chunks(items, n)``: ``task(*item)`` for each, ``n`` to a message."""

    def __init__(
        self, task: Any, it: Iterable[Any], n: int, app: Sender | None = None, **options: Any
    ) -> None:
        task = _signature_of(task)
        super().__init__(
            "celery.chunks",
            (),
            {"task": task, "it": sequence_of(it), "n": n},
            options,
            immutable=True,
            app=app or task._app,
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """The chunks that a dictionary stands for; with a fixed id, the task of that name."""
        kwargs = d["kwargs"]
        if d.get("options", {}).get("task_id") is not None or "n" not in kwargs:
            return Signature(d, app=app)
        return cls(
            maybe_signature(kwargs["task"], app), kwargs["it"], kwargs["n"], app, **d["options"]
        )

    def group(self) -> group[list[R_co]]:
        """The group that this stands for: a ``starmap`` for each chunk."""
        task, it, n = (self["kwargs"][name] for name in ("task", "it", "n"))
        return group(
            (xstarmap(task, part, app=self._app) for part in slices(it, int(n))),
            app=self._app,
            **self["options"],
        )

    def __call__(  # type: ignore[override]  # as for a group
        self, **options: Any
    ) -> GroupResult[list[R_co]]:
        """Send it."""
        return self.apply_async(**options)

    def apply_async(  # type: ignore[override]  # as for a group
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> GroupResult[list[R_co]]:
        """Send the group of chunks."""
        return self.group().apply_async(args, kwargs, **options)

    def apply(  # type: ignore[override]  # as for a group
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> GroupResult[list[R_co]]:
        """Run the group of chunks here and now."""
        return self.group().apply(args, kwargs, **options)

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Any], n: int, app: Sender | None = None) -> Any:
        """What the task ``celery.chunks`` does: send the group of chunks."""
        return cls(task, it, n, app=app)()

    def _take(self, data: Mapping[str, Any]) -> None:
        raise TypeError("chunks can't be frozen: freeze its group()")


def _signature_of(task: Any) -> Any:
    """The signature of what is called for each item: a task, or a signature of one."""
    if isinstance(task, Mapping):
        return maybe_signature(task)
    return task.s()
