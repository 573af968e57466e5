"""The supervisor's hold on its nursery: start it, ask it, notice its death, end it.

The nursery runs user code, so it may hang, crash or be killed; none of that stops the children,
which are the supervisor's own. A nursery that dies after it was ready once is started again, with
pauses that double; one that can't import the app at the first start ends the worker.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from umbel.model.clock import monotonic_s
from umbel.worker import channel as channels
from umbel.worker import rearing
from umbel.worker.channel import Channel, ChannelClosed
from umbel.worker.rearing import GROUP_SIGNALS, Household, Prepare
from umbel.worker.slots import Board

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0


class Nursery:
    """The process that holds the app, seen from outside. Stopping twice is legal."""

    def __init__(
        self,
        board: Board,
        prepare: Prepare,
        *,
        poke_fd: int,
        is_adopting: bool,
        poll: select.poll,
        forget: Callable[[], None],
    ) -> None:
        self.pid = 0  # 0: there is none
        self.is_ready = False
        self.has_been_ready = False
        self.has_failed = False  # it has said itself why it can't go on
        self.start_at_s = 0.0
        self._board = board
        self._prepare = prepare
        self._poke_fd = poke_fd
        self._is_adopting = is_adopting
        self._poll = poll
        # What a fork must let go of that belongs to the supervisor.
        self._forget = forget
        self._pause_s = _FIRST_PAUSE_S
        self._channel: Channel | None = None
        self._lifeline_read, self._lifeline_write = os.pipe()

    def start(self) -> None:
        """Fork a nursery; it reports when the app is imported."""
        here, there = channels.pair()
        supervisor = os.getpid()
        # A Ctrl-C between the fork and the new handlers would be noted in our pipe twice.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                here.close()
                os.close(self._lifeline_write)
                if self._channel is not None:
                    self._channel.close()
                self._forget()
                household = Household(
                    supervisor,
                    self._board,
                    self._poke_fd,
                    self._lifeline_read,
                    self._is_adopting,
                    self.has_been_ready,
                    mask,
                )
                code = rearing.live(there, household, self._prepare)
            finally:
                # Never back into the supervisor's frames; its objects stay untouched for ever.
                os._exit(code)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        there.close()
        here.set_waiting(is_waiting=False)
        self.pid = pid
        self.is_ready = False
        self._channel = here
        self._poll.register(here.fileno(), select.POLLIN)

    def fileno(self) -> int:
        """The line's descriptor, or -1."""
        return self._channel.fileno() if self._channel is not None else -1

    def arrived(self) -> Iterator[dict[str, Any]]:
        """What the nursery has said. Its death is told by its pid, not here."""
        if self._channel is None:
            return
        try:
            for said in self._channel.arrived():
                if said["is"] == "ready":
                    self.is_ready = self.has_been_ready = True
                    self._pause_s = _FIRST_PAUSE_S
                elif said["is"] == "failed":
                    self.has_failed = True
                yield said
        except ChannelClosed:
            self._hang_up()

    def ask_fork(self, options: Mapping[str, Any], generation: int, files: Sequence[int]) -> bool:
        """Ask for a child; False where the nursery can't be asked now."""
        return self._say({"do": "fork", "options": options, "generation": generation}, files)

    def tell(self, what: str, facts: Mapping[str, Any]) -> None:
        """Let user code know of a worker-level event."""
        self._say({"do": "tell", "what": what, "facts": dict(facts)})

    def ask(self, number: int, method: str, arguments: Mapping[str, Any]) -> bool:
        """Ask what only the app can answer; False where it can't be asked now."""
        question = {"do": "ask", "number": number, "method": method, "arguments": dict(arguments)}
        return self.is_ready and self._say(question)

    def hasten(self) -> None:
        """Start the next one without a pause: the app has changed."""
        self.start_at_s = 0.0
        self._pause_s = 0.0

    def died(self) -> None:
        """The process is gone."""
        self._hang_up()
        self.pid = 0
        self.is_ready = False
        self.start_at_s = monotonic_s() + self._pause_s
        self._pause_s = min(max(self._pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)

    def kill(self) -> None:
        """End it at once; its death is noticed as any other."""
        if self.pid:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def ask_stop(self) -> None:
        """Ask it to send ``worker_shutdown`` and end; one that never was ready is ended."""
        if not self.is_ready or not self._say({"do": "stop"}):
            self.kill()

    def close(self) -> None:
        """Let go of everything but the process."""
        self._hang_up()
        for fd in (self._lifeline_read, self._lifeline_write):
            with suppress(OSError):
                os.close(fd)

    def _say(self, content: dict[str, Any], files: Sequence[int] = ()) -> bool:
        if self._channel is None:
            return False
        try:
            return self._channel.send(content, files)
        except ChannelClosed:
            self._hang_up()
            return False

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._poll.unregister(self._channel.fileno())
            self._channel.close()
            self._channel = None
