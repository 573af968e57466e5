"""A worker's ear for remote control: it listens for commands, and answers who asked.

Theory of operation. Part of the supervisor's loop: the listener's descriptor stands in its
``poll``, and nothing here waits. *Deaf* (no listener: at first, after an outage) it tries again
with growing pauses, and not while the broker is known to be away; what was said meanwhile is
missed, as pub/sub goes. What the app must answer is passed to the nursery, and its answer goes out
when it comes; a nursery that dies or hangs leaves the caller to its timeout, and the question is
forgotten here.
"""

from __future__ import annotations

import logging
import random
import select
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from umbel.model.clock import monotonic_s
from umbel.model.errors import OperationalError, UmbelError
from umbel.ports.bus import Listener, Notice
from umbel.wire import json_forms, pidbox
from umbel.wire.pidbox import Command
from umbel.worker import panel
from umbel.worker.desk import SILENCE, Desk, FromApp

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
# Nobody waits for an answer for longer.
_MEMORY_S = 60.0
_MOST_ASKED = 1000


class Nursery(Protocol):
    """Who has the app."""

    def ask(self, number: int, method: str, arguments: Mapping[str, Any]) -> bool:
        """Pass a question on; False where it can't be asked now."""
        ...


class _Asked(NamedTuple):
    command: Command
    finish: Callable[[Any], Any] | None
    at_s: float


class Remote:
    """Remote control of one worker. Stopping twice is legal."""

    def __init__(
        self,
        desk: Desk,
        nursery: Nursery,
        poll: select.poll,
        *,
        now: Callable[[], float] = monotonic_s,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._desk = desk
        self._nursery = nursery
        self._poll = poll
        self._now = now
        self._jitter = jitter
        self._exchange = pidbox.exchange_name(desk.briefing.control.namespace)
        self._listener: Listener | None = None
        self._fd = -1
        self._listen_at_s = now()
        self._pause_s = _FIRST_PAUSE_S
        self._number = 0
        self._asked: dict[int, _Asked] = {}

    def keep(self) -> float | None:
        """Listen where that is due; gives when to look again (monotonic seconds)."""
        if self._listener is not None:
            return None
        if self._now() < self._listen_at_s:
            return self._listen_at_s
        outage = self._desk.upkeep.outage
        if outage.is_on:
            # It knows when the broker is asked next.
            return max(outage.retry_at_s, self._now() + _FIRST_PAUSE_S)
        try:
            self._listener = self._desk.broker.bus.listen(self._exchange, ("",))
            self._fd = self._listener.fileno()
            self._poll.register(self._fd, select.POLLIN)
        except OperationalError as error:
            self._go_deaf(error)
            return self._listen_at_s
        self._pause_s = _FIRST_PAUSE_S
        return None

    def is_readable(self, fd: int) -> bool:
        """``poll`` has named a descriptor; True if it is this one, and what came is answered."""
        if self._listener is None or fd != self._fd:
            return False
        self._hear(self._listener)
        return True

    def _hear(self, listener: Listener) -> None:
        try:
            notices = listener.arrived(0)
        except OperationalError as error:
            self._go_deaf(error)
            return
        for notice in notices:
            self._heed(notice.raw)

    def answered(self, number: int, text: str) -> None:
        """The nursery has answered."""
        asked = self._asked.pop(number, None)
        if asked is None:
            return
        answer = json_forms.loads(text.encode())
        is_error = isinstance(answer, dict) and set(answer) == {"error"}
        if asked.finish is not None and not is_error:
            answer = asked.finish(answer)
        self._reply(asked.command, answer)

    def forget_asked(self) -> None:
        """The nursery is gone, and what it was asked with it."""
        forgotten, self._asked = self._asked, {}
        for asked in forgotten.values():
            self._reply_without_app(asked.command, asked.finish)

    def close(self) -> None:
        """Listen no more."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._poll.unregister(self._fd)
            self._fd = -1
            listener.close()

    def close_in_fork(self) -> None:
        """In a forked process: the listener is the supervisor's."""
        if self._listener is not None:
            self._listener.close()

    def _go_deaf(self, error: Exception) -> None:
        if not self._desk.upkeep.outage.is_on:
            logger.warning(
                "Remote control hears nothing for now: %s. Trying again.",
                error,
                extra={"event": "remote-deaf"},
            )
        self.close()
        self._listen_at_s = self._now() + self._pause_s * (0.5 + self._jitter() / 2)
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _heed(self, raw: bytes) -> None:
        control = self._desk.briefing.control
        try:
            command = pidbox.decode_command(raw, frozenset(control.accept))
        except UmbelError as error:
            logger.error("Received a control command that can't be read: %s", error)
            return
        self._desk.clock.adjust(command.clock)
        try:
            if not pidbox.is_for(command, self._desk.node):
                return
        except ValueError as error:
            logger.error("Received a control command for nobody: %s", error)
            return
        logger.debug("Command %s from outside: %r", command.method, command.arguments)
        answer = panel.run(self._desk, command.method, command.arguments)
        if isinstance(answer, FromApp):
            self._ask(command, answer)
        elif answer is not SILENCE:
            self._reply(command, answer)

    def _ask(self, command: Command, question: FromApp) -> None:
        now = self._now()
        self._asked = {
            number: asked for number, asked in self._asked.items() if asked.at_s > now - _MEMORY_S
        }
        self._number += 1
        is_asked = len(self._asked) < _MOST_ASKED and self._nursery.ask(
            self._number, question.method, question.arguments
        )
        if is_asked:
            self._asked[self._number] = _Asked(command, question.finish, now)
        else:
            self._reply_without_app(command, question.finish)

    def _reply_without_app(self, command: Command, finish: Callable[[Any], Any] | None) -> None:
        if finish is not None and command.method in _DONE_HERE:
            # What was done here is done, whatever the app would have added.
            self._reply(command, finish(None))
        else:
            self._reply(command, panel.nok("the process that holds the app can't be asked now"))

    def _reply(self, command: Command, answer: Any) -> None:
        if not command.wants_reply:
            return
        control = self._desk.briefing.control
        try:
            raw = pidbox.encode_answer(
                self._desk.node,
                answer,
                command,
                clock=self._desk.clock.forward(),
                serializer=control.serializer,
            )
            self._desk.broker.bus.put(Notice(command.reply_exchange, command.reply_box, raw))
        except UmbelError as error:
            logger.warning("The answer to %s can't be given: %s", command.method, error)


# Commands whose effect is there before the app is asked.
_DONE_HERE = ("revoke", "terminate", "add_consumer")
