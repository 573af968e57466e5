"""What a worker's tasks are, for who asks: running, taken, waiting for their time.

The supervisor knows tokens, the broker knows what they stand for: together they tell the truth also
of messages that no process of this worker has seen yet. What is due waits at the broker for whoever
of the fleet comes first, so each worker names what waits in its queues.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from umbel.model.clock import monotonic_ns, parse_iso8601, unix_s
from umbel.model.errors import UmbelError
from umbel.model.join import JOIN_TASK
from umbel.ports.broker import Held
from umbel.wire import envelope, protocol, serializers
from umbel.wire.envelope import Envelope
from umbel.wire.preview import preview
from umbel.worker.desk import Desk
from umbel.worker.seats import Seat
from umbel.worker.slots import Running

# Of each queue; who has more of them waiting asks the broker.
MOST_DUE = 1000
# Where one of some ids is looked for.
_MOST_SEARCHED = 100_000
# The priority of Celery's timer, which stands in each of its answers.
_TIMER_PRIORITY = 6

ACTIVE, RESERVED, SCHEDULED = "active", "reserved", "scheduled"


class Taken(NamedTuple):
    """A message that a child of this worker has leased."""

    held: Held
    opened: Envelope
    seat: Seat
    running: Running | None  # None: it has not begun

    @property
    def id(self) -> str:
        """Of its task."""
        return str(self.opened.headers.get("id"))

    @property
    def name(self) -> str:
        """Of its task."""
        return str(self.opened.headers.get("task"))


def taken(desk: Desk) -> list[Taken]:
    """All that the children hold. Raises ``OperationalError``."""
    seats = {
        seat.slot.consumer(desk.worker): seat
        for seat in desk.staff.seats.alive()
        if seat.slot.epoch
    }
    found = []
    for held in desk.broker.leased(list(seats)):
        opened = _opened(held.raw)
        if opened is None or opened.headers.get("task") == JOIN_TASK:
            continue
        seat = seats[held.consumer]
        running = [
            each
            for each in seat.slot.running()
            if each.token == held.token and each.epoch == seat.slot.epoch
        ]
        found.append(Taken(held, opened, seat, running[0] if running else None))
    return found


def active(desk: Desk, *, safe: bool) -> list[dict[str, Any]]:
    """What runs."""
    return [_of_taken(desk, each, safe) for each in taken(desk) if each.running is not None]


def reserved(desk: Desk, *, safe: bool) -> list[dict[str, Any]]:
    """What has been leased and has not begun."""
    return [_of_taken(desk, each, safe) for each in taken(desk) if each.running is None]


def scheduled(desk: Desk, *, safe: bool) -> list[dict[str, Any]]:
    """What waits for its time, the earliest of each queue first."""
    return [
        {
            "eta": _eta(opened, at),
            "priority": _TIMER_PRIORITY,
            "request": request_info(desk.node, opened, safe=safe),
        }
        for at, opened in _waiting(desk, MOST_DUE)
    ]


def where(desk: Desk, ids: list[str]) -> dict[str, list[Any]]:
    """``{id: [state, request]}`` of those that this worker knows of."""
    wanted = set(ids)
    found = {
        each.id: [ACTIVE if each.running else RESERVED, _of_taken(desk, each, False)]
        for each in taken(desk)
        if each.id in wanted
    }
    if wanted.difference(found):
        for _, opened in _waiting(desk, _MOST_SEARCHED):
            task_id = opened.headers.get("id")
            if task_id in wanted and task_id not in found:
                found[str(task_id)] = [SCHEDULED, request_info(desk.node, opened, safe=False)]
    return found


def request_info(
    node: str, opened: Envelope, *, safe: bool, more: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A request in Celery's words. ``safe``: arguments as text."""
    headers, properties = opened.headers, opened.properties
    args, kwargs = _shown_arguments(opened) if safe else _arguments(opened)
    where_ = properties.get("delivery_info") or {}
    name = headers.get("task")
    return {
        "id": headers.get("id"),
        "name": headers.get("shadow") or name,
        "args": args,
        "kwargs": kwargs,
        "type": name,
        "hostname": node,
        "time_start": None,
        "acknowledged": False,
        "delivery_info": {
            "exchange": where_.get("exchange"),
            "routing_key": where_.get("routing_key"),
            "priority": properties.get("priority"),
            "redelivered": bool(headers.get("redelivered")),
        },
        "worker_pid": None,
        **(more or {}),
    }


def _of_taken(desk: Desk, each: Taken, safe: bool) -> dict[str, Any]:
    more: dict[str, Any] = {"acknowledged": each.held.begun}
    if each.running is not None:
        running_s = (monotonic_ns() - each.running.started_ns) / 1e9
        more |= {"time_start": unix_s() - running_s, "worker_pid": each.seat.pid}
    return request_info(desk.node, each.opened, safe=safe, more=more)


def _waiting(desk: Desk, limit: int) -> Iterator[tuple[float, Envelope]]:
    for queue in desk.queues:
        for at, raw in desk.broker.due(queue, limit):
            opened = _opened(raw)
            if opened is not None and opened.headers.get("task") != JOIN_TASK:
                yield at, opened
        # Celery's clients send what has an eta to the queue at once; the next child that is free
        # puts it aside.
        now = unix_s()
        for raw in desk.broker.peek(queue, limit):
            opened = _opened(raw)
            if opened is not None and (at := _eta_s(opened)) > now:
                yield at, opened


def _opened(raw: bytes) -> Envelope | None:
    try:
        return envelope.decode(raw)
    except UmbelError:
        # A dead letter soon; nothing can be said of it here.
        return None


def _eta_s(opened: Envelope) -> float:
    """When it is due (unix seconds); 0.0 where it says nothing that can be read."""
    written = opened.headers.get("eta")
    if not isinstance(written, str):
        return 0.0
    try:
        eta = parse_iso8601(written)
    except ValueError:
        return 0.0
    return (eta if eta.tzinfo is not None else eta.replace(tzinfo=UTC)).timestamp()


def _eta(opened: Envelope, at: float) -> str:
    written = opened.headers.get("eta")
    return written if isinstance(written, str) else datetime.fromtimestamp(at, UTC).isoformat()


def _arguments(opened: Envelope) -> tuple[Any, Any]:
    # Only what needs no code of others to be read, and no library that users may not have.
    if opened.content_type == serializers.JSON:
        try:
            args, kwargs, _ = protocol.payload_of(opened, {serializers.JSON})
        except UmbelError:
            return _shown_arguments(opened)
        return args, kwargs
    return _shown_arguments(opened)


def _shown_arguments(opened: Envelope) -> tuple[str, str]:
    headers = opened.headers
    shown = headers.get("argsrepr"), headers.get("kwargsrepr")
    if all(isinstance(each, str) for each in shown):
        return str(shown[0]), str(shown[1])
    if opened.content_type != serializers.JSON:
        return "", ""
    try:
        args, kwargs, _ = protocol.payload_of(opened, {serializers.JSON})
    except UmbelError:
        return "", ""
    return preview(tuple(args)), preview(kwargs)
