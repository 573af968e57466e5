"""Stamps: headers that a canvas puts on each of its tasks, for monitors and for revoking.

``sig.stamp(visitor)`` walks the canvas and asks a ``StampingVisitor`` what to write at each place;
``sig.stamp(name=value)`` writes the same everywhere. A stamped signature has the value of each
stamp among its options, and their names in ``stamped_headers``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

# Stamps stand among the options, and these options hold a workflow together.
_NOT_STAMPS = frozenset(
    {
        "chain", "chord", "group_id", "group_index", "link", "link_error", "parent_id", "root_id",
        "task_id",
    }
)  # fmt: skip


class StampingVisitor(ABC):
    """What is asked while a canvas is stamped; subclass it.

    Each method gives a dictionary of headers, or None. Its key ``stamped_headers`` says which of
    them are stamps; without it, all are.
    """

    @abstractmethod
    def on_signature(self, sig: Any, **headers: Any) -> Any:
        """Every signature, also each member of a canvas."""

    def on_group_start(self, sig: Any, **headers: Any) -> Any:
        """A group, before its members."""
        return {}

    def on_group_end(  # noqa: B027 - optional
        self, sig: Any, **headers: Any
    ) -> None:
        """A group, after its members."""

    def on_chain_start(self, sig: Any, **headers: Any) -> Any:
        """A chain, before its steps."""
        return {}

    def on_chain_end(  # noqa: B027 - optional
        self, sig: Any, **headers: Any
    ) -> None:
        """A chain, after its steps."""

    def on_chord_header_start(self, sig: Any, **headers: Any) -> Any:
        """A chord, before the members of its header; as for a group, unless overridden."""
        from umbel.canvas.group import group

        if not isinstance(sig.tasks, group):
            sig.tasks = group(sig.tasks)
        return self.on_group_start(sig.tasks, **headers)

    def on_chord_header_end(self, sig: Any, **headers: Any) -> None:
        """A chord, after the members of its header."""
        self.on_group_end(sig.tasks, **headers)

    def on_chord_body(self, sig: Any, **headers: Any) -> Any:
        """A chord, before its body."""
        return {}

    def on_callback(self, callback: Any, **headers: Any) -> Any:
        """A callback (``link``)."""
        return {}

    def on_errback(self, errback: Any, **headers: Any) -> Any:
        """An errback (``link_error``)."""
        return {}


def stamps_of(
    own: Mapping[str, Any] | None,
    headers: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    append: bool = False,
) -> dict[str, Any]:
    """What is to be set on a signature that has ``options``.

    ``own`` is what the visitor gave for it, ``headers`` what comes from above. With ``append`` a
    stamp that is there becomes a list of both values; else the new one wins.
    """
    found: dict[str, Any] = {}
    names = list(options.get("stamped_headers") or ())
    for source in (headers, own or {}):
        stamped = source.get("stamped_headers")
        found.update({k: v for k, v in source.items() if k != "stamped_headers"})
        names += [k for k in (source if stamped is None else stamped) if k != "stamped_headers"]
    names = list(dict.fromkeys(names))
    if not names:
        return found
    if not _NOT_STAMPS.isdisjoint(names):
        taken = sorted(_NOT_STAMPS.intersection(names))
        raise ValueError(f"a stamp can't be called {taken[0]!r}: that is an option of apply_async")
    if append:
        for name in names:
            if name in found and name in options and found[name] != options[name]:
                found[name] = [*_listed(options[name]), *_listed(found[name])]
    return {**found, "stamped_headers": names}


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set) else [value]


def below(headers: Mapping[str, Any], own: Mapping[str, Any] | None) -> dict[str, Any]:
    """The headers that the members of a canvas are given: those from above, and the canvas's."""
    if not own:
        return dict(headers)
    merged = {**headers, **own}
    stamped = [*(headers.get("stamped_headers") or list(headers))]
    stamped += [*(own.get("stamped_headers") or list(own))]
    names = [name for name in dict.fromkeys(stamped) if name != "stamped_headers"]
    return {**merged, "stamped_headers": names}
