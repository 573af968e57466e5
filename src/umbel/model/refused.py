"""Attributes that Celery documents and umbel does not have: reading one says what to use instead.

The error is an ``AttributeError`` too, so that ``hasattr`` says what is true. An instance or a
subclass may still set an attribute of the name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from umbel.model.errors import NotBuiltYet

T = TypeVar("T")


class NotBuiltAttribute(NotBuiltYet, AttributeError):
    """Somebody asked for an attribute that is not built."""


class Refused:
    """One such attribute: ``election = Refused("take a lock at your broker")``."""

    __slots__ = ("_instead", "_name")

    def __init__(self, instead: str) -> None:
        self._instead = instead
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"{owner.__name__}.{name}"

    def __get__(self, instance: Any, owner: type) -> NoReturn:
        raise NotBuiltAttribute(f"{self._name} is not built: {self._instead}")


def refusing(instead: str, names: str) -> Callable[[type[T]], type[T]]:
    """A class decorator: these attributes are refused where the class has none of the name."""

    def decorate(kind: type[T]) -> type[T]:
        for name in names.split():
            if not hasattr(kind, name):
                refused = Refused(instead)
                refused.__set_name__(kind, name)
                setattr(kind, name, refused)
        return kind

    return decorate
