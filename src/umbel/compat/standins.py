"""Modules that carry Celery's names, and what stands where umbel has nothing yet.

A stand-in looks a name up when it is first asked for, so that ``import celery`` loads no more than
``import umbel``, and hands out umbel's own object: ``celery.result.AsyncResult is
umbel.AsyncResult``. What is not built can be imported, because programs import more than they use;
using it raises ``NotBuiltYet`` with its name and what to use meanwhile.
"""

from __future__ import annotations

import importlib
from collections.abc import Container, Mapping
from types import ModuleType
from typing import Any, NoReturn, Self

from umbel.model.errors import NotBuiltYet


class NotBuiltModule(ModuleNotFoundError, NotBuiltYet):
    """A module of Celery that umbel does not have; ``except ImportError`` catches it."""


class Refusal:
    """Stands for one object that is not built: harmless until it is used.

    Calling it, subclassing it or reading an attribute raises. It may stand in annotations, and
    nothing is an instance of it.
    """

    __slots__ = ("_instead", "_name")

    def __init__(self, name: str, instead: str) -> None:
        self._name = name
        self._instead = instead

    def refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """Say what is missing and what to use."""
        raise NotBuiltYet(f"{self._name} is not built yet: {self._instead}")

    __call__ = refuse
    __mro_entries__ = refuse
    __enter__ = refuse
    __iter__ = refuse
    __getitem__ = refuse

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # asked by doctest, mock, inspect, pickle: no use
        self.refuse()

    def __instancecheck__(self, instance: object) -> bool:
        return False

    def __subclasscheck__(self, subclass: type) -> bool:
        return False

    def __or__(self, other: object) -> Self:
        return self

    __ror__ = __or__

    def __repr__(self) -> str:
        return f"<{self._name}: not built yet>"


class StandIn(ModuleType):
    """A module whose names are found elsewhere.

    ``targets`` maps each name to ``module:attribute``, ``children`` names its submodules; with
    ``instead``, every other name is a ``Refusal``. ``is_written_through``: what is set here is set
    on the target too, for those who replace Celery's functions.
    """

    def __init__(
        self,
        name: str,
        targets: Mapping[str, str],
        children: Container[str],
        instead: str | None,
        *,
        is_written_through: bool = False,
    ) -> None:
        super().__init__(name, f"The names of Celery's ``{name}``, as umbel has them.")
        self._targets = targets
        self._children = children
        self._instead = instead
        self._is_written_through = is_written_through
        self.__all__ = list(targets)

    def __getattr__(self, name: str) -> Any:
        found = self._find(name)
        setattr(self, name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        targets = self.__dict__.get("_targets", {})
        if self.__dict__.get("_is_written_through") and name in targets:
            module, _, attribute = targets[name].partition(":")
            setattr(importlib.import_module(module), attribute, value)

    def _find(self, name: str) -> Any:
        if name in self._targets:
            module, _, attribute = self._targets[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        # ``import celery; celery.schedules.crontab`` works there, because something imported the
        # submodule already.
        if name in self._children:
            return importlib.import_module(f"{self.__name__}.{name}")
        if self._instead is not None:
            return Refusal(f"{self.__name__}.{name}", self._instead)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} in umbel")

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._targets})
