"""What a house knows of notices: who listens, and which boxes are open. Used under its lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

from umbel.engines.placing import is_bound
from umbel.ports.bus import Notice


class Ear:
    """What one listener is to hear, and what it has not taken yet."""

    def __init__(self, exchange: str, routing_keys: Sequence[str]) -> None:
        self._exchange = exchange
        self._keys = tuple(routing_keys)
        self.heard: list[Notice] = []
        # Readable while something is heard.
        self.reading, self._writing = os.pipe()
        os.set_blocking(self.reading, False)
        os.set_blocking(self._writing, False)

    def hear(self, notices: Iterable[Notice]) -> bool:
        """Keep those that are asked for; False where there is none."""
        fit = [
            notice
            for notice in notices
            if notice.exchange == self._exchange
            and any(is_bound("topic", key, notice.routing_key) for key in self._keys)
        ]
        if fit and not self.heard:
            with suppress(BlockingIOError):
                os.write(self._writing, b"n")
        self.heard += fit
        return bool(fit)

    def take(self) -> list[Notice]:
        """What was heard."""
        with suppress(BlockingIOError):
            os.read(self.reading, 65536)
        found, self.heard = self.heard, []
        return found

    def close(self) -> None:
        """Hear no more."""
        os.close(self.reading)
        os.close(self._writing)


class Notices:
    """Ears and boxes."""

    def __init__(self) -> None:
        self.ears: list[Ear] = []
        self.boxes: dict[tuple[str, str], deque[bytes]] = {}

    def say(self, notices: Sequence[Notice]) -> int:
        """To everybody who listens; gives how many hear something."""
        return sum([ear.hear(notices) for ear in self.ears])

    def put(self, notice: Notice) -> bool:
        """Into its box."""
        answers = self.boxes.get((notice.exchange, notice.routing_key))
        if answers is None:
            return False
        answers.append(notice.raw)
        return True

    def take(self, exchange: str, box: str) -> list[bytes]:
        """All that is in a box."""
        answers = self.boxes.get((exchange, box))
        if not answers:
            return []
        found = list(answers)
        answers.clear()
        return found
