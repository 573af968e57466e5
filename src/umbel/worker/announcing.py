"""A worker's own events: that it is there, that it lives, that it goes.

The supervisor sends them, so that a worker whose tasks hang is still seen to live. They are sent
with and without task events, as in Celery, and stop with ``--without-heartbeat``. While the broker
is away nothing is tried: when it is back the worker is announced anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from umbel.events.emitter import Emitter
from umbel.model.clock import monotonic_s
from umbel.model.version import VERSION
from umbel.ports.bus import Bus

logger = logging.getLogger(__name__)

IDENT = "umbel"


class Announcer:
    """The worker's voice."""

    def __init__(
        self,
        bus: Bus,
        emitter: Emitter,
        *,
        interval_s: float,
        counts: Callable[[], tuple[int, int]],
        on_beat: Callable[[], None] | None = None,
    ) -> None:
        self._bus = bus
        self._emitter = emitter
        self._interval_s = interval_s
        self._counts = counts  # (tasks that run, tasks that have ended)
        self._on_beat = on_beat
        self._is_known = False  # has said that it is there
        self._is_told = False
        self._at_s = monotonic_s()

    def keep(self, *, is_away: bool) -> int:
        """Send the heartbeat that is due; gives when the next one is (monotonic ns)."""
        now = monotonic_s()
        if now >= self._at_s:
            self._at_s = now + self._interval_s
            if is_away:
                self._is_known = False
            else:
                self.beat()
        return int(self._at_s * 1e9)

    def beat(self) -> None:
        """Send a heartbeat now; the first one is ``worker-online``."""
        self._is_known = self._say("worker-heartbeat" if self._is_known else "worker-online")
        if self._is_known and self._on_beat is not None:
            self._on_beat()

    def leave(self) -> None:
        """Say that the worker goes, if it has said that it is there."""
        if self._is_known:
            self._say("worker-offline")
            self._is_known = False

    def _say(self, kind: str) -> bool:
        try:
            event = self._emitter.event(kind, self._facts())
            self._bus.say([self._emitter.notice(event)])
        except Exception as error:  # noqa: BLE001 - nothing about an event may disturb the worker
            if not self._is_told:
                self._is_told = True
                logger.warning(
                    "This worker's heartbeats for monitors can't be sent: %s",
                    error,
                    extra={"event": "heartbeat-lost"},
                )
            return False
        self._is_told = False
        return True

    def _facts(self) -> dict[str, Any]:
        active, processed = self._counts()
        return {
            "freq": self._interval_s,
            "active": active,
            "processed": processed,
            "loadavg": [round(load, 2) for load in os.getloadavg()],
            "sw_ident": IDENT,
            "sw_ver": VERSION,
            "sw_sys": os.uname().sysname,
        }
