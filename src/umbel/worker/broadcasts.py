"""Fanout queues of a worker: what it hears becomes messages of a queue of its own.

Theory of operation. A message that goes to a fanout exchange is said to the workers that listen and
kept nowhere. The supervisor listens, and publishes each message that it hears to a queue that only
this worker's children consume, named after the node; from then on it is a message like any other,
and all promises hold for it. A copy that is heard and not stored yet (the broker went away in
between) is tried again; a supervisor that is killed right there takes it along. What a killed
worker leaves in its queue is run by the next worker of that name.

A listener that is lost is made anew, with a pause, once the broker is back; what is said meanwhile
is missed, and the log says so. Nobody listens any more once the worker stops.
"""

from __future__ import annotations

import json
import logging
import select
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from umbel.model.clock import monotonic_s
from umbel.model.errors import OperationalError
from umbel.model.ids import new_id
from umbel.model.message import Message
from umbel.ports.broker import Broker
from umbel.ports.bus import Listener, Notice

logger = logging.getLogger(__name__)

_PAUSE_S = 1.0


class _Ear:
    """One fanout queue: what it listens to, and the listener while there is one."""

    def __init__(self, exchange: str, key: str) -> None:
        self.exchange = exchange
        self.key = key
        self.listener: Listener | None = None
        self.fd = -1
        self.has_listened = False


class Broadcasts:
    """Listens for one worker; used by the thread that owns ``poll`` and ``broker``."""

    def __init__(
        self,
        broker: Broker,
        queue: str,
        fanouts: Sequence[tuple[str, str]],
        poll: select.poll,
        *,
        now: Callable[[], float] = monotonic_s,
    ) -> None:
        """``fanouts``: (exchange, key) for each fanout queue; ``queue``: where copies go."""
        self._broker = broker
        self._queue = queue
        self._poll = poll
        self._now = now
        self._ears = [_Ear(exchange, key) for exchange, key in fanouts]
        self._is_listening = True
        self._again_at_s = 0.0
        # Heard, and not at the broker yet.
        self._heard: list[Message] = []

    def keep(self, *, is_away: bool = False) -> float | None:
        """Listen, and store what was heard; gives when to be called again (monotonic seconds).

        ``is_away``: the broker is known to be, and is not to be waited for once more.
        """
        if not self._heard and all(ear.listener for ear in self._ears):
            return None
        if not self._is_listening and not self._heard:
            return None
        now = self._now()
        if now < self._again_at_s:
            return self._again_at_s
        if not is_away:
            try:
                self._store()
                if self._is_listening:
                    self._listen()
            except OperationalError as error:
                logger.debug("broadcasts wait for the broker: %s", error)
            else:
                return None
        self._again_at_s = now + _PAUSE_S
        return self._again_at_s

    def is_readable(self, fd: int) -> bool:
        """Take what has arrived; False where the descriptor is none of ours."""
        for ear in self._ears:
            if ear.fd == fd and ear.listener is not None:
                self._take(ear, ear.listener)
                return True
        return False

    def stop(self) -> None:
        """Listen no more. What was heard is still stored by ``keep``."""
        self._is_listening = False
        for ear in self._ears:
            self._drop(ear)

    def close_in_fork(self) -> None:
        """In a child: let go of what is the parent's."""
        for ear in self._ears:
            if ear.listener is not None:
                ear.listener.close()
        self._ears = []

    def _listen(self) -> None:
        for ear in self._ears:
            if ear.listener is not None:
                continue
            ear.listener = self._broker.bus.listen(ear.exchange, [ear.key])
            ear.fd = ear.listener.fileno()
            self._poll.register(ear.fd, select.POLLIN)
            if ear.has_listened:
                logger.warning(
                    "Listening to the broadcasts of %r again; what was sent meanwhile is missed.",
                    ear.exchange,
                    extra={"event": "broadcasts-back"},
                )
            ear.has_listened = True
            # Something may have come together with the subscription.
            self._take(ear, ear.listener)

    def _take(self, ear: _Ear, listener: Listener) -> None:
        try:
            notices = listener.arrived(0)
        except OperationalError as error:
            logger.warning("%s", error, extra={"event": "broadcasts-lost"})
            self._drop(ear)
            return
        self._heard += [message_of(notice, self._queue) for notice in notices]
        with suppress(OperationalError):  # ``keep`` tries again
            self._store()

    def _store(self) -> None:
        if self._heard:
            self._broker.publish(self._heard)
            self._heard = []

    def _drop(self, ear: _Ear) -> None:
        listener, ear.listener = ear.listener, None
        if listener is not None:
            with suppress(KeyError):
                self._poll.unregister(ear.fd)
            ear.fd = -1
            listener.close()


def message_of(notice: Notice, queue: str) -> Message:
    """What was heard, as a message of a queue.

    What can't be read becomes one too: the child that gets it makes it a dead letter.
    """
    opened: Any = None
    with suppress(ValueError):
        opened = json.loads(notice.raw)
    opened = opened if isinstance(opened, dict) else {}
    headers, properties = (_mapping(opened.get(name)) for name in ("headers", "properties"))
    priority = properties.get("priority")
    return Message(
        id=str(headers.get("id") or ""),
        task=str(headers.get("task") or ""),
        queue=queue,
        priority=priority if type(priority) is int else 0,
        tag=str(properties.get("delivery_tag") or new_id()),
        raw=notice.raw,
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
