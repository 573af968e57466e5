"""From something that happens to the notice that tells of it.

An emitter is one voice: a client, a worker's supervisor. It numbers its events by a logical clock
and stamps them; saying them is left to who holds a bus.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from umbel.model.clock import unix_s
from umbel.model.lamport import LamportClock
from umbel.ports.bus import Notice
from umbel.wire import event_notices
from umbel.wire.event_notices import Speaker


def utcoffset() -> float:
    """Hours that the local clock is behind UTC: 5.0 in New York's winter."""
    is_summer = time.localtime().tm_isdst > 0
    return (time.altzone if is_summer else time.timezone) / 3600


class Emitter:
    """Makes the notices of one voice. After a fork it speaks with the new process's id."""

    def __init__(
        self,
        hostname: str,
        clock: LamportClock,
        *,
        exchange: str = event_notices.EXCHANGE,
        serializer: str = "json",
        now: Callable[[], float] = unix_s,
    ) -> None:
        self.hostname = hostname
        self.clock = clock
        self.exchange = exchange
        self.serializer = serializer
        self._now = now

    @property
    def speaker(self) -> Speaker:
        """Who speaks."""
        return Speaker(self.hostname, os.getpid(), self.exchange, self.serializer)

    def event(self, kind: str, fields: Mapping[str, Any], *, blind: bool = False) -> dict[str, Any]:
        """An event that happens now; a blind one does not move the clock."""
        return event_notices.event(
            self.speaker,
            kind,
            fields,
            clock=self.clock.value if blind else self.clock.forward(),
            timestamp=self._now(),
            utcoffset=utcoffset(),
        )

    def notice(self, event: Mapping[str, Any]) -> Notice:
        """One event, under its own key. Raises ``EncodeError``."""
        return self._notice(event_notices.routing_key(event["type"]), event)

    def list_notice(self, group: str, events: Sequence[Mapping[str, Any]]) -> Notice:
        """Several events of a group. Raises ``EncodeError``."""
        return self._notice(event_notices.group_key(group), events)

    def _notice(self, key: str, body: Any) -> Notice:
        return Notice(self.exchange, key, event_notices.envelope(self.speaker, key, body))
