"""What signatures and tasks need of an app to send calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from umbel.model.call import Call
from umbel.model.join import JoinOpening
from umbel.ports.archive import Archive
from umbel.ports.registry import Registry


class Sender(Protocol):
    """An app, as the canvas and results see it."""

    @property
    def tasks(self) -> Registry:
        """The registry, finalized."""
        ...

    @property
    def archive(self) -> Archive:
        """Where results are kept."""
        ...

    @property
    def conf(self) -> Any:
        """The settings, as attributes."""
        ...

    def new_id(self) -> str:
        """A task or group id, of the kind that the engine likes."""
        ...

    def send(self, items: Iterable[Call | JoinOpening]) -> None:
        """Publish calls and open joins, in order, in batches, as the iterable is read.

        A ``JoinOpening`` is applied in the same step as the batch that holds the next call, so a
        canvas that streams its header puts the opening before its last call. Returns when the
        broker has everything. Raises what ``Broker.publish`` raises, and ``EncodeError``.
        """
        ...
