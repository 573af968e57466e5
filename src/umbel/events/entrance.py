"""``app.events``: the parts of this folder, bound to an app."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from umbel.events.dispatcher import EventDispatcher
from umbel.events.picture import State
from umbel.events.receiver import EventReceiver


class Events:
    """What an app offers to who sends events or hears them.

    A subclass of the app may name classes of its own in ``dispatcher_cls``, ``receiver_cls`` and
    ``state_cls``.
    """

    dispatcher_cls: Any = EventDispatcher
    receiver_cls: Any = EventReceiver
    state_cls: Any = State

    def __init__(self, app: Any = None) -> None:
        self.app = app

    @property
    def Receiver(self) -> Any:  # noqa: N802 - Celery's name
        """``app.events.Receiver(connection, handlers={...})``."""
        return partial(self.receiver_cls, app=self.app)

    @property
    def Dispatcher(self) -> Any:  # noqa: N802 - Celery's name
        """``app.events.Dispatcher(connection, hostname=...)``."""
        return partial(self.dispatcher_cls, app=self.app)

    @property
    def State(self) -> Any:  # noqa: N802 - Celery's name
        """``app.events.State()``: an empty picture."""
        return self.state_cls

    @contextmanager
    def default_dispatcher(
        self,
        hostname: str | None = None,
        enabled: bool = True,
        buffer_while_offline: bool = False,
    ) -> Iterator[EventDispatcher]:
        """A dispatcher over the app's own connection: ``with app.events.default_dispatcher() as d:
        d.send("my-event", field=1)``."""
        dispatcher = self.Dispatcher(
            hostname=hostname, enabled=enabled, buffer_while_offline=buffer_while_offline
        )
        with dispatcher:
            yield dispatcher
