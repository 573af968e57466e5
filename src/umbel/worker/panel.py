"""The commands that a worker's supervisor understands, with Celery's answers to the letter.

Each is a function of the desk and the command's arguments; it gives the answer, or ``FromApp``
where the app must be asked, or ``SILENCE``. What it raises is answered as ``{"error": repr}``.
Nothing here may wait for long: the loop that keeps leases alive is the one that runs this.
"""

from __future__ import annotations

import logging
import math
import signal as signals
from collections.abc import Callable, Sequence
from typing import Any

from umbel.app import rates
from umbel.model.errors import OperationalError
from umbel.ports.revocations import REVOKED_FOR_S, is_stamp_id, stamp_id
from umbel.worker import looking, statistics
from umbel.worker.desk import SILENCE, Desk, FromApp
from umbel.worker.looking import Taken
from umbel.worker.slots import LANES

logger = logging.getLogger(__name__)

# As many as Celery's workers keep; a newcomer learns them when it says hello.
_MOST_REVOKED = 50_000
_NOT_BUILT = (
    "{} is not built: it looks into the main process of a worker, which in umbel runs no task. "
    "Use py-spy or memray on the process of a child; `inspect stats` lists them"
)

Answer = Any
Handler = Callable[..., Answer]
HANDLERS: dict[str, Handler] = {}


def _command(handler: Handler) -> Handler:
    HANDLERS[handler.__name__] = handler
    return handler


def ok(text: str) -> dict[str, str]:
    """Done, or seen to."""
    return {"ok": text}


def refused(text: str) -> dict[str, str]:
    """Refused, as Celery's workers do: by the text of an exception."""
    return nok(repr(ValueError(text)))


def nok(text: str) -> dict[str, str]:
    """Refused."""
    return {"error": text}


# - Questions


@_command
def ping(desk: Desk, **_: Any) -> Answer:
    """Who is there."""
    return ok("pong")


@_command
def clock(desk: Desk, **_: Any) -> Answer:
    """The logical clock."""
    return {"clock": desk.clock.value}


@_command
def stats(desk: Desk, **_: Any) -> Answer:
    """Numbers."""
    return statistics.stats(desk)


@_command
def active(desk: Desk, safe: Any = False, **_: Any) -> Answer:
    """What runs."""
    return looking.active(desk, safe=bool(safe))


@_command
def reserved(desk: Desk, safe: Any = False, **_: Any) -> Answer:
    """What was taken and has not begun."""
    return looking.reserved(desk, safe=bool(safe))


@_command
def scheduled(desk: Desk, safe: Any = False, **_: Any) -> Answer:
    """What waits for its time."""
    return looking.scheduled(desk, safe=bool(safe))


@_command
def query_task(desk: Desk, ids: Any = (), **_: Any) -> Answer:
    """Where tasks are."""
    return looking.where(desk, _ids(ids))


@_command
def revoked(desk: Desk, **_: Any) -> Answer:
    """Ids that must not run."""
    return _revoked_ids(desk)


@_command
def hello(desk: Desk, from_node: str = "", revoked: Any = None, **_: Any) -> Answer:  # noqa: F811
    """A worker of Celery's starts: it tells what it knows, and is told."""
    if from_node == desk.node:
        return None
    ids = [str(each) for each in revoked or ()]
    if ids:
        desk.broker.revocations.add(ids[:_MOST_REVOKED], REVOKED_FOR_S)
    return {"revoked": _revoked_ids(desk), "clock": desk.clock.forward()}


@_command
def registered(desk: Desk, taskinfoitems: Any = None, builtins: Any = False, **_: Any) -> Answer:
    """The tasks of the app, with attributes."""
    ordered = dict(desk.orders.read()[1].rate_limits)
    return FromApp(
        "registered",
        {"items": taskinfoitems or [], "builtins": bool(builtins), "rate_limits": ordered},
    )


@_command
def conf(desk: Desk, with_defaults: Any = False, **_: Any) -> Answer:
    """The app's settings."""
    return FromApp("conf", {"with_defaults": bool(with_defaults)})


@_command
def report(desk: Desk, **_: Any) -> Answer:
    """What a bug report should say."""
    return FromApp("report", {}, ok)


@_command
def active_queues(desk: Desk, **_: Any) -> Answer:
    """The queues that are consumed."""
    return FromApp("active_queues", {"names": list(desk.queues)})


@_command
def memsample(desk: Desk, **_: Any) -> Answer:
    """Refused."""
    return nok(_NOT_BUILT.format("memsample"))


@_command
def memdump(desk: Desk, **_: Any) -> Answer:
    """Refused."""
    return nok(_NOT_BUILT.format("memdump"))


@_command
def objgraph(desk: Desk, **_: Any) -> Answer:
    """Refused."""
    return nok(_NOT_BUILT.format("objgraph"))


# - Tasks that are not to run, or not to go on


@_command
def revoke(
    desk: Desk, task_id: Any = (), terminate: Any = False, signal: Any = None, **_: Any
) -> Answer:
    """Let tasks not run, and end them where they run."""
    ids = _ids(task_id)
    number = _signal(signal) if terminate else None
    held = desk.broker.revocations.add(ids, REVOKED_FOR_S) if ids else []
    mine = [each for each in looking.taken(desk) if each.id in ids] if held else []
    _let_go(desk, mine)
    told = FromApp("tell_revoked", {"ids": [each for each in ids if each not in held]})
    if number is None:
        logger.info("Tasks flagged as revoked: %s", ", ".join(ids))
        words = f"tasks {{{', '.join(map(repr, ids))}}} flagged as revoked"
        return told._replace(finish=lambda _: ok(words))
    answer = _ended(desk, mine, number)
    return told._replace(finish=lambda _: answer)


@_command
def terminate(desk: Desk, signal: Any = None, task_id: Any = (), **_: Any) -> Answer:  # noqa: F811
    """``revoke`` with ``terminate``."""
    return revoke(desk, task_id, True, signal)


@_command
def revoke_by_stamped_headers(
    desk: Desk, headers: Any = None, terminate: Any = False, signal: Any = None, **_: Any
) -> Answer:
    """Let tasks with a stamp not run, and end them where they run."""
    stamps = _stamps(headers)
    number = _signal(signal) if terminate else None
    if stamps:
        ids = [stamp_id(name, value) for name, values in stamps.items() for value in values]
        desk.broker.revocations.add(ids, REVOKED_FOR_S)
    mine = [each for each in looking.taken(desk) if _has_stamp(each, stamps)]
    _let_go(desk, mine)
    if number is None:
        return ok(f"headers {headers} flagged as revoked, but not terminated")
    return _ended(desk, mine, number)


def _let_go(desk: Desk, mine: Sequence[Taken]) -> None:
    """What has not begun is leased anew, and found to be revoked then."""
    for seat in {each.seat.slot.index: each.seat for each in mine if not each.running}.values():
        desk.staff.give_back_unstarted(seat)


def _ended(desk: Desk, mine: Sequence[Taken], number: signals.Signals) -> Answer:
    running = [each for each in mine if each.running is not None]
    if not running:
        return ok("terminate: tasks unknown")
    if desk.briefing.pool == "threads":
        return nok(
            "the threads pool can't end one task: its threads are one process. The task will not "
            "run again; give it a time limit, or let it look at a flag of yours"
        )
    for each in running:
        assert each.running is not None
        desk.staff.end_task(each.seat, each.running, f"{each.name}[{each.id}]", number.name)
    return ok(f"terminate: {', '.join(each.id for each in running)}")


def _signal(given: Any) -> signals.Signals:
    """The signal that was named; SIGTERM where none was."""
    if given is None:
        return signals.SIGTERM
    if isinstance(given, int):
        return signals.Signals(given)
    name = str(given).upper()
    return signals.Signals[name if name.startswith("SIG") else f"SIG{name}"]


def _ids(given: Any) -> list[str]:
    ids = [given] if isinstance(given, str) else list(given or ())
    return list(dict.fromkeys(map(str, ids)))


def _stamps(headers: Any) -> dict[str, list[str]]:
    if isinstance(headers, list | tuple):  # "name=value" words of a command line
        pairs = [str(each).partition("=") for each in headers]
        found: dict[str, list[str]] = {}
        for name, _, value in pairs:
            found.setdefault(name, []).append(value)
        return found
    given = dict(headers or {})
    return {
        str(name): list(map(str, value if isinstance(value, list | tuple | set) else [value]))
        for name, value in given.items()
    }


def _has_stamp(each: Taken, stamps: dict[str, list[str]]) -> bool:
    theirs = each.opened.headers.get("stamps") or {}
    counted = each.opened.headers.get("stamped_headers") or ()
    for name, values in stamps.items():
        if name in counted:
            value = theirs.get(name)
            has = map(str, value if isinstance(value, list | tuple) else [value])
            if not set(values).isdisjoint(has):
                return True
    return False


def _revoked_ids(desk: Desk) -> list[str]:
    _, ids = desk.broker.revocations.since(0)
    return [each for each in ids if not is_stamp_id(each)][-_MOST_REVOKED:]


# - Limits


@_command
def rate_limit(desk: Desk, task_name: str, rate_limit: Any, **_: Any) -> Answer:  # noqa: F811
    """Change the rate limit of a task."""
    try:
        per_second = rates.per_second(rate_limit)
    except ValueError as error:
        return nok(f"Invalid rate limit string: {error!r}")
    if task_name not in desk.briefing.tasks:
        return nok("unknown task")
    limits = {**desk.orders.read()[1].rate_limits, task_name: rate_limit if per_second else None}
    desk.verbs.order(rate_limits=limits)
    if not per_second:
        logger.info("Rate limits disabled for tasks of type %s", task_name)
        return ok("rate limit disabled successfully")
    logger.info("New rate limit for tasks of type %s: %s.", task_name, rate_limit)
    return ok("new rate limit set successfully")


@_command
def time_limit(desk: Desk, task_name: str, hard: Any = None, soft: Any = None, **_: Any) -> Answer:
    """Change the time limits of a task."""
    if task_name not in desk.briefing.tasks:
        return nok("unknown task")
    pair = tuple(None if each is None else float(each) for each in (soft, hard))
    if not all(each is None or 0 <= each < math.inf for each in pair):
        return refused(f"time limits are seconds; found soft={soft!r} and hard={hard!r}")
    limits = {**desk.orders.read()[1].time_limits, task_name: pair}
    desk.verbs.order(time_limits=limits)
    logger.info("New time limits for tasks of type %s: soft=%s hard=%s", task_name, soft, hard)
    return ok("time limits set successfully")


# - Queues


@_command
def add_consumer(
    desk: Desk,
    queue: str,
    exchange: Any = None,
    exchange_type: Any = None,
    routing_key: Any = None,
    **_: Any,
) -> Answer:
    """Consume one more queue."""
    kind = exchange_type or "direct"
    # What is wrong must be found here: children would fail at it, and the upkeep try for ever.
    given = (queue, exchange or queue, routing_key or queue)
    if not all(isinstance(each, str) and each for each in given):
        return refused(f"wanted names of a queue, an exchange and a routing key; found {given}")
    if kind not in ("direct", "topic"):
        return refused(f"exchange type {kind!r}: only direct and topic can be added to a worker")
    # Without an exchange the queue's name is everything, as for a queue that Celery makes up.
    desk.upkeep.bind([(exchange or queue, kind, queue, routing_key or queue)])
    if queue not in desk.queues:
        desk.verbs.order(queues=(*desk.queues, queue))
        logger.info("Started consuming from %s", queue)
    way = {"queue": queue, "exchange": exchange, "kind": kind, "routing_key": routing_key}
    return FromApp("note_queue", way, lambda _: ok(f"add consumer {queue}"))


@_command
def cancel_consumer(desk: Desk, queue: str, **_: Any) -> Answer:
    """Consume a queue no more; what was taken from it is finished."""
    if queue in desk.queues:
        desk.verbs.order(queues=tuple(each for each in desk.queues if each != queue))
        logger.info("Canceled queue %s", queue)
    return ok(f"no longer consuming from {queue}")


# - The pool


@_command
def pool_grow(desk: Desk, n: Any = 1, **_: Any) -> Answer:
    """More processes."""
    return _resized(desk, int(n)) or ok("pool will grow")


@_command
def pool_shrink(desk: Desk, n: Any = 1, **_: Any) -> Answer:
    """Fewer processes."""
    return _resized(desk, -int(n)) or ok("pool will shrink")


def _int(given: Any) -> int | None:
    return None if given is None else int(given)


def _resized(desk: Desk, by: int) -> Answer:
    """None, or why not."""
    if desk.briefing.pool != "prefork":
        return refused(
            f"the {desk.briefing.pool} pool has one process; only prefork can be resized"
        )
    now = desk.staff.seats.target
    if not 1 <= now + by <= LANES:
        return refused(f"the pool has {now} processes; wanted 1 to {LANES}, not {now + by}")
    desk.staff.seats.target = now + by
    return None


@_command
def autoscale(desk: Desk, max: Any = None, min: Any = None, **_: Any) -> Answer:  # noqa: A002
    """Change the bounds of a worker that scales itself."""
    if desk.autoscaler is None:
        return refused("Autoscale not enabled")
    most, least = desk.autoscaler.set_bounds(_int(max), _int(min))
    return ok(f"autoscale now max={most} min={least}")


@_command
def pool_restart(
    desk: Desk, modules: Any = None, reload: Any = False, reloader: Any = None, **_: Any
) -> Answer:
    """Import the app anew and replace all children."""
    if not desk.briefing.control.may_restart:
        return refused("Pool restarts not enabled")
    if modules or reloader:
        return nok(
            "everything is imported anew: leave modules and reloader out, and name further "
            "modules in the setting `include`"
        )
    desk.verbs.restart_pool()
    return ok("reload started")


@_command
def shutdown(desk: Desk, msg: Any = None, **_: Any) -> Answer:
    """Finish what runs, and end."""
    logger.warning("Got shutdown from remote")
    desk.verbs.stop("remote shutdown")
    return SILENCE


# - Events


@_command
def enable_events(desk: Desk, **_: Any) -> Answer:
    """Send task events."""
    if desk.orders.read()[1].events:
        return ok("task events already enabled")
    desk.verbs.order(events=True)
    logger.info("Events of group {task} enabled by remote.")
    return ok("task events enabled")


@_command
def disable_events(desk: Desk, **_: Any) -> Answer:
    """Send no task events."""
    if not desk.orders.read()[1].events:
        return ok("task events already disabled")
    desk.verbs.order(events=False)
    logger.info("Events of group {task} disabled by remote.")
    return ok("task events disabled")


@_command
def heartbeat(desk: Desk, **_: Any) -> Answer:
    """Send a heartbeat event now."""
    desk.verbs.beat()
    return None


@_command
def election(desk: Desk, **_: Any) -> Answer:
    """Celery's workers elect one that acts; nothing that umbel runs needs it."""
    return None


def run(desk: Desk, method: str, arguments: dict[str, Any]) -> Answer:
    """Carry a command out; one that is not known here is the app's."""
    handler = HANDLERS.get(method)
    if handler is None:
        return FromApp("custom", {"method": method, "arguments": arguments})
    try:
        return handler(desk, **arguments)
    except OperationalError as error:
        logger.warning("Command %s: the broker can't be asked: %s", method, error)
        return nok(repr(error))
    except Exception as error:  # noqa: BLE001 - whatever a stranger's arguments raise
        logger.exception("Control command error: %r", error)
        return nok(repr(error))
