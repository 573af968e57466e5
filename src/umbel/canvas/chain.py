"""``chain``: one task after the other, each with the result of the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any, Self, cast, overload

from umbel.canvas.composite import Composite, signatures_of
from umbel.canvas.shapes import listed, spread, steps_of, with_errors_on_header
from umbel.canvas.signature import Signature, maybe_signature, shortened
from umbel.canvas.stamping import StampingVisitor, below, stamps_of
from umbel.model.generics import R_co
from umbel.model.refused import Refused
from umbel.ports.sender import Sender
from umbel.results.handle import AsyncResult

# Options of a chain that are meant for one step, not for each.
_OF_ENDS = ("task_id", "group_id", "group_index", "link")


@Signature.register_type("chain")
class chain(Composite[R_co]):  # noqa: N801 - Celery's name
    """``chain(a, b, c)``, also ``chain([a, b])`` and ``chain(a | b)``: the same as ``a | b | c``.

    Where ``|`` gives a chord (``chain(group(...), task)``), so does this.
    """

    def __new__(cls, *tasks: Any, **_options: Any) -> Self:
        given = _given(tasks)
        if cls is chain and len(given) > 1:
            # Not always a chain, but always a signature.
            return cast(Self, reduce(or_, (_checked(task) for task in given)))
        return super().__new__(cls)

    # A type checker can tell the last of several apart only by counting.
    @overload
    def __init__(self, last: Signature[R_co], /) -> None: ...
    @overload
    def __init__(self, a: Signature, last: Signature[R_co], /) -> None: ...
    @overload
    def __init__(self, a: Signature, b: Signature, last: Signature[R_co], /) -> None: ...
    @overload
    def __init__(
        self, a: Signature, b: Signature, c: Signature, last: Signature[R_co], /
    ) -> None: ...
    @overload
    def __init__(self, *tasks: Any, app: Sender | None = None, **options: Any) -> None: ...

    def __init__(self, *tasks: Any, app: Sender | None = None, **options: Any) -> None:
        if not self:
            members = signatures_of(_given(tasks), app)
            super().__init__(
                "celery.chain",
                (),
                {"tasks": members},
                options,
                subtask_type="chain",
                app=app,
            )
            return
        # Made by ``|`` in ``__new__``.
        self["options"].update(options)
        if app is not None:
            self._app = app

    @classmethod
    def of(cls, tasks: Sequence[Any], app: Any = None) -> Self:
        """A chain of exactly these steps."""
        made = dict.__new__(cls)
        Signature.__init__(
            made, "celery.chain", (), {"tasks": list(tasks)}, subtask_type="chain", app=app
        )
        return made

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """The chain that a dictionary stands for."""
        made = cls.of([maybe_signature(task, app) for task in d["kwargs"]["tasks"]], app)
        made["options"] = dict(d.get("options") or ())
        made["args"] = tuple(d.get("args") or ())
        made["immutable"] = bool(d.get("immutable"))
        return made

    @property
    def tasks(self) -> Any:
        """The steps."""
        return self["kwargs"]["tasks"]

    @tasks.setter
    def tasks(self, tasks: Any) -> None:
        self["kwargs"]["tasks"] = tasks

    @property
    def app(self) -> Any:
        """Its app, else that of its first step, else the current one."""
        return self._first_app(self.tasks)

    run = Refused("use apply_async")
    prepare_steps = Refused("use freeze, which fixes the ids")

    def unchain_tasks(self) -> list[Any]:
        """Copies of the steps, with the chain's callbacks and errbacks on them."""
        steps = [task.clone() for task in self.tasks]
        for step in steps:
            step.extend_list_option("link_error", self["options"].get("link_error"))
        return steps

    def __call__(  # type: ignore[override]  # to call a chain is to send it
        self, *args: Any, **kwargs: Any
    ) -> AsyncResult[R_co] | None:
        """Send it."""
        return self.apply_async(args, kwargs) if self.tasks else None

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult[R_co]:
        """Send it. The arguments go to the first step, before its own."""
        errors = listed(self["options"].get("link_error")) + listed(options.get("link_error"))
        if errors and getattr(self.app.conf, "task_allow_error_cb_on_chord_header", False):
            other = self.clone()
            steps = [with_errors_on_header(step, errors) for step in steps_of(self.tasks)]
            other["kwargs"]["tasks"] = steps
            return super(chain, other).apply_async(args, kwargs, **options)
        return super().apply_async(args, kwargs, **options)

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Run the steps here and now. A step that fails raises, as in Celery."""
        last: Any = None
        place = {name: options.pop(name) for name in _OF_ENDS if name in options}
        for step in spread(steps_of(self.tasks), {**self["options"], **place}):
            sig = maybe_signature(step, self._app)
            if last is None:
                result = sig.apply(self._given(args), kwargs, **options)
            else:
                result = sig.apply((last.get(),), **options)
            result.parent, last = last, result
        return last

    def stamp(
        self,
        visitor: StampingVisitor | None = None,
        append_stamps: bool = False,
        **headers: Any,
    ) -> Self:
        """Mark each step."""
        own = visitor.on_chain_start(self, **headers) if visitor is not None else None
        self.set(**stamps_of(own, headers, self["options"], append=append_stamps))
        self.stamp_links(visitor, append_stamps, **headers)
        for task in self.tasks:
            task.stamp(visitor, append_stamps, **below(headers, own))
        if visitor is not None:
            visitor.on_chain_end(self, **headers)
        return self

    def _take(self, data: Mapping[str, Any]) -> None:
        if data["task"] == "celery.chain":
            self["options"] = {**self["options"], **data["options"]}
            self.tasks = [maybe_signature(step, self._app) for step in data["kwargs"]["tasks"]]
        else:
            # Looked at closely it is one step, perhaps a chord, which has the id.
            self.tasks = [maybe_signature(data, self._app)]

    def __repr__(self) -> str:
        if not self.tasks:
            return f"<{type(self).__name__}@{id(self):#x}: empty>"
        return shortened(self.tasks[0]["task"], " | ".join(map(repr, self.tasks)))


def _given(tasks: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(tasks) == 1 and not isinstance(tasks[0], Mapping):
        return tuple(tasks[0])
    return tasks


def _checked(task: Any) -> Any:
    if not isinstance(task, Mapping):
        raise TypeError(f"a chain is made of signatures, and {task!r} is none (task.s() gives one)")
    return maybe_signature(task)
