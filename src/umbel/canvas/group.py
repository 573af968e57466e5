"""``group``: tasks that run side by side; its result is the list of theirs, in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Self, cast, overload

from umbel.canvas.composite import Composite, signatures_of
from umbel.canvas.members import Members
from umbel.canvas.shapes import links_of, listed, members_of
from umbel.canvas.signature import Signature, maybe_signature, shortened
from umbel.canvas.stamping import StampingVisitor, below, stamps_of
from umbel.canvas.streams import Stream, sequence_of
from umbel.model.generics import R_co
from umbel.ports.sender import Sender
from umbel.results.group import GroupResult


@Signature.register_type("group")
class group(Composite[list[R_co]], Generic[R_co]):  # noqa: N801 - Celery's name
    """``group(a, b)``, ``group([a, b])``, ``group(add.s(i, i) for i in range(n))``.

    A generator is read while its members are sent. A group directly inside of a group is
    flattened when it is sent.
    """

    @overload
    def __init__(
        self, tasks: Iterable[Signature[R_co]], /, *, app: Sender | None = None
    ) -> None: ...
    @overload
    def __init__(
        self, *tasks: Signature[R_co], app: Sender | None = None, **options: Any
    ) -> None: ...
    @overload
    def __init__(self, *tasks: Any, app: Sender | None = None, **options: Any) -> None: ...

    def __init__(self, *tasks: Any, app: Sender | None = None, **options: Any) -> None:
        given: Any = tasks
        if len(tasks) == 1:
            given = tasks[0]
            if isinstance(given, group):
                given = given.tasks
            elif isinstance(given, Mapping):
                given = [given]
            elif not isinstance(given, Iterable):
                raise TypeError(f"a group is made of signatures, and {given!r} is none")
        members = signatures_of(sequence_of(given, Members), app)
        super().__init__(
            "celery.group", (), {"tasks": members}, options, subtask_type="group", app=app
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """The group that a dictionary stands for."""
        made = cls(d["kwargs"]["tasks"], app=app)
        made["options"] = dict(d.get("options") or ())
        made["args"] = tuple(d.get("args") or ())
        made["immutable"] = bool(d.get("immutable"))
        return made

    @property
    def tasks(self) -> Any:
        """The members."""
        return self["kwargs"]["tasks"]

    @tasks.setter
    def tasks(self, tasks: Any) -> None:
        self["kwargs"]["tasks"] = tasks

    @property
    def app(self) -> Any:
        """Its app, else that of its first member, else the current one."""
        return self._first_app(self.tasks)

    def __call__(  # type: ignore[override]  # to call a group is to send it
        self, *partial_args: Any, **options: Any
    ) -> GroupResult[R_co]:
        """Send it."""
        return self.apply_async(partial_args, **options)

    def delay(  # type: ignore[override]  # what it gives is no kind of AsyncResult in Celery
        self, *partial_args: Any, **partial_kwargs: Any
    ) -> GroupResult[R_co]:
        """Send it. The arguments are put before those of each member."""
        return self.apply_async(partial_args, partial_kwargs)

    def __len__(self) -> int:
        return len(self.tasks)

    def apply_async(  # type: ignore[override]  # as delay
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> GroupResult[R_co]:
        """Send all members, with ``options`` laid over theirs; gives a ``GroupResult``."""
        if options.get("link") is not None:
            raise TypeError("Cannot add link to group: use a chord")
        if options.get("link_error") is not None:
            raise TypeError("Cannot add link to group: do that on individual tasks")
        return cast(GroupResult[R_co], super().apply_async(args, kwargs, **options))

    def apply(  # type: ignore[override]  # as delay
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> GroupResult[R_co]:
        """Run the members here and now, in order."""
        app = self.app
        merged = {**self["options"], **options}
        group_id = merged.pop("task_id", None) or app.new_id()
        given = self._given(args)
        results = [
            maybe_signature(member, self._app).apply(given, kwargs, **merged)
            for member in members_of(self.tasks)
        ]
        return GroupResult(group_id, results, app=app)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Let the members start one after the other: countdowns from ``start`` by ``step``.

        After ``stop`` all that is left gets the same countdown.
        """
        self.tasks = self._read()
        countdown = start
        for task in self.tasks:
            task.set(countdown=countdown)
            if stop is None or countdown + step <= stop:
                countdown += step
        return self

    def _read(self) -> Any:
        return self.tasks.read() if isinstance(self.tasks, Stream) else self.tasks

    def set_immutable(self, immutable: bool) -> None:
        """Say it of each member."""
        self.tasks = self._read()
        for task in self.tasks:
            task.set_immutable(immutable)

    def link(self, sig: Any) -> Any:
        """Link to the first member; a chord is what waits for all."""
        links_of(sig, "link")
        self.tasks = self._read()
        return self.tasks[0].link(maybe_signature(sig).clone().set(immutable=True))

    def link_error(self, sig: Any) -> Any:
        """Link to each member."""
        links_of(sig, "link_error")
        self.tasks = self._read()
        for task in self.tasks:
            task.link_error(maybe_signature(sig).clone())
        return sig

    def stamp(
        self,
        visitor: StampingVisitor | None = None,
        append_stamps: bool = False,
        **headers: Any,
    ) -> Self:
        """Mark each member."""
        own = visitor.on_group_start(self, **headers) if visitor is not None else None
        self.set(**stamps_of(own, headers, self["options"], append=append_stamps))
        self.tasks = self._read()
        for task in self.tasks:
            task.stamp(visitor, append_stamps, **below(headers, own))
        if visitor is not None:
            visitor.on_group_end(self, **headers)
        return self

    def _take(self, data: Mapping[str, Any]) -> None:
        self["options"] = data["options"]
        self.tasks = [maybe_signature(task, self._app) for task in data["kwargs"]["tasks"]]

    def flatten_links(self) -> list[Any]:
        """This and the callbacks of all members."""
        return [self, *(link for task in listed(self._read()) for link in task.flatten_links())]

    def __repr__(self) -> str:
        if not self.tasks:
            return "group(<empty>)"
        return shortened(next(iter(self.tasks))["task"], f"group({self.tasks!r})")
