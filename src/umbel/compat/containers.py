"""``celery.utils.collections`` and ``.objects``: dictionaries and objects that are like each other.

https://docs.celeryq.dev/en/stable/internals/reference/celery.utils.collections.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any


class AttributeDictMixin:
    """Lets a dictionary's keys be read and set as attributes."""

    def __getattr__(self, k: str) -> Any:
        try:
            return self[k]  # type: ignore[index]  # of what it is mixed into
        except KeyError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {k!r}") from None

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value


class AttributeDict(dict[str, Any], AttributeDictMixin):
    """A dictionary whose keys are attributes."""


class DictAttribute(MutableMapping[str, Any]):
    """An object whose attributes are keys."""

    obj: Any

    def __init__(self, obj: Any) -> None:
        object.__setattr__(self, "obj", obj)

    def __getattr__(self, key: str) -> Any:
        return getattr(self.obj, key)

    def __setattr__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __getitem__(self, key: str) -> Any:
        try:
            return getattr(self.obj, key)
        except AttributeError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self.obj, key, value)

    def __delitem__(self, key: str) -> None:
        delattr(self.obj, key)

    def __iter__(self) -> Iterator[str]:
        return iter(dir(self.obj))

    def __len__(self) -> int:
        return len(dir(self.obj))


class ChainMap(MutableMapping[Any, Any]):
    """Mappings as one: the first that has a key answers, and the first is written to."""

    def __init__(self, *maps: Any, **kwargs: Any) -> None:
        self.maps = [*maps, *([kwargs] if kwargs else [])] or [{}]

    @property
    def changes(self) -> Any:
        """What is written to."""
        return self.maps[0]

    @property
    def defaults(self) -> list[Any]:
        """What answers where nothing was written."""
        return self.maps[1:]

    def add_defaults(self, d: Any) -> None:
        """Add a mapping that answers before the other defaults."""
        self.maps.insert(1, force_mapping(d))

    def __getitem__(self, key: Any) -> Any:
        for each in self.maps:
            if key in each:
                return each[key]
        raise KeyError(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.changes[key] = value

    def __delitem__(self, key: Any) -> None:
        del self.changes[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(dict.fromkeys(key for each in reversed(self.maps) for key in each))

    def __len__(self) -> int:
        return len({key for each in self.maps for key in each})

    def __repr__(self) -> str:
        return f"ChainMap({', '.join(map(repr, self.maps))})"


def force_mapping(m: Any) -> Any:
    """A mapping as it is; an object as a mapping of its attributes."""
    return m if isinstance(m, Mapping) else DictAttribute(m)


def lpmerge(L: dict[Any, Any], R: Mapping[Any, Any]) -> dict[Any, Any]:  # noqa: N803 - Celery's
    """``L`` with what ``R`` says, None excepted; changes ``L`` and gives it."""
    L.update({key: value for key, value in R.items() if value is not None})
    return L


class Bunch:
    """An object with these attributes."""

    def __init__(self, **kwargs: Any) -> None:
        self.__dict__.update(kwargs)


def mro_lookup(
    cls: type, attr: str, stop: Any = None, monkey_patched: list[str] | None = None
) -> type | None:
    """The class, among the bases of one, that defines an attribute; None at one of ``stop``."""
    for node in cls.mro():
        if node in (stop or ()):
            return None
        if attr in vars(node):
            module = getattr(vars(node)[attr], "__module__", None)
            return None if module in (monkey_patched or ()) else node
    return None
