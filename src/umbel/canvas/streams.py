"""A list that is read from an iterator as it is needed: the members of ``group(generator)``.

A group of a million members must not stand in memory before the first of them is sent, and may
still be looked at (``repr``), sent twice or nested in another canvas: what was read is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


class Stream:
    """An iterable that remembers what it has given."""

    __slots__ = ("_kept", "_rest")

    def __init__(self, source: Iterable[Any]) -> None:
        self._kept: list[Any] = []
        self._rest: Iterator[Any] | None = iter(source)

    def __iter__(self) -> Iterator[Any]:
        kept = self._kept
        at = 0
        while True:
            while at < len(kept):
                yield self._unpacked(kept[at])
                at += 1
            if self._rest is None:
                return
            try:
                item = next(self._rest)
            except StopIteration:
                self._rest = None
            else:
                kept.append(self._packed(item))
                at += 1
                yield item

    def _packed(self, item: Any) -> Any:
        """What is kept of an item; a subclass may know something smaller."""
        return item

    def _unpacked(self, kept: Any) -> Any:
        """The item again, or one that is equal."""
        return kept

    def read(self) -> list[Any]:
        """All of it."""
        if self._rest is not None:
            for _ in self:
                pass
        return self._kept

    def __len__(self) -> int:
        return len(self.read())

    def __bool__(self) -> bool:
        return next(iter(self), self) is not self

    def __getitem__(self, position: Any) -> Any:
        return self.read()[position]

    def __json__(self) -> list[Any]:
        return self.read()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Stream | list | tuple):
            return self.read() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it is a list

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Any]:
        from copy import deepcopy

        return deepcopy(self.read(), memo)

    def __reduce__(self) -> tuple[Any, ...]:
        # A generator can't be copied or sent; the list that it makes can.
        return list, (self.read(),)

    def __repr__(self) -> str:
        return f"<_regen: {self.read()!r}>"


def sequence_of(items: Iterable[Any], kind: type[Stream] = Stream) -> Any:
    """A list or tuple as it is, anything else as a ``Stream``."""
    return items if isinstance(items, list | tuple | Stream) else kind(items)
