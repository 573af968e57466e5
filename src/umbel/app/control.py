"""``app.control``, put together: commands travel by the app's own connection, revocations are kept.

What of remote control must outlive the moment (which tasks must not run) is written down at the
broker, so that it also holds for workers that start later; the rest is said to who listens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from umbel.app.archive import TaskArchive
from umbel.control.client import Control
from umbel.control.mailbox import Mailbox, Manners
from umbel.ports.bus import Bus
from umbel.wire import serializers


class _Kept:
    def __init__(self, app: Any) -> None:
        self._app = app
        self._archive: TaskArchive = app.archive

    def remember_revoked(self, task_ids: Sequence[str]) -> None:
        self._archive.remember_revoked(task_ids)

    def remember_revoked_stamps(self, stamps: Mapping[str, Sequence[str]]) -> None:
        self._archive.remember_revoked_stamps(stamps)

    def purge(self) -> int:
        broker = self._app.connections.pair().broker
        return sum(broker.purge(queue) for queue in self._app.routing.consumed_queues())


def control_of(app: Any) -> Control:
    """The remote control of an app."""

    def bus() -> Bus:
        found: Bus = app.connections.pair().broker.bus
        return found

    def manners() -> Manners:
        conf = app.conf
        return Manners(
            conf.control_exchange,
            conf.task_serializer,
            serializers.content_types(conf.accept_content),
        )

    return Control(Mailbox(bus, manners, app.clock), _Kept(app))
