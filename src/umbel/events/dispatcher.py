"""``app.events.Dispatcher``: programs and tasks send events of their own with it.

Its surface is Celery's. Sending never raises because a broker is away: with
``buffer_while_offline`` the events are kept (a thousand of them) until one can be sent again,
without it they are lost.
https://docs.celeryq.dev/en/stable/reference/celery.events.dispatcher.html
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from umbel.events.emitter import Emitter
from umbel.model import ids
from umbel.model.errors import OperationalError
from umbel.ports.bus import Bus, Notice

logger = logging.getLogger(__name__)

# Events that wait for a broker that is away; more would only tell of the past.
_MOST_KEPT = 1000


def event(kind: str, _fields: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """``celery.events.Event``: an event as a dictionary, its type last; stamped with now."""
    from umbel.model.clock import unix_s

    found = {**(_fields or {}), **fields, "type": kind}
    found.setdefault("timestamp", unix_s())
    return found


def group_from(kind: str) -> str:
    """The group of an event's type: ``task`` of ``task-sent``."""
    return kind.partition("-")[0]


class EventDispatcher:
    """Sends events over a connection (``app.connection()``), or over the app's own.

    ``groups`` limits what is sent to these groups of events, ``buffer_group`` names those whose
    events are collected and sent as lists of ``buffer_limit``, or by ``flush``.
    """

    def __init__(
        self,
        connection: Any = None,
        hostname: str | None = None,
        enabled: bool = True,
        channel: Any = None,
        buffer_while_offline: bool = True,
        app: Any = None,
        serializer: str | None = None,
        groups: Iterable[str] | None = None,
        delivery_mode: int = 1,
        buffer_group: Iterable[str] | None = None,
        buffer_limit: int = 24,
        on_send_buffered: Callable[[], None] | None = None,
    ) -> None:
        if delivery_mode != 1:
            raise ValueError(f"delivery_mode {delivery_mode!r}: events are transient, which is 1")
        self.app = app
        self.connection = connection if channel is None else channel
        self.hostname = hostname or ids.origin()
        self.serializer = serializer or app.conf.event_serializer
        self.groups = set(groups or ())
        self.buffer_while_offline = buffer_while_offline
        self.buffer_group = frozenset(buffer_group or ())
        self.buffer_limit = buffer_limit
        self.on_send_buffered = on_send_buffered
        self.clock = app.clock
        self.pid = os.getpid()
        self.mutex = threading.Lock()
        self.on_enabled: set[Callable[[], None]] = set()
        self.on_disabled: set[Callable[[], None]] = set()
        self.enabled = False
        self._emitter = Emitter(
            self.hostname,
            app.clock,
            exchange=app.conf.event_exchange,
            serializer=self.serializer,
        )
        self._buffered: dict[str, list[dict[str, Any]]] = {}
        self._kept: deque[Notice] = deque(maxlen=_MOST_KEPT)
        self._is_told = False
        if enabled:
            self.enable()

    def enable(self) -> None:
        """Send from now on."""
        self.enabled = True
        for callback in self.on_enabled:
            callback()

    def disable(self) -> None:
        """Send nothing from now on."""
        if self.enabled:
            self.enabled = False
            for callback in self.on_disabled:
                callback()

    def send(
        self,
        type: str,  # noqa: A002 - Celery's name
        blind: bool = False,
        retry: bool = False,
        retry_policy: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Send an event with these fields; ``blind`` ones do not move the logical clock.

        ``retry`` and ``retry_policy``: a connection that is lost is opened again in any case.
        """
        group = group_from(type)
        if not self.enabled or (self.groups and group not in self.groups):
            return
        if group not in self.buffer_group:
            self._say([self._emitter.notice(self._emitter.event(type, fields, blind=blind))])
            return
        with self.mutex:
            waiting = self._buffered.setdefault(group, [])
            waiting.append(self._emitter.event(type, fields, blind=blind))
            is_full = len(waiting) >= self.buffer_limit
        if is_full:
            self.flush()
        elif self.on_send_buffered is not None:
            self.on_send_buffered()

    def publish(
        self,
        type: str,  # noqa: A002 - Celery's name
        fields: Mapping[str, Any],
        producer: Any = None,
        blind: bool = False,
        **kwargs: Any,
    ) -> None:
        """Send an event at once, whatever is buffered; ``producer`` has no meaning here."""
        self._say([self._emitter.notice(self._emitter.event(type, fields, blind=blind))])

    def flush(self, errors: bool = True, groups: bool = True) -> None:
        """Send what was kept while the broker was away (``errors``), and what is buffered."""
        notices: list[Notice] = []
        with self.mutex:
            if errors:
                notices += self._kept
                self._kept.clear()
            if groups:
                for group, events in self._buffered.items():
                    if events:
                        notices.append(self._emitter.list_notice(group, events))
                self._buffered = {}
        if notices:
            self._say(notices)

    def extend_buffer(self, other: EventDispatcher) -> None:
        """Take over what another dispatcher could not send."""
        self._kept.extend(other._kept)

    def close(self) -> None:
        """Forget the connection, which belongs to who gave it."""
        self.connection = None

    def _say(self, notices: list[Notice]) -> None:
        try:
            self._bus().say([*self._kept, *notices])
            self._kept.clear()
        except OperationalError as error:
            if self.buffer_while_offline:
                self._kept.extend(notices)
            if not self._is_told:
                self._is_told = True
                fate = "kept for later" if self.buffer_while_offline else "lost"
                logger.warning("Events can't be sent now, and are %s: %s", fate, error)
        else:
            self._is_told = False

    def _bus(self) -> Bus:
        if self.connection is not None:
            bus: Bus = self.connection.bus
        else:
            bus = self.app.connections.pair().broker.bus
        return bus

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OperationalError):
            self.flush()
        self.close()
