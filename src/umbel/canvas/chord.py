"""``chord``: a header of tasks side by side, and a body that gets the list of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar, overload

from umbel.canvas.chain import chain
from umbel.canvas.composite import Composite, signatures_of
from umbel.canvas.freezing import member_options
from umbel.canvas.group import group
from umbel.canvas.members import Members
from umbel.canvas.shapes import as_one_part, header_of, links_of, listed, members_of
from umbel.canvas.signature import Signature, maybe_signature, shortened
from umbel.canvas.stamping import StampingVisitor, below, stamps_of
from umbel.canvas.streams import Stream, sequence_of
from umbel.model.generics import R_co
from umbel.model.refused import Refused
from umbel.ports.sender import Sender
from umbel.results.handle import AsyncResult

R = TypeVar("R")


@Signature.register_type("chord")
class chord(Composite[R_co]):  # noqa: N801 - Celery's name
    """``chord(header, body)`` or ``chord(header)(body)``.

    A member of the header that fails fails the body with a ``ChordError`` that names the member.
    """

    @overload
    def __init__(
        self, header: Any, body: Signature[R_co], task: str = "celery.chord", **options: Any
    ) -> None: ...
    @overload
    def __init__(
        self, header: Any, body: Any = None, task: str = "celery.chord", **options: Any
    ) -> None: ...

    def __init__(
        self,
        header: Any,
        body: Any = None,
        task: str = "celery.chord",
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        app: Sender | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            task,
            args,
            {
                "kwargs": dict(kwargs or ()),
                "header": _header(header, app),
                "body": maybe_signature(body, app),
            },
            options,
            subtask_type="chord",
            app=app,
        )

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """The chord that a dictionary stands for."""
        kwargs = d["kwargs"]
        made = cls([], kwargs.get("body"), args=d.get("args"), kwargs=kwargs.get("kwargs"), app=app)
        header = kwargs["header"]
        # A header that was frozen is a group, which has the id.
        made.tasks = (
            maybe_signature(header, app) if isinstance(header, Mapping) else _header(header, app)
        )
        made["options"] = dict(d.get("options") or ())
        made["immutable"] = bool(d.get("immutable"))
        return made

    @property
    def tasks(self) -> Any:
        """The header."""
        return self["kwargs"]["header"]

    @tasks.setter
    def tasks(self, header: Any) -> None:
        self["kwargs"]["header"] = header

    @property
    def body(self) -> Any:
        """The body, or None."""
        return self["kwargs"].get("body")

    @body.setter
    def body(self, body: Any) -> None:
        self["kwargs"]["body"] = body

    @property
    def app(self) -> Any:
        """Its app, else that of its body or header, else the current one."""
        if self._app is None and self.body is not None:
            self._app = self.body._app
        return self._first_app(header_of(self)[0])

    @overload  # type: ignore[override]  # to call a chord is to send it
    def __call__(self, body: None = None, **options: Any) -> AsyncResult[R_co]: ...
    @overload
    def __call__(self, body: Signature[R], **options: Any) -> AsyncResult[R]: ...
    @overload
    def __call__(self, body: Mapping[str, Any], **options: Any) -> AsyncResult[Any]: ...

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Send it, with this body where one is given."""
        return self.apply_async((), {"body": body} if body is not None else {}, **options)

    run = Refused("use apply_async")

    def __length_hint__(self) -> int:
        """How many parts the join has."""
        return sum(1 for _ in members_of(header_of(self)[0]))

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult[R_co]:
        """Send the header. Gives the result of the body, whose ``parent`` is the header's."""
        kwargs = dict(kwargs or ())
        body = kwargs.pop("body", None)
        if body is None:
            return super().apply_async(args, kwargs, **options)
        return self._with_body(maybe_signature(body, self._app)).apply_async(
            args, kwargs, **options
        )

    def _with_body(self, body: Any) -> Self:
        other = self.clone()
        other.body = body
        return other

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Run the header and then the body here and now."""
        kwargs = dict(kwargs or ())
        body = kwargs.pop("body", None) or self.body
        tasks, _ = header_of(self)
        merged = {**self["options"], **options}
        merged["task_id"] = options.get("task_id")
        members = [as_one_part(member) for member in members_of(tasks)]
        all_kwargs = {**self["kwargs"]["kwargs"], **kwargs}
        values = group(members, app=self._app).apply(
            self._given(args), all_kwargs, **member_options(merged)
        )
        result = maybe_signature(body, self._app).apply((values.get(),), **merged)
        result.parent = values
        return result

    def set_immutable(self, immutable: bool) -> None:
        """Say it of the body."""
        self.body.set_immutable(immutable)

    def link(self, callback: Any) -> Any:
        """Link to the body."""
        return self.body.link(callback)

    def link_error(self, errback: Any) -> Any:
        """Link to the body, which fails where the header does.

        With the setting ``task_allow_error_cb_on_chord_header``, to each member as well.
        """
        links_of(errback, "link_error")
        if getattr(self.app.conf, "task_allow_error_cb_on_chord_header", False):
            for task in self._read():
                task.link_error(maybe_signature(errback).clone(immutable=True))
        return self.body.link_error(errback)

    def _read(self) -> Any:
        if isinstance(self.tasks, Stream):
            self.tasks = self.tasks.read()
        return header_of(self)[0]

    def stamp(
        self,
        visitor: StampingVisitor | None = None,
        append_stamps: bool = False,
        **headers: Any,
    ) -> Self:
        """Mark each member of the header, and the body."""
        own = visitor.on_chord_header_start(self, **headers) if visitor is not None else None
        # What is said of the header is not said of the chord, whose options are the body's as well.
        self.set(**stamps_of(None, headers, self["options"], append=append_stamps))
        for task in self._read():
            task.stamp(visitor, append_stamps, **below(headers, own))
        if visitor is not None:
            visitor.on_chord_header_end(self, **headers)
        if self.body is not None:
            own = visitor.on_chord_body(self, **headers) if visitor is not None else None
            self.body.stamp(visitor, append_stamps, **below(headers, own))
        return self

    def _take(self, data: Mapping[str, Any]) -> None:
        self["options"] = data["options"]
        self.tasks = maybe_signature(data["kwargs"]["header"], self._app)
        self.body = maybe_signature(data["kwargs"]["body"], self._app)

    def flatten_links(self) -> list[Any]:
        """This and the callbacks of the body."""
        return [self, *(link for body in listed(self.body) for link in body.flatten_links()[1:])]

    def __repr__(self) -> str:
        body = self.body
        if body is None:
            return f"<chord without body: {self.tasks!r}>"
        if isinstance(body, chain) and body.tasks:
            first, *rest = body.tasks
            text = " | ".join([first.reprcall(self.tasks), *(map(repr, rest))])
            return shortened(first["task"], f"%({text})")
        return "%" + shortened(body["task"], body.reprcall(self.tasks))


def _header(header: Any, app: Sender | None) -> Any:
    if isinstance(header, group):
        return header.tasks
    if isinstance(header, Mapping):
        return [maybe_signature(header, app)]
    return signatures_of(sequence_of(header, Members), app)
