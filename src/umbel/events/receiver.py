"""``app.events.Receiver``: hears events and hands them to handlers. Its surface is Celery's.

It listens on a connection of its own from the first ``capture`` on. One that breaks is made anew,
with pauses, and said once; what was sent meanwhile was not heard. An event that can't be read is
logged and passed over.
https://docs.celeryq.dev/en/stable/userguide/monitoring.html#real-time-processing
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any

from umbel.events.emitter import utcoffset
from umbel.model import ids
from umbel.model.clock import monotonic_s, unix_s
from umbel.model.errors import OperationalError, UmbelError
from umbel.ports.bus import Listener, Notice
from umbel.wire import event_notices, serializers

logger = logging.getLogger(__name__)

Event = dict[str, Any]
Handler = Callable[[Event], Any]

# How long one wait lasts, so that ``should_stop`` is seen.
_TURN_S = 1.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class EventReceiver:
    """Hears the events of a broker.

    ``handlers`` maps types of events to functions of one event; ``"*"`` is for all that have none.
    ``routing_key`` limits what is heard: ``"worker.#"``; ``"task.#"`` for events of tasks.
    """

    def __init__(
        self,
        channel: Any,
        handlers: Mapping[str, Handler] | None = None,
        routing_key: str = "#",
        node_id: str | None = None,
        app: Any = None,
        queue_prefix: str | None = None,
        accept: Iterable[str] | None = None,
        queue_ttl: float | None = None,
        queue_expires: float | None = None,
        queue_exclusive: bool | None = None,
        queue_durable: bool | None = None,
    ) -> None:
        # What the queue_ options say of a queue has no meaning where listeners have none.
        self.app = app
        self.channel = channel
        self.handlers: Mapping[str, Handler] = {} if handlers is None else handlers
        self.routing_key = routing_key
        self.node_id = node_id or ids.new_id()
        self.exchange: str = app.conf.event_exchange
        self.accept = serializers.content_types(accept or {app.conf.event_serializer, "json"})
        self.clock = app.clock
        self.adjust_clock = app.clock.adjust
        self.forward_clock = app.clock.forward
        self.should_stop = False
        self._listener: Listener | None = None

    @property
    def connection(self) -> Any:
        """What it listens at."""
        return self.channel

    # - Hearing

    def capture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> None:
        """Hand events to the handlers until ``should_stop`` is set, or after ``limit`` messages.

        Raises ``TimeoutError`` (the built-in one) when nothing came for ``timeout`` seconds.
        ``wakeup`` asks all workers for a heartbeat first, so that they are known at once.
        """
        for _ in self.itercapture(limit=limit, timeout=timeout, wakeup=wakeup):
            pass

    def itercapture(
        self, limit: int | None = None, timeout: float | None = None, wakeup: bool = True
    ) -> Iterator[None]:
        """``capture``, a message at a time: comes back after each."""
        heard = 0
        self.listen()
        try:
            if wakeup:
                self.wakeup_workers()
            quiet_since_s = monotonic_s()
            while not self.should_stop:
                for notice in self._heard(self._patience(quiet_since_s, timeout)):
                    self._receive(notice)
                    quiet_since_s = monotonic_s()
                    heard += 1
                    yield
                    if self.should_stop or (limit and heard >= limit):
                        return
                if timeout is not None and monotonic_s() - quiet_since_s >= timeout:
                    raise TimeoutError(f"no event came for {timeout} s")
        finally:
            self.close()

    consume = itercapture

    def listen(self) -> None:
        """Hear from now on; ``capture`` does it by itself. Raises ``OperationalError``."""
        if self._listener is None:
            self._listener = self.channel.bus.listen(self.exchange, (self.routing_key,))

    def close(self) -> None:
        """Stop hearing; a later ``capture`` starts again."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def wakeup_workers(self, channel: Any = None) -> None:
        """Ask all workers for a heartbeat."""
        try:
            self.app.control.heartbeat()
        except OperationalError as error:
            logger.debug("workers are not asked for a heartbeat: %s", error)

    def _patience(self, quiet_since_s: float, timeout: float | None) -> float:
        if timeout is None:
            return _TURN_S
        return min(_TURN_S, max(timeout - (monotonic_s() - quiet_since_s), 0.0))

    def _heard(self, timeout_s: float) -> list[Notice]:
        try:
            self.listen()
            assert self._listener is not None
            return self._listener.arrived(timeout_s)
        except OperationalError as error:
            self.close()
            logger.warning(
                "Events can't be heard now: %s. Trying again until they can.",
                error,
                extra={"event": "events-lost"},
            )
        self._listen_again()
        return []

    def _listen_again(self) -> None:
        pauses = (min(_FIRST_PAUSE_S * 2**n, _LONGEST_PAUSE_S) for n in count())
        for pause_s in pauses:
            if self.should_stop:
                return
            threading.Event().wait(pause_s * random.uniform(0.5, 1.0))
            try:
                self.listen()
            except OperationalError:
                continue
            logger.warning("Events are heard again.", extra={"event": "events-back"})
            return

    # - Understanding

    def _receive(self, notice: Notice) -> None:
        try:
            events = event_notices.read(notice.raw, self.accept)
        except UmbelError as error:
            logger.warning("An event under %s can't be read: %s", notice.routing_key, error)
            return
        for body in events:
            self.process(*self.event_from_message(body))

    def process(self, type: str, event: Event) -> None:  # noqa: A002 - Celery's name
        """Hand one event to its handler."""
        handler = self.handlers.get(type) or self.handlers.get("*")
        if handler is not None:
            handler(event)

    def event_from_message(self, body: Event, localize: bool = True) -> tuple[str, Event]:
        """The type of an event, and the event with its time in our zone and our clock moved on.

        Adds ``local_received``. Clients' clocks follow nobody's, so ``task-sent`` gets a number
        just before our own.
        """
        kind: str = body["type"]
        if kind == "task-sent":
            body["clock"] = max((self.clock.value or 1) - 1, 0)
            self.adjust_clock(body["clock"])
        elif type(body.get("clock")) is int:
            self.adjust_clock(body["clock"])
        else:
            body["clock"] = self.forward_clock()
        if localize:
            offset, timestamp = body.get("utcoffset"), body.get("timestamp")
            if isinstance(offset, int | float) and isinstance(timestamp, int | float):
                body["timestamp"] = timestamp - (offset - utcoffset()) * 3600
        body["local_received"] = unix_s()
        return kind, body
