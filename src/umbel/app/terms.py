"""From a Call's options, its task and the settings to the Terms that wire writes into a message.

Reads the clock (a countdown is counted from here) and the settings, and opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any

from umbel.app.routing import Destination, Routing
from umbel.app.sending import KNOWN, PROPERTIES, REFUSED
from umbel.model import ids
from umbel.model.call import Call
from umbel.model.clock import parse_iso8601
from umbel.wire.composition import Terms

# Attributes of a task that are options of each of its calls.
TASK_OPTIONS = (
    "queue", "routing_key", "exchange", "priority", "expires", "serializer", "delivery_mode",
    "compression", "time_limit", "soft_time_limit", "ignore_result",
)  # fmt: skip
_DELIVERY_MODES = {"transient": 1, "persistent": 2}


def task_options(task: Any) -> dict[str, Any]:
    """What a task says about its messages."""
    found = {}
    for name in TASK_OPTIONS:
        value = getattr(task, name, None)
        if value is not None:
            found[name] = value
    return found


class TermsMaker:
    """Makes Terms for one app and one revision of its settings."""

    def __init__(self, conf: Any, routing: Routing, timezone: tzinfo, reply_to: str) -> None:
        self._routing = routing
        self._timezone = timezone
        self._reply_to = reply_to
        self._origin = ids.origin()
        self._serializer: str = conf.task_serializer
        self._compression: str | None = conf.task_compression
        self._priority: int | None = conf.task_default_priority
        self._delivery_mode: Any = conf.task_default_delivery_mode

    def terms_of(self, call: Call, task: Any) -> Terms:
        """The terms of a call; ``task`` is None for a name that is not registered here."""
        options = self._merged(call, task)
        get = options.get
        to: Destination = self._routing.destination(options)
        eta, due = self._eta(get("eta"), get("countdown"))
        expires, expiration = self._expires(get("expires"))
        if expiration is None and get("expiration") is not None:
            expiration = int(_seconds(get("expiration"), "expiration") * 1000)
        hard, soft = _limit(options, "time_limit"), _limit(options, "soft_time_limit")
        if hard is not None and soft is not None and soft > hard:
            raise ValueError("soft_time_limit must be less than or equal to time_limit")
        stamp_names = list(dict.fromkeys(get("stamped_headers") or ())) or None
        priority = get("priority")
        if priority is None:
            priority = self._priority
        return Terms(
            exchange=to.exchange,
            routing_key=to.routing_key,
            queue=to.queue,
            is_fanout=to.is_fanout,
            priority=_priority(priority),
            serializer=get("serializer") or self._serializer,
            compression=get("compression") or self._compression,
            eta_iso=eta,
            due=due,
            expires_iso=expires,
            expiration_ms=expiration,
            ignore_result=get("ignore_result"),
            time_limit=hard,
            soft_time_limit=soft,
            shadow=get("shadow"),
            retries=get("retries") or 0,
            headers=get("headers") or None,
            stamped_headers=stamp_names,
            stamps=_stamps(options, stamp_names),
            reply_to=get("reply_to") or self._reply_to,
            origin=get("origin") or self._origin,
            argsrepr=get("argsrepr"),
            kwargsrepr=get("kwargsrepr"),
            replaced_task_nesting=get("replaced_task_nesting") or 0,
            correlation_id=get("correlation_id"),
            properties=self._properties(options, stamp_names),
        )

    def _properties(self, options: Mapping[str, Any], stamps: list[str] | None) -> dict[str, Any]:
        # What AMQP knows, and what nobody knows: Celery passes both on.
        found = {
            name: value
            for name, value in options.items()
            if (name in PROPERTIES or name not in KNOWN)
            and name not in (stamps or ())
            and name not in REFUSED
        }
        mode: Any = found.get("delivery_mode") or self._delivery_mode
        found["delivery_mode"] = _DELIVERY_MODES.get(mode, mode)
        return found

    def _merged(self, call: Call, task: Any) -> Mapping[str, Any]:
        # Weakest first: the task's attributes, its route, what the caller said.
        options = {} if task is None else task_options(task)
        given = call.options
        if task is not None and given.get("shadow") is None and task.overrides("shadow_name"):
            options["shadow"] = task.shadow_name(call.args, call.kwargs, given)
        name = given.get("route_name") or call.task
        as_task = given.get("task_type") or task
        route = self._routing.route(name, call.args, call.kwargs, {**options, **given}, as_task)
        if route:
            if "queue" in route or "exchange" in route:
                # A route is a place as a whole, not a mix with the task's own.
                for name in ("queue", "exchange", "routing_key"):
                    options.pop(name, None)
            options.update(route)
        said = {name: value for name, value in given.items() if value is not None}
        if "exchange" in said and "queue" not in said:
            options.pop("queue", None)
        options.update(said)
        return options

    # - Time

    def _eta(self, eta: Any, countdown: Any) -> tuple[str | None, float | None]:
        if countdown:
            seconds = _seconds(countdown, "countdown")
            eta = datetime.now(self._timezone) + timedelta(seconds=seconds)
        if eta is None:
            return None, None
        moment = self._moment(eta, "eta")
        return moment.isoformat(), self._aware(moment).timestamp()

    def _expires(self, expires: Any) -> tuple[str | None, int | None]:
        if expires is None:
            return None, None
        now = datetime.now(self._timezone)
        if isinstance(expires, int | float | timedelta):
            delay = timedelta(seconds=_seconds(expires, "expires"))
            moment = now + delay
            left_s = delay.total_seconds()
        else:
            moment = self._moment(expires, "expires")
            left_s = (self._aware(moment) - now).total_seconds()
        return moment.isoformat(), max(0, int(left_s * 1000))

    def _moment(self, given: Any, option: str) -> datetime:
        if isinstance(given, datetime):
            return given
        if isinstance(given, str):
            try:
                return parse_iso8601(given)
            except ValueError as error:
                raise ValueError(f"{option}={given!r} is no ISO 8601 date: {error}") from None
        raise TypeError(
            f"{option}={given!r} is a {type(given).__name__}; wanted a datetime or an ISO 8601 text"
        )

    def _aware(self, moment: datetime) -> datetime:
        # A time without an offset is in the app's timezone.
        return moment if moment.tzinfo else moment.replace(tzinfo=self._timezone)


def _seconds(given: Any, option: str) -> float:
    if isinstance(given, timedelta):
        return given.total_seconds()
    try:
        return float(given)
    except (TypeError, ValueError):
        raise TypeError(f"{option}={given!r} is no number of seconds") from None


def _limit(options: Mapping[str, Any], option: str) -> Any:
    given = options.get(option)
    if given is not None and (isinstance(given, bool) or not isinstance(given, int | float)):
        raise TypeError(f"{option}={given!r} is no number of seconds")
    return given


def _priority(given: Any) -> int:
    if given is None:
        return 0
    try:
        return max(0, min(9, int(given)))
    except (TypeError, ValueError):
        raise TypeError(f"priority={given!r} is no number; wanted 0 to 9") from None


def _stamps(options: Mapping[str, Any], names: list[str] | None) -> dict[str, Any]:
    if not names:
        return {}
    ready = options.get("stamps") or {}
    return {
        name: options[name] if name in options else ready.get(name)
        for name in names
        if name in options or name in ready
    }
