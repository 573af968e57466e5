"""``app.dead``: messages that could not be run, for people.

A message is a dead letter when it can't be decoded, names no task that the worker knows, was
rejected, or killed its process too often. It stays, with its bytes and the cause, until somebody
replays or purges it. This room turns what the broker keeps into what a person can read, and what a
person says (names, ages) into what the broker can find.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from umbel.app.connections import Connections
from umbel.model.clock import unix_s
from umbel.model.errors import UmbelError
from umbel.model.history import deaths
from umbel.ports.graveyard import DeadLetter, Graveyard, Wanted

DEFAULT_LIMIT = 100

Names = str | Iterable[str] | None
Numbers = int | Iterable[int] | None
Age = float | timedelta | None


class DeadTask(NamedTuple):
    """A dead letter, as far as it can be read."""

    number: int  # for show, replay and purge
    died: datetime
    queue: str
    id: str | None  # None where not even that can be read
    task: str | None
    args: str | None  # shortened, with secrets hidden
    kwargs: str | None
    deliveries: int  # runs that ended with the death of their process
    cause: str
    raw: bytes
    history: tuple[str, ...] = ()  # one line per death: when, whose consumer, how


class DeadLetters:
    """The dead letters of an app's broker.

    Filters: ``numbers``; ``id``, ``task`` (``mail.*`` means all of a module) and ``queue``, one or
    several; ``cause``, a part of its text; ``older_than`` and ``newer_than``, seconds or a
    timedelta since the death. Several filters all have to fit; without any, every letter does.
    """

    def __init__(self, connections: Connections, conf: Any) -> None:
        self._connections = connections
        self._conf = conf

    def list(self, *, limit: int = DEFAULT_LIMIT, **filters: Any) -> Sequence[DeadTask]:
        """The newest first, up to ``limit``."""
        accept = self._accepted()
        letters = self._graveyard().letters(wanted(**filters), limit)
        return [_read(letter, accept) for letter in letters]

    def show(self, number: int) -> DeadTask:
        """One letter. Raises ``LookupError`` where there is none of that number (any more)."""
        letter = self._graveyard().show(number)
        if letter is None:
            raise LookupError(f"there is no dead letter {number}; app.dead.list() shows those left")
        return _read(letter, self._accepted())

    def count(self, **filters: Any) -> int:
        """How many there are."""
        return self._graveyard().count(wanted(**filters))

    def replay(self, numbers: Numbers = None, **filters: Any) -> int:
        """Put letters back into their queues, behind what waits there, with no delivery counted.

        Gives how many went. A task that runs then overwrites its FAILURE with what it comes to, and
        its chain goes on from there; a chord that has failed meanwhile stays failed.
        """
        return self._graveyard().replay(wanted(numbers, **filters))

    def purge(self, numbers: Numbers = None, **filters: Any) -> int:
        """Delete letters; there is no undo. Gives how many."""
        return self._graveyard().purge(wanted(numbers, **filters))

    def _graveyard(self) -> Graveyard:
        broker = self._connections.pair().broker
        assert broker is not None
        return broker.graveyard

    def _accepted(self) -> frozenset[str]:
        # Not at the top: who only sends reads no messages.
        from umbel.wire.serializers import content_types

        # To look at a pickle is to run it, and it may be what has killed the workers. Of its
        # arguments is shown what their sender wrote beside them.
        return content_types(self._conf.accept_content) - {"application/x-python-serialize"}


def wanted(
    numbers: Numbers = None,
    *,
    id: Names = None,  # noqa: A002 - as a task's id is called everywhere
    task: Names = None,
    queue: Names = None,
    cause: str | None = None,
    older_than: Age = None,
    newer_than: Age = None,
    up_to: int | None = None,
) -> Wanted:
    """The filter that these words mean now."""
    return Wanted(
        numbers=[numbers] if isinstance(numbers, int) else _listed(numbers),
        task_ids=_listed(id),
        tasks=_listed(task),
        queues=_listed(queue),
        cause=cause,
        since=_moment(newer_than),
        until=_moment(older_than),
        up_to=up_to,
    )


def _listed(given: Any) -> Any:
    if given is None:
        return None
    return [given] if isinstance(given, str) else list(given)


def _moment(age: Age) -> float | None:
    if age is None:
        return None
    return unix_s() - (age.total_seconds() if isinstance(age, timedelta) else float(age))


def _read(letter: DeadLetter, accept: frozenset[str]) -> DeadTask:
    from umbel.wire import envelope, protocol
    from umbel.wire.preview import preview

    task_id: str | None = letter.task_id or None
    task: str | None = letter.task or None
    args = kwargs = None
    # It may be here because it can't be read; then the cause says why, and what could be is shown.
    with suppress(UmbelError):
        opened = envelope.decode(letter.raw)
        request = protocol.request_of(opened)
        task_id, task = request.id or task_id, request.task or task
        # What the sender has shown of them, for a body that can't be read here.
        args, kwargs = request.argsrepr, request.kwargsrepr
        given, named, _ = protocol.payload_of(opened, accept)
        args, kwargs = preview(tuple(given)), preview(named)
    return DeadTask(
        letter.number,
        datetime.fromtimestamp(letter.died, UTC),
        letter.queue,
        task_id,
        task,
        args,
        kwargs,
        letter.deliveries,
        letter.cause,
        letter.raw,
        tuple(str(death) for death in deaths(letter.history)),
    )
