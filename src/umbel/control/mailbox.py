"""Saying a command to workers and gathering their answers, over the bus of a broker.

A call opens a box of its own, says the command once, and waits until as many have answered as there
were listeners when it was said (the broker counts them, Celery's workers included), or as many as
were addressed, or until the time is up. So a fleet that is well answers in milliseconds, and only
one with somebody mute costs the whole timeout.
"""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from umbel.model.clock import monotonic_s, unix_s
from umbel.model.errors import DuplicateNodenameWarning, SerializationError
from umbel.model.ids import new_id
from umbel.ports.bus import Bus, Notice
from umbel.wire import pidbox
from umbel.wire.pidbox import Command

logger = logging.getLogger(__name__)


class Clock(Protocol):
    """A Lamport clock."""

    def forward(self) -> int:
        """One more step; gives its number."""
        ...

    def adjust(self, other: int) -> int:
        """Move beyond what somebody else's clock says."""
        ...


class Manners(NamedTuple):
    """How an app speaks with workers."""

    namespace: str = "celery"  # control_exchange
    serializer: str = "json"
    accept: Container[str] = frozenset({"application/json"})


class Addressees(NamedTuple):
    """Who is meant; all, where nothing is said."""

    destination: Sequence[str] | None = None
    pattern: str | None = None
    matcher: str | None = None


class Mailbox:
    """Commands out, answers in. Safe in threads, as each call has a box of its own."""

    def __init__(
        self, bus: Callable[[], Bus], manners: Callable[[], Manners], clock: Clock
    ) -> None:
        self._bus = bus
        self._manners = manners
        self._clock = clock

    def cast(self, method: str, arguments: Mapping[str, Any], to: Addressees) -> int:
        """Say a command and wait for nothing; gives how many listened."""
        return self._say(self._command(method, arguments, to), expires=0)

    def call(
        self,
        method: str,
        arguments: Mapping[str, Any],
        to: Addressees,
        *,
        timeout_s: float,
        limit: int | None = None,
        callback: Callable[[dict[str, Any]], Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Say a command; gives ``{node: answer}`` of each that answered in time, in that order.

        ``limit``: no more than so many. ``callback`` is given each as it comes.
        """
        bus, manners = self._bus(), self._manners()
        exchange = pidbox.reply_exchange_name(manners.namespace)
        box = new_id()
        command = self._command(method, arguments, to)._replace(
            ticket=new_id(), reply_exchange=exchange, reply_box=box
        )
        found: list[dict[str, Any]] = []
        bus.open_box(exchange, box)
        try:
            deadline = monotonic_s() + timeout_s
            wanted = self._say(command, expires=unix_s() + timeout_s)
            if to.destination:
                wanted = min(wanted, len(set(to.destination)))
            wanted = wanted if limit is None else min(wanted, limit)
            while len(found) < wanted and (left_s := deadline - monotonic_s()) > 0:
                for answer in self._answers(bus.take(exchange, box, left_s), command, manners):
                    if limit is not None and len(found) == limit:
                        break
                    found.append(answer)
                    if callback is not None:
                        callback(answer)
        finally:
            bus.close_box(exchange, box)
        return found

    def _command(self, method: str, arguments: Mapping[str, Any], to: Addressees) -> Command:
        destination = to.destination
        return Command(
            method,
            dict(arguments),
            None if destination is None else list(destination),
            to.pattern,
            to.matcher,
            clock=self._clock.forward(),
        )

    def _say(self, command: Command, expires: float) -> int:
        manners = self._manners()
        exchange = pidbox.exchange_name(manners.namespace)
        raw = pidbox.encode_command(
            command, exchange, expires=expires, serializer=manners.serializer
        )
        return self._bus().say([Notice(exchange, "", raw)])

    def _answers(
        self, arrived: Iterable[bytes], command: Command, manners: Manners
    ) -> Iterable[dict[str, Any]]:
        for raw in arrived:
            try:
                answer = pidbox.decode_answer(raw, manners.accept)
            except SerializationError as error:
                logger.warning("An answer to %s can't be read: %s", command.method, error)
                continue
            self._clock.adjust(answer.clock)
            if answer.ticket in (None, command.ticket):
                yield answer.answers


def by_node(answers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """``[{node: answer}, ...]`` as one dictionary; warns where a name has answered twice."""
    found: dict[str, Any] = {}
    times: Counter[str] = Counter()
    for answer in answers:
        times.update(answer.keys())
        found.update(answer)
    twice = sorted(node for node, number in times.items() if number > 1)
    if twice:
        warnings.warn(
            DuplicateNodenameWarning(
                f"several workers are named {', '.join(twice)} and all of them answered: give "
                "each its own name with -n"
            ),
            stacklevel=3,
        )
    return found
