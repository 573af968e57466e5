"""``Polaroid``: takes a picture of the state now and then, for monitors that store what they see.

A subclass says in ``on_shutter`` what is to be done with a picture; ``umbel events --camera`` runs
it, or a program of its own does. Pictures are taken in a thread, while no event comes in.
https://docs.celeryq.dev/en/stable/userguide/monitoring.html#snapshots
"""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Any, Self

from umbel.model.clock import monotonic_s
from umbel.ports.current import current_app

logger = logging.getLogger(__name__)


class Polaroid:
    """Takes a picture every ``freq`` seconds, at most ``maxrate`` of them ("10/m"), and cleans up
    every ``cleanup_freq`` seconds. Started by ``install`` or ``with``, ended by ``cancel``.
    """

    timer: Any = None
    clear_after = False  # forget the tasks that have ended after each picture

    def __init__(
        self,
        state: Any,
        freq: float = 1.0,
        maxrate: Any = None,
        cleanup_freq: float = 3600.0,
        timer: Any = None,
        app: Any = None,
    ) -> None:
        self.app = app if app is not None else current_app()
        self.state = state
        self.freq = float(freq)
        self.cleanup_freq = float(cleanup_freq)
        self.maxrate = maxrate
        self._pause_s = self._pause_of(maxrate)
        self._last_s: float | None = None
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    @staticmethod
    def _pause_of(maxrate: Any) -> float:
        """Seconds between two pictures, from ``10/s``, ``10/m``, ``10/h`` or a number a second."""
        if not maxrate:
            return 0.0
        number, _, unit = str(maxrate).partition("/")
        per_s = float(number) / {"s": 1, "m": 60, "h": 3600}[unit or "s"]
        return 1 / per_s if per_s else 0.0

    # - What subclasses say

    def on_shutter(self, state: Any) -> None:
        """A picture is taken: store what you want of ``state``."""

    def on_cleanup(self) -> None:
        """Forget what you have stored for long enough."""

    # - Running

    def install(self) -> None:
        """Begin; nothing where it has begun."""
        if self._thread is None:
            self._is_over.clear()
            self._thread = threading.Thread(target=self._run, name="umbel-camera", daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        """End, after a picture that is just being taken. Twice is legal."""
        thread, self._thread = self._thread, None
        self._is_over.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def capture(self) -> Any:
        """Take a picture now."""
        return self.state.freeze_while(self.shutter, clear_after=self.clear_after)

    def shutter(self) -> None:
        """Take a picture, unless ``maxrate`` forbids it; the state does not change meanwhile."""
        now = monotonic_s()
        if self._last_s is None or now - self._last_s >= self._pause_s:
            self._last_s = now
            logger.debug("Shutter: %s", self.state)
            self.on_shutter(self.state)

    def cleanup(self) -> None:
        """Clean up now."""
        logger.debug("Cleanup: Running...")
        self.on_cleanup()

    def _run(self) -> None:
        shutter_at_s = monotonic_s() + self.freq
        cleanup_at_s = monotonic_s() + self.cleanup_freq
        while not self._is_over.wait(max(min(shutter_at_s, cleanup_at_s) - monotonic_s(), 0.0)):
            now = monotonic_s()
            if now >= shutter_at_s:
                shutter_at_s = max(shutter_at_s + self.freq, now)
                self._do(self.capture)
            if now >= cleanup_at_s:
                cleanup_at_s = now + self.cleanup_freq
                self._do(self.cleanup)

    def _do(self, step: Any) -> None:
        try:
            step()
        except Exception:  # user code: the next picture may succeed
            logger.exception("A camera could not do its work")

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.cancel()
