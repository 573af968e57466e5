"""``app.control``, put together: commands travel by the app's own connection, revocations are kept.

What of remote control must outlive the moment (which tasks must not run) is written down at the
broker, so that it also holds for workers that start later; the rest is said to who listens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from umbel.app.archive import TaskArchive
from umbel.control.client import Control, Inspect
from umbel.control.mailbox import Mailbox, Manners
from umbel.model.refused import Refused
from umbel.ports.bus import Bus
from umbel.ports.current import current_app
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


class AppInspect(Inspect):
    """``Inspect`` as programs make it: by an app, else by the current one."""

    def __init__(
        self,
        destination: Sequence[str] | str | None = None,
        timeout: float = 1.0,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        connection: Any = None,
        app: Any = None,
        limit: int | None = None,
        pattern: str | None = None,
        matcher: str | None = None,
    ) -> None:
        self.app = app or current_app()
        self.connection = connection
        super().__init__(
            self.app.control, destination, timeout, callback, connection, limit, pattern, matcher
        )


class AppControl(Control):
    """``Control`` of an app, else of the current one."""

    Mailbox = Refused("app.control.mailbox carries the commands")

    def __init__(self, app: Any = None) -> None:
        self.app = app = app or current_app()

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

        super().__init__(Mailbox(bus, manners, app.clock), _Kept(app))

    def inspect(self, *args: Any, **kwargs: Any) -> Inspect:
        """Questions: ``inspect(destination, timeout=1.0, callback, connection, limit=...)``."""
        return AppInspect(*args, **{"app": self.app, **kwargs})
