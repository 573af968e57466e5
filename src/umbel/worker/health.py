"""Whether a worker lives and is ready, for who watches over it: a file, and answers by HTTP.

Both come out of the supervisor's own loop, without a thread and without the app: that they come
is the proof that the loop turns. *Live* is everything from the start of the process to its end.
*Ready* is a worker whose children are up, which is not stopping, and whose broker answered last.

The file is replaced in one step every two seconds and removed at an orderly stop; of one that is
older than ten, the worker hangs or was killed. While a broker does not answer, the loop waits up to
two seconds for it now and then: probes should be given five.
"""

from __future__ import annotations

import json
import logging
import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from umbel.model.clock import monotonic_s, unix_s
from umbel.worker.probes import Probes

logger = logging.getLogger(__name__)

INTERVAL_S = 2.0


class Picture(NamedTuple):
    """How a worker is."""

    node: str
    state: str  # starting, working, stopping
    alive: int  # children
    wanted: int
    outage_s: float | None  # for how long the broker has been away; None: it is not

    @property
    def is_ready(self) -> bool:
        """Whether it takes on work."""
        return self.state == "working" and self.alive > 0 and self.outage_s is None

    def as_json(self) -> bytes:
        """One line."""
        facts: dict[str, Any] = {
            "node": self.node,
            "pid": os.getpid(),
            "state": self.state,
            "ready": self.is_ready,
            "children": {"alive": self.alive, "wanted": self.wanted},
            "broker": {
                "ok": self.outage_s is None,
                "outage_s": None if self.outage_s is None else round(self.outage_s, 1),
            },
            "time": round(unix_s(), 3),
        }
        return json.dumps(facts).encode() + b"\n"


class Health:
    """Tells how a worker is; used by the supervisor's loop alone."""

    def __init__(self, path: str | None, address: str | None) -> None:
        """Raises ``ImproperlyConfigured`` where the address can't be listened to."""
        self._path = os.path.abspath(path) if path else None
        self._probes = Probes(address, self._answer) if address else None
        self._picture: Callable[[], Picture] | None = None
        self._at_s = 0.0
        self._has_complained = False

    def begin(self, picture: Callable[[], Picture], poll: select.poll) -> None:
        """From now on the loop has an eye on us."""
        self._picture = picture
        if self._probes is not None:
            self._probes.begin(poll)

    def keep(self) -> float | None:
        """Write the file where it is time; gives when to be called again (monotonic seconds)."""
        again_s = None if self._probes is None else self._probes.keep()
        if self._path is None or self._picture is None:
            return again_s
        now = monotonic_s()
        if now >= self._at_s:
            self._at_s = now + INTERVAL_S
            self._write(self._path, self._picture().as_json())
        return self._at_s if again_s is None else min(again_s, self._at_s)

    def is_readable(self, fd: int) -> bool:
        """Go on with a probe; False where the descriptor is none of ours."""
        return self._probes is not None and self._probes.is_readable(fd)

    def close(self) -> None:
        """The worker ends."""
        if self._probes is not None:
            self._probes.close()
        if self._path is not None:
            with suppress(OSError):
                os.unlink(self._path)

    def close_in_fork(self) -> None:
        """In a child: let go of what is the parent's."""
        self._path = None
        if self._probes is not None:
            self._probes.close_in_fork()

    def _answer(self, path: str) -> tuple[int, bytes]:
        """Status and text for a path."""
        if self._picture is None or path not in ("/", "/live", "/ready"):
            return 404, b'{"error": "there are /live and /ready"}\n'
        picture = self._picture()
        is_good = picture.is_ready or path != "/ready"
        return 200 if is_good else 503, picture.as_json()

    def _write(self, path: str, text: bytes) -> None:
        folder, name = os.path.split(path)
        new = os.path.join(folder, f".{name}.{os.getpid()}")
        try:
            with open(new, "wb") as file:
                file.write(text)
            os.replace(new, path)
        except OSError as error:
            with suppress(OSError):
                os.unlink(new)
            if not self._has_complained:
                self._has_complained = True
                logger.warning(
                    "The health file %s can't be written: %s. The worker goes on.",
                    path,
                    error,
                    extra={"event": "health-file"},
                )
