"""``Signature``: a call that is not made yet, as a value that can be kept, sent and combined.

It is a dictionary, the very one that stands in messages, so JSON there and back is no translation.
Beside it the object knows its app and its task where it was made from them; both are found by name
where it was not. What is made of signatures (chains, groups, chords) is a signature as well.

Celery's names are kept to the letter. Combining shares members and never changes them: sending
fixes ids in copies (``unrolling``), not in the objects that users hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar, Generic, Self, TypeVar, cast, overload

from umbel.canvas.freezing import freeze as freeze_ids
from umbel.canvas.freezing import laid_over
from umbel.canvas.shapes import links_of, listed
from umbel.canvas.stamping import StampingVisitor, stamps_of
from umbel.model.errors import NotRegistered
from umbel.model.generics import R_co
from umbel.model.refused import Refused
from umbel.ports.current import current_app
from umbel.ports.sender import Sender
from umbel.results.eager import EagerResult
from umbel.results.handle import AsyncResult
from umbel.results.tuples import result_from_tuple

R = TypeVar("R")
S = TypeVar("S")


def reprcall(name: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> str:
    """A call as Python writes it."""
    words = [repr(arg) for arg in args]
    words += [f"{key}={value!r}" for key, value in (kwargs or {}).items()]
    return f"{name}({', '.join(words)})"


def shortened(task: str, text: str) -> str:
    """Text in which the module of a task is written only where it stands first."""
    module = task.rpartition(".")[0] + "."
    before, found, after = text.partition(module)
    return before + found + after.replace(module, "")


class Signature(dict[str, Any], Generic[R_co]):
    """A task with some of its arguments and options, to be called later or by somebody else.

    For type checkers it is generic in what the task returns.
    """

    # From ``subtask_type``, or the task's name, to the class that ``from_dict`` makes.
    TYPES: ClassVar[dict[str, type[Signature[Any]]]] = {}

    _app: Any = None
    _type: Any = None

    @classmethod
    def register_type(cls, name: str | None = None) -> Callable[[type[S]], type[S]]:
        """A decorator: signatures of this ``subtask_type`` are of the decorated class."""

        def register(subclass: type[S]) -> type[S]:
            cls.TYPES[name or subclass.__name__] = cast(Any, subclass)
            return subclass

        return register

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: Sender | None = None) -> Signature:
        """The signature that a dictionary, perhaps out of JSON, stands for."""
        target = cls.TYPES.get(d.get("subtask_type") or d["task"])
        if target is not None and target is not cls:
            return target.from_dict(d, app=app)
        made = Signature(d, app=app)
        for key, default in _KEYS:
            made.setdefault(key, default() if callable(default) else default)
        return made

    def __init__(
        self,
        task: Any = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        type: Any = None,  # noqa: A002 - Celery's name
        subtask_type: str | None = None,
        immutable: bool = False,
        app: Sender | None = None,
        **ex: Any,
    ) -> None:
        if app is not None:
            self._app = app
        if isinstance(task, str):
            if type is not None:
                self._type = type
        elif isinstance(task, Mapping):
            super().__init__(task)
            return
        elif task is not None:
            self._type, task = task, task.name
        super().__init__(
            task=task,
            args=tuple(args or ()),
            kwargs=kwargs or {},
            options={**options, **ex} if options else ex,
            subtask_type=subtask_type,
            immutable=immutable,
        )

    # -- the parts

    @property
    def task(self) -> str:
        """The name of the task."""
        task: str = self["task"]
        return task

    @task.setter
    def task(self, name: str) -> None:
        self["task"] = name

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.task

    @property
    def args(self) -> Any:
        """Positional arguments."""
        return self["args"]

    @args.setter
    def args(self, args: Any) -> None:
        self["args"] = args

    @property
    def kwargs(self) -> Any:
        """Keyword arguments."""
        return self["kwargs"]

    @kwargs.setter
    def kwargs(self, kwargs: Any) -> None:
        self["kwargs"] = kwargs

    @property
    def options(self) -> dict[str, Any]:
        """Options of ``apply_async``."""
        options: dict[str, Any] = self["options"]
        return options

    @options.setter
    def options(self, options: dict[str, Any]) -> None:
        self["options"] = options

    @property
    def subtask_type(self) -> str | None:
        """``chain``, ``group``, ``chord`` or None."""
        return self.get("subtask_type")

    @subtask_type.setter
    def subtask_type(self, subtask_type: str | None) -> None:
        self["subtask_type"] = subtask_type

    @property
    def immutable(self) -> bool:
        """True: what comes before does not add its result to the arguments."""
        return bool(self.get("immutable"))

    @immutable.setter
    def immutable(self, immutable: bool) -> None:
        self["immutable"] = immutable

    @property
    def id(self) -> str | None:
        """The id of the task, where it is fixed."""
        return self.options.get("task_id")

    @property
    def parent_id(self) -> str | None:
        """The id of the task that sends it, where it is fixed."""
        return self.options.get("parent_id")

    @property
    def root_id(self) -> str | None:
        """The id of the first task of the workflow, where it is fixed."""
        return self.options.get("root_id")

    @property
    def app(self) -> Any:
        """The app that it was made from, else the current one."""
        return self._app if self._app is not None else current_app()

    @property
    def type(self) -> Any:
        """The task. Raises ``NotRegistered`` where this app has none of the name."""
        if self._type is not None:
            return self._type
        task = self.app.tasks.get(self["task"])
        if task is None:
            raise NotRegistered(self["task"])
        return task

    election = Refused("Celery's workers end when they hear of one (5.7); take a lock instead")

    # -- running

    def __call__(self, *partial_args: Any, **partial_kwargs: Any) -> R_co:
        """Run the task here and now, as a function."""
        args, kwargs, _ = self._merge(partial_args, partial_kwargs)
        value: R_co = self.type(*args, **kwargs)
        return value

    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> AsyncResult[R_co]:
        """Send it. The arguments are put before those that it has."""
        return self.apply_async(partial_args, partial_kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult[R_co]:
        """Send it, with more arguments (put before its own) and options (laid over its own)."""
        if args or kwargs or options:
            args, kwargs, options = self._merge(args, kwargs, options)
        else:
            args, kwargs, options = self["args"], self["kwargs"], self["options"]
        task = self._type
        if task is None:
            task = self.app.tasks.get(self["task"])
            if task is None:
                by_name: AsyncResult[R_co] = self.app.send_task(
                    self["task"], args, kwargs, **options
                )
                return by_name
        sent: AsyncResult[R_co] = task.apply_async(args, kwargs, **options)
        return sent

    def apply(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> EagerResult[R_co]:
        """Run it here and now; gives an ``EagerResult``."""
        args, kwargs, options = self._merge(args, kwargs, options)
        ran: EagerResult[R_co] = self.type.apply(args, kwargs, **options)
        return ran

    def __invert__(self) -> R_co:
        """``~sig``: send it and wait for its value."""
        return self.apply_async().get()

    def _merge(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> tuple[Any, Any, dict[str, Any]]:
        merged = laid_over(self["options"], options or {})
        if self.get("immutable") and not force:
            return self["args"], self["kwargs"], merged
        own_args, own_kwargs = self["args"], self["kwargs"]
        return (
            (*args, *own_args) if args else own_args,
            {**own_kwargs, **kwargs} if kwargs else own_kwargs,
            merged,
        )

    # -- making others of it

    def clone(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **opts: Any,
    ) -> Self:
        """A copy, with more arguments and options."""
        new_args, new_kwargs, options = self._merge(args, kwargs, opts)
        for name in ("link", "link_error"):
            if isinstance(options.get(name), list):
                options[name] = list(options[name])
        copy = type(self).__new__(type(self))
        dict.update(copy, self)
        copy["args"] = tuple(new_args)
        copy["kwargs"] = dict(new_kwargs)
        copy["options"] = options
        copy._app, copy._type = self._app, self._type
        return copy

    partial = clone

    def replace(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """A copy with other arguments, keyword arguments or options."""
        copy = self.clone()
        if args is not None:
            copy["args"] = tuple(args)
        if kwargs is not None:
            copy["kwargs"] = dict(kwargs)
        if options is not None:
            copy["options"] = dict(options)
        return copy

    def set(self, immutable: bool | None = None, **options: Any) -> Self:
        """Set options of ``apply_async``; gives itself."""
        if immutable is not None:
            self.set_immutable(immutable)
        self["options"].update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Say whether what comes before may add its result to the arguments."""
        self["immutable"] = immutable

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> AsyncResult[R_co]:
        """Fix the ids of all of it, and give the result that it will have."""
        place = {
            "task_id": _id,
            "group_id": group_id,
            "chord": chord,
            "root_id": root_id,
            "parent_id": parent_id,
            "group_index": group_index,
        }
        over = {name: value for name, value in place.items() if value is not None}
        data, (tail, _) = freeze_ids(self, over, self.app.new_id)
        self._take(data)
        result: AsyncResult[R_co] = result_from_tuple(tail, self.app)
        return result

    _freeze = freeze

    def _take(self, data: Mapping[str, Any]) -> None:
        """Become what was frozen."""
        self["options"] = data["options"]

    # -- what follows

    def _list_option(self, key: str) -> list[Any]:
        items = self["options"].get(key)
        if not isinstance(items, list):
            items = self["options"][key] = listed(items)
        return items

    def append_to_list_option(self, key: str, value: Any) -> Any:
        """Add to an option that is a list, unless it is there; gives the value."""
        items = self._list_option(key)
        if value not in items:
            items.append(value)
        return value

    def extend_list_option(self, key: str, value: Any) -> None:
        """Add one or more to an option that is a list."""
        self._list_option(key).extend(listed(value))

    def link(self, callback: Any) -> Any:
        """Call ``callback`` with the result once this has succeeded; gives the callback."""
        links_of(callback, "link")
        return self.append_to_list_option("link", callback)

    def link_error(self, errback: Any) -> Any:
        """Call ``errback`` where this has failed; gives the errback."""
        links_of(errback, "link_error")
        return self.append_to_list_option("link_error", errback)

    def on_error(self, errback: Any) -> Self:
        """As ``link_error``; gives itself."""
        self.link_error(errback)
        return self

    def flatten_links(self) -> list[Any]:
        """This, its callbacks, theirs, and so on."""
        found: list[Any] = [self]
        for link in listed(self["options"].get("link")):
            found.extend(maybe_signature(link, self._app).flatten_links())
        return found

    @overload  # type: ignore[override]  # a dictionary's | joins dictionaries
    def __or__(self, other: Signature[R]) -> Signature[R]: ...
    @overload
    def __or__(self, other: Mapping[str, Any]) -> Signature[Any]: ...

    def __or__(self, other: Any) -> Any:
        """``a | b``: first this, then ``other`` with its result."""
        if not isinstance(other, Mapping):
            return NotImplemented
        from umbel.canvas.piping import pipe

        return pipe(self, maybe_signature(other, self._app))

    # Dictionaries have these two as well, and mean something else by them.
    __ior__ = __or__  # type: ignore[assignment]  # so do all three

    def __ror__(self, other: Mapping[str, Any]) -> Signature[R_co]:  # type: ignore[override]
        if not isinstance(other, Mapping):
            return NotImplemented
        joined: Signature[R_co] = maybe_signature(other, self._app) | self
        return joined

    # -- stamps

    def stamp(
        self,
        visitor: StampingVisitor | None = None,
        append_stamps: bool = False,
        **headers: Any,
    ) -> Self:
        """Mark this and its callbacks with headers that monitors can find them by."""
        self.stamp_links(visitor, append_stamps, **headers)
        own = visitor.on_signature(self, **headers) if visitor is not None else None
        stamps = stamps_of(own, headers, self["options"], append=append_stamps)
        self.set(**stamps)
        return self

    def stamp_links(
        self,
        visitor: StampingVisitor | None,
        append_stamps: bool = False,
        **headers: Any,
    ) -> None:
        """Mark the callbacks and errbacks of this."""
        for name in ("link", "link_error"):
            links = self["options"].get(name)
            if not links:
                continue
            made = [maybe_signature(link, self._app) for link in listed(links)]
            for link in made:
                own = None
                if visitor is not None:
                    hook = visitor.on_callback if name == "link" else visitor.on_errback
                    own = hook(link, **headers)
                link.set(**stamps_of(own, headers, link["options"], append=append_stamps))
                link.stamp(visitor, append_stamps, **headers)
            self["options"][name] = made

    # -- being an object

    def reprcall(self, *args: Any, **kwargs: Any) -> str:
        """The call as Python writes it, with more arguments."""
        new_args, new_kwargs, _ = self._merge(args, kwargs, force=True)
        return reprcall(self["task"], new_args, new_kwargs)

    def __repr__(self) -> str:
        return self.reprcall()

    def __json__(self) -> dict[str, Any]:
        return dict(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return signature, (dict(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Signature:
        copy = signature({key: deepcopy(value, memo) for key, value in self.items()})
        copy._app, copy._type = self._app, self._type
        return copy

    def __copy__(self) -> Self:
        return self.clone()

    def copy(self) -> Self:
        """A copy."""
        return self.clone()

    def AsyncResult(self, task_id: str | None = None, **kwargs: Any) -> AsyncResult[R_co]:  # noqa: N802
        """The result of a call of this task: of this one, where its id is fixed."""
        task_id = task_id or self.id
        if task_id is None:
            raise ValueError(f"{self!r} has no id yet; freeze() gives one, or name the id")
        kwargs.setdefault("app", self.app)
        return AsyncResult(task_id, task_name=self.task, **kwargs)


_KEYS: tuple[tuple[str, Any], ...] = (
    ("args", tuple),
    ("kwargs", dict),
    ("options", dict),
    ("subtask_type", None),
    ("immutable", False),
)


@overload
def signature(varies: Signature[R], *args: Any, **kwargs: Any) -> Signature[R]: ...
@overload
def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature[Any]: ...


def signature(varies: Any, *args: Any, **kwargs: Any) -> Signature[Any]:
    """A signature of a task, its name, a dictionary, or another signature (which is copied)."""
    if isinstance(varies, Signature):
        return varies.clone()
    if isinstance(varies, Mapping):
        return Signature.from_dict(varies, app=kwargs.get("app"))
    return Signature(varies, *args, **kwargs)


subtask = signature


def maybe_signature(d: Any, app: Sender | None = None, clone: bool = False) -> Any:
    """A signature of a dictionary; a signature as it is; anything else as it is, too."""
    if isinstance(d, Signature):
        if clone:
            d = d.clone()
    elif isinstance(d, Mapping):
        d = signature(d)
    else:
        return d
    if app is not None and d._app is None:
        d._app = app
    return d
