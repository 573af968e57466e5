"""The notices of a house: each method is one step under its lock."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Sequence

from umbel.engines.memory.bell import Bell
from umbel.engines.memory.house import House
from umbel.engines.memory.notices import Ear
from umbel.model.clock import monotonic_s
from umbel.model.errors import OperationalError
from umbel.ports.bus import Notice


class MemoryBus:
    """See ``umbel.ports.bus.Bus`` for what it promises."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._bell = Bell(house)

    def say(self, notices: Sequence[Notice]) -> int:
        """To who listens now."""
        with self._house.lock:
            return self._house.notices.say(notices)

    def listen(self, exchange: str, routing_keys: Sequence[str] = ("#",)) -> MemoryListener:
        """Hear from now on."""
        return MemoryListener(self._house, exchange, routing_keys)

    def open_box(self, exchange: str, box: str) -> None:
        """Take answers."""
        with self._house.lock:
            self._house.notices.boxes.setdefault((exchange, box), deque())

    def put(self, notice: Notice) -> bool:
        """Answer."""
        with self._house.lock:
            is_put = self._house.notices.put(notice)
        self._house.tell()
        return is_put

    def take(self, exchange: str, box: str, timeout_s: float) -> list[bytes]:
        """What was answered."""
        deadline = monotonic_s() + timeout_s
        with self._bell:
            while True:
                with self._house.lock:
                    found = self._house.notices.take(exchange, box)
                left_s = deadline - monotonic_s()
                if found or left_s <= 0:
                    return found
                self._bell.sleep(left_s, None)

    def close_box(self, exchange: str, box: str) -> None:
        """Take no more."""
        with self._house.lock:
            self._house.notices.boxes.pop((exchange, box), None)

    def close(self) -> None:
        """Let go of the bell."""
        self._bell.close()


class MemoryListener:
    """See ``umbel.ports.bus.Listener``."""

    def __init__(self, house: House, exchange: str, routing_keys: Sequence[str]) -> None:
        self._house = house
        self._exchange = exchange
        self._ear: Ear | None = Ear(exchange, routing_keys)
        self._pid = os.getpid()
        with house.lock:
            house.notices.ears.append(self._ear)

    def fileno(self) -> int:
        """Readable while something was heard."""
        return self._heard().reading

    def arrived(self, timeout_s: float = 0.0) -> list[Notice]:
        """What was heard."""
        ear = self._heard()
        if timeout_s > 0 and not ear.heard:
            poll = select.poll()
            poll.register(ear.reading, select.POLLIN)
            poll.poll(timeout_s * 1000)
        with self._house.lock:
            return ear.take()

    def close(self) -> None:
        """Hear no more."""
        ear, self._ear = self._ear, None
        if ear is None:
            return
        with self._house.lock:
            if ear in self._house.notices.ears:
                self._house.notices.ears.remove(ear)
        ear.close()

    def _heard(self) -> Ear:
        if self._ear is None or self._pid != os.getpid():
            raise OperationalError(f"nobody listens to {self._exchange!r} here any more")
        return self._ear
