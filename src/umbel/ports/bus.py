"""What an engine must offer to carry notices: said to who listens now, or put into a caller's box.

Theory of operation. A *notice* is an envelope that is worth something now and nothing tomorrow: an
event, a command to workers, an answer. ``say`` reaches every listener whose connection stands at
that moment, and is kept nowhere. An answer goes into a *box*, a queue of one caller that is there
from ``open_box`` until ``close_box``; what is put where no box is, is dropped.

Nothing that was accepted as a task ever travels here. Each promise names its case in
``umbel.testing.conformance`` in brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Notice(NamedTuple):
    """One envelope, and where it was said."""

    exchange: str  # "celeryev", "celery.pidbox"
    routing_key: str  # "worker.heartbeat", "task.multi", ""
    raw: bytes  # the envelope as it stands on the wire


class Listener(Protocol):
    """What is said from the moment of its making on. Used by one thread of one process."""

    def fileno(self) -> int:
        """Readable when something may have arrived; for ``poll``."""
        ...

    def arrived(self, timeout_s: float = 0.0) -> list[Notice]:
        """What has arrived, in order; waits for the first up to ``timeout_s``.

        Raises ``OperationalError`` once its connection is lost; what is said until the next
        listener is made is missed.
        """
        ...

    def close(self) -> None:
        """Listen no more. Closing twice, or in a forked child, is legal."""
        ...


class Bus(Protocol):
    """The notices of a broker, over its connection; a listener has one of its own."""

    def say(self, notices: Sequence[Notice]) -> int:
        """Let everybody hear who listens now, in order, in one round trip [who_listens_hears].

        Gives how many listeners the best heard of them reaches: so many may answer
        [who_listens_is_counted].

        Nothing is said twice, so what was underway when the connection broke may be unheard: then,
        and where the broker is away, it raises ``OperationalError``.
        """
        ...

    def listen(self, exchange: str, routing_keys: Sequence[str] = ("#",)) -> Listener:
        """Hear what is said on an exchange under these keys.

        In a key ``#`` stands for anything, nothing included, and ``*`` for one word: ``worker.#``
        [only_what_is_asked_for_is_heard]. Raises ``OperationalError`` where the broker is away.
        """
        ...

    def open_box(self, exchange: str, box: str) -> None:
        """Be ready to take answers that are put for ``box`` (a caller's id).

        Idempotent; a box that was not opened again for an hour may be gone.
        """
        ...

    def put(self, notice: Notice) -> bool:
        """Put an answer into the box that its routing key names; False where there is none
        [an_answer_without_a_box_is_dropped]. A reconnect may put it twice."""
        ...

    def take(self, exchange: str, box: str, timeout_s: float) -> list[bytes]:
        """Answers in the order in which they came, taken out; waits for the first up to
        ``timeout_s`` [answers_are_taken_once]."""
        ...

    def close_box(self, exchange: str, box: str) -> None:
        """Take no more answers, and delete what is left."""
        ...
