"""What ``@app.task`` and ``@shared_task`` promise to type checkers.

A decorated function keeps its signature: ``add.delay(1, "x")`` is checked as ``add(1, "x")`` is,
and ``add.delay(1, 2).get()`` is known to be what ``add`` returns. There is nothing to run in this
room; ``docs/typing.md`` says what can't be checked, and ``tests/typing`` holds both to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from umbel.app.task import Task

# Of functions: these have no defaults, unlike those of the classes.
P = ParamSpec("P")
R = TypeVar("R")
K = TypeVar("K", bound=Task)


class TaskWithBase(Task[P, R]):
    """A task with ``base=``: it has attributes that only its base class knows.

    For type checkers alone: Python has no name for "a subclass of this and of that".
    """

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


class PlainDecorator(Protocol):
    """Makes a task of a function."""

    def __call__(self, fun: Callable[P, R], /) -> Task[P, R]: ...


class BoundDecorator(Protocol):
    """Makes a task of a function whose first argument is the task (``bind=True``)."""

    def __call__(self, fun: Callable[Concatenate[Any, P], R], /) -> Task[P, R]: ...


class PlainDecoratorWithBase(Protocol):
    """Makes a task of a function, with a class of its own."""

    def __call__(self, fun: Callable[P, R], /) -> TaskWithBase[P, R]: ...


class BoundDecoratorWithBase(Protocol):
    """Makes a task of a function whose first argument is the task, with a class of its own."""

    def __call__(self, fun: Callable[Concatenate[Any, P], R], /) -> TaskWithBase[P, R]: ...


class LooseDecorator(Protocol):
    """Makes a task whose arguments are not what the function says, as with ``pydantic=True``."""

    def __call__(self, fun: Callable[..., Any], /) -> TaskWithBase[..., Any]: ...


class TaskDecorator(Protocol):
    """``@app.task``, ``@app.task(...)``, ``@shared_task``, ``@shared_task(...)``."""

    @overload
    def __call__(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    # What is sent to a task with pydantic=True may be a model or its dictionary.
    @overload
    def __call__(self, *, pydantic: Literal[True], **options: Any) -> LooseDecorator: ...
    @overload
    def __call__(
        self, *, bind: Literal[True], base: object, **options: Any
    ) -> BoundDecoratorWithBase: ...
    @overload
    def __call__(
        self, *, base: object, bind: Literal[False] = False, **options: Any
    ) -> PlainDecoratorWithBase: ...
    @overload
    def __call__(self, *, bind: Literal[True], **options: Any) -> BoundDecorator: ...
    @overload
    def __call__(self, *, bind: Literal[False] = False, **options: Any) -> PlainDecorator: ...
    @overload
    def __call__(self, *args: Any, **options: Any) -> Any: ...
