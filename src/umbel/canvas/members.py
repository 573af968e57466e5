"""The members of ``group(generator)``, kept small: of those that are alike only their arguments.

A signature takes 850 bytes, and most of what a generator gives are signatures of one task that
differ in their positional arguments (bench/wide.py: 100,000 of them 1.2 KB each on the caller's
side with their results, 0.5 KB so). Iterating makes equal ones again; once all are asked for as a
list, they are signatures that stay, because they may be changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from umbel.canvas.signature import Signature
from umbel.canvas.streams import Stream


class _Like(NamedTuple):
    """What members have in common."""

    task: str
    immutable: bool
    attributes: dict[str, Any]


class _Odd(NamedTuple):
    """A member that is a tuple, and so no signature: not to be taken for arguments."""

    item: Any


class Members(Stream):
    """A ``Stream`` of signatures."""

    __slots__ = ("_is_packing", "_like")

    def __init__(self, source: Iterable[Any]) -> None:
        super().__init__(source)
        self._like: _Like | None = None
        self._is_packing = True

    def read(self) -> list[Any]:
        """All of them; what is done to one of these is done to the group."""
        if self._is_packing:
            super().read()
            self._is_packing = False
            self._kept[:] = [self._unpacked(kept) for kept in self._kept]
            self._like = None
        return super().read()

    def _packed(self, item: Any) -> Any:
        if type(item) is not Signature:
            return _Odd(item) if type(item) is tuple else item
        args, get = item.get("args"), item.get
        if (
            type(args) is not tuple
            or get("options")
            or get("kwargs")
            or get("subtask_type", "") is not None
            or len(item) != 6
        ):
            return item
        like = self._like
        if like is None:
            like = self._like = _Like(item["task"], item["immutable"], dict(vars(item)))
        is_alike = (
            get("task") == like.task
            and get("immutable") is like.immutable
            and vars(item) == like.attributes
        )
        return args if is_alike else item

    def _unpacked(self, kept: Any) -> Any:
        if type(kept) is tuple and self._like is not None:
            task, immutable, attributes = self._like
            made = Signature(task, kept, immutable=immutable)
            vars(made).update(attributes)
            return made
        return kept.item if type(kept) is _Odd else kept
