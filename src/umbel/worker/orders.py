"""What an operator has changed while a worker runs, for the eyes of all its children.

The supervisor writes orders (queues, limits, whether events are sent) into an area of the board's
shared memory; children compare one word in each turn of their loop and read when it has changed.
No child is asked, no child must answer, and one that is forked later reads the same orders.

Layout, behind the words of the board: 64 KiB that hold one JSON object,
``{"events": false, "queues": ["a"] or null, "rate_limits": {"task": "10/m"}, "time_limits":
{"task": [soft, hard]}}``. Three words of the board's first row describe it: version, length,
checksum. The writer makes the version odd, writes, and makes it even again: a reader that meets an
odd version, or another one after reading, or a wrong checksum (memory of some machines shows
writes in another order), reads again.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

VERSION_WORD, LENGTH_WORD, CHECKSUM_WORD = 1, 2, 3
AREA_BYTES = 64 * 1024


class Orders(NamedTuple):
    """What stands now. Equal to the first one while nobody has ordered anything."""

    events: bool = False  # send task events
    queues: tuple[str, ...] | None = None  # None: those that the worker was started with
    rate_limits: Mapping[str, str | float | None] = {}  # task -> "10/m", 0.5 (a second), None: off
    # task -> (soft, hard) seconds, in the place of the task's own; None: as the worker says
    time_limits: Mapping[str, tuple[float | None, float | None]] = {}


class OrderBook:
    """Orders in memory that several processes share; the supervisor alone writes."""

    def __init__(self, words: memoryview[int], area: memoryview[int]) -> None:
        self._words = words
        self._area = area

    @property
    def version(self) -> int:
        """Another number after each change; 0 before the first."""
        return self._words[VERSION_WORD]

    def read(self) -> tuple[int, Orders]:
        """The orders, and the version that they are of."""
        while True:
            version = self._words[VERSION_WORD]
            if version == 0:
                return 0, Orders()
            body = bytes(self._area[: self._words[LENGTH_WORD]])
            is_whole = zlib.crc32(body) == self._words[CHECKSUM_WORD]
            if is_whole and version % 2 == 0 and version == self._words[VERSION_WORD]:
                return version, _decode(body)

    def change(self, **changes: Any) -> Orders:
        """Replace fields of what stands; gives what stands now.

        Raises ``ValueError`` where all of it does not fit into the area; nothing is changed then.
        """
        _, standing = self.read()
        orders = standing._replace(**changes)
        body = json.dumps(orders._asdict()).encode()
        if len(body) > len(self._area):
            raise ValueError(
                f"orders of {len(body)} bytes; a worker holds at most {len(self._area)}: "
                "take limits back, or set them in the app"
            )
        words = self._words
        # An odd one is left by a writer that was killed: its nursery and children go with it.
        version = words[VERSION_WORD] + 1
        words[VERSION_WORD] = version
        self._area[: len(body)] = body
        words[LENGTH_WORD] = len(body)
        words[CHECKSUM_WORD] = zlib.crc32(body)
        words[VERSION_WORD] = version + 1
        return orders


def _decode(body: bytes) -> Orders:
    plain = json.loads(body)
    queues = plain["queues"]
    return Orders(
        events=plain["events"],
        queues=None if queues is None else tuple(queues),
        rate_limits=plain["rate_limits"],
        time_limits={name: (soft, hard) for name, (soft, hard) in plain["time_limits"].items()},
    )
