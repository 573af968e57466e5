"""What a supervisor does beside keeping children, as far as its worker was asked for it.

It tells of itself (worker events), hears broadcasts, grows and shrinks by the work that waits, and
obeys remote control. None of these may hold the loop up, and none of them is needed to run tasks:
each knows how to go on when the broker is away.
"""

from __future__ import annotations

import select
from functools import partial

from umbel.events.emitter import Emitter
from umbel.model.queues import own_queue
from umbel.worker.announcing import Announcer
from umbel.worker.autoscale import Autoscaler, keepalive_s
from umbel.worker.broadcasts import Broadcasts
from umbel.worker.desk import Desk
from umbel.worker.nursery import Nursery
from umbel.worker.remote import Remote


class Duties:
    """The further duties of one worker, from the moment at which its broker is known."""

    def __init__(self, desk: Desk, nursery: Nursery, poll: select.poll) -> None:
        briefing = desk.briefing
        self._upkeep = desk.upkeep
        self._announcer = _announcer(desk, nursery)
        self._broadcasts: Broadcasts | None = None
        if briefing.fanouts:
            ways = [(exchange, key) for exchange, _, key in briefing.fanouts]
            self._broadcasts = Broadcasts(desk.broker, own_queue(desk.node), ways, poll)
        self._autoscaler: Autoscaler | None = None
        if briefing.autoscale is not None:
            self._autoscaler = Autoscaler(
                desk.staff.seats,
                desk.broker,
                lambda: desk.queues,
                briefing.autoscale,
                keepalive_s=keepalive_s(),
            )
        self._remote: Remote | None = None
        if briefing.control.is_on:
            self._remote = Remote(desk._replace(autoscaler=self._autoscaler), nursery, poll)

    def is_readable(self, fd: int) -> bool:
        """See to a descriptor that ``poll`` has named; False where it is none of these."""
        if self._broadcasts is not None and self._broadcasts.is_readable(fd):
            return True
        return self._remote is not None and self._remote.is_readable(fd)

    def keep(self, *, is_working: bool, is_leaving: bool) -> int | None:
        """Do what is due; gives when to look again (monotonic ns)."""
        is_away = self._upkeep.outage.is_on
        wakes: list[float | None] = []
        if self._broadcasts is not None:
            wakes.append(self._broadcasts.keep(is_away=is_away))
        if self._autoscaler is not None and is_working:
            wakes.append(self._autoscaler.keep())
        if self._remote is not None:
            wakes.append(self._remote.keep())
        wakes_ns = [int(wake_s * 1e9) for wake_s in wakes if wake_s is not None]
        if self._announcer is not None and not is_leaving:
            wakes_ns.append(self._announcer.keep(is_away=is_away))
        return min(wakes_ns, default=None)

    def beat(self) -> None:
        """Send a heartbeat event, where events are sent."""
        if self._announcer is not None:
            self._announcer.beat()

    def answered(self, number: int, text: str) -> None:
        """The app has answered what remote control had asked it."""
        if self._remote is not None:
            self._remote.answered(number, text)

    def forget_asked(self) -> None:
        """The app is gone, and what it was asked with it."""
        if self._remote is not None:
            self._remote.forget_asked()

    def stop(self) -> None:
        """Take on nothing new; the worker stops."""
        if self._broadcasts is not None:
            self._broadcasts.stop()

    def leave(self) -> None:
        """Say good-bye to who listens."""
        if self._announcer is not None:
            self._announcer.leave()

    def close(self) -> None:
        """Let go of all connections."""
        self.stop()
        if self._remote is not None:
            self._remote.close()

    def close_in_fork(self) -> None:
        """In a forked process: the same, without a word to anybody."""
        if self._broadcasts is not None:
            self._broadcasts.close_in_fork()
        if self._remote is not None:
            self._remote.close_in_fork()


def _announcer(desk: Desk, nursery: Nursery) -> Announcer | None:
    events = desk.briefing.events
    if events.heartbeat_s is None:  # --without-heartbeat
        return None
    told = partial(nursery.tell, "heartbeat_sent", {}) if events.is_beat_told else None
    return Announcer(
        desk.broker.bus,
        Emitter(desk.node, desk.clock, exchange=events.exchange, serializer=events.serializer),
        interval_s=events.heartbeat_s,
        counts=desk.staff.counts,
        on_beat=told,
    )
