"""``task-sent``: what a sender tells of each message, where ``task_send_sent_event`` is on.

The message itself is the source of the fields, so that a call, the next step of a chain and a
retry tell the same. An event that can't be said is lost: sending tasks does not wait for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from umbel.events.emitter import Emitter
from umbel.model import ids
from umbel.model.errors import OperationalError
from umbel.model.message import Message
from umbel.wire.event_notices import sent_fields

logger = logging.getLogger(__name__)


class SentEvents:
    """Tells of messages for one process of an app; made anew after a fork."""

    def __init__(self, app: Any) -> None:
        conf = app.conf
        self._connections = app.connections
        self._emitter = Emitter(
            ids.origin(), app.clock, exchange=conf.event_exchange, serializer=conf.event_serializer
        )
        self._is_told = False

    def tell(self, messages: Sequence[Message]) -> None:
        """Tell of these, in one write."""
        make = self._emitter
        notices = [make.notice(make.event("task-sent", sent_fields(one))) for one in messages]
        if not notices:
            return
        try:
            self._connections.pair().broker.bus.say(notices)
        except OperationalError as error:
            if not self._is_told:
                self._is_told = True
                logger.warning("task-sent events are lost: %s", error)
        else:
            self._is_told = False
