"""What the nursery tells the supervisor once it has the app: everything that it must know of it.

The supervisor imports no app, so what it knows of one comes as plain data: how to reach the
broker, how long leases live, how many children to keep, how to write its log lines.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from umbel.ports.engine import EngineOptions
from umbel.wire.event_notices import EXCHANGE

logger = logging.getLogger(__name__)


class LogSettings(NamedTuple):
    """How the supervisor writes its own few lines; those of the app's log settings."""

    level: int
    file: str | None
    format: str
    date_format: str | None
    is_colored: bool


class EventSettings(NamedTuple):
    """What the worker tells monitors, and how."""

    of_tasks: bool = False  # -E, worker_send_task_events
    heartbeat_s: float | None = None  # None: nothing about itself
    exchange: str = EXCHANGE
    serializer: str = "json"
    is_beat_told: bool = False  # somebody receives the signal heartbeat_sent


class ControlSettings(NamedTuple):
    """How the supervisor hears of commands, and answers."""

    is_on: bool = False  # worker_enable_remote_control
    namespace: str = "celery"  # control_exchange
    serializer: str = "json"
    accept: tuple[str, ...] = ("application/json",)  # content types
    may_restart: bool = False  # worker_pool_restarts


class Briefing(NamedTuple):
    """What the supervisor must know of the app."""

    pool: str  # prefork, threads, solo
    children: int
    threads: int  # per child
    queues: tuple[str, ...]
    # How named exchanges reach the queues: (exchange, kind, queue, routing key).
    bindings: tuple[tuple[str, str, str, str], ...]
    # Fanout queues, which are listened to: (exchange, queue, key).
    fanouts: tuple[tuple[str, str, str], ...]
    broker_url: str
    result_url: str | None
    broker_options: EngineOptions
    result_options: EngineOptions
    lease_s: float
    beat_s: float
    sweep_s: float
    max_deliveries: int
    grace_s: float  # worker_soft_shutdown_timeout; 0: wait for what runs
    log: LogSettings
    max_tasks: int | None = None
    max_memory_kib: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    prefetch_multiplier: int | None = None
    autoscale: tuple[int, int] | None = None  # most and least children
    # Of the user's own modules, with their last change (ns); only where they are watched.
    files: tuple[tuple[str, int], ...] = ()
    # worker_proc_alive_timeout, if set: how long a child's process may take to start.
    start_limit_s: float | None = None
    # worker_cancel_long_running_tasks_on_connection_loss
    is_ending_what_is_lost: bool = False
    events: EventSettings = EventSettings()
    tasks: tuple[str, ...] = ()  # names, in the order in which slots count them
    control: ControlSettings = ControlSettings()

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for the line."""
        plain = self._asdict()
        plain["log"] = self.log._asdict()
        plain["events"] = self.events._asdict()
        plain["control"] = self.control._asdict()
        for name in ("broker_options", "result_options"):
            plain[name] = _plain_options(name, plain[name])
        return plain


def from_dict(plain: Mapping[str, Any]) -> Briefing:
    """What ``as_dict`` gave, after its way over the line."""
    return Briefing(
        **{
            **plain,
            "queues": tuple(plain["queues"]),
            "files": tuple((path, changed_ns) for path, changed_ns in plain["files"]),
            "autoscale": tuple(plain["autoscale"]) if plain["autoscale"] else None,
            "bindings": tuple(tuple(binding) for binding in plain["bindings"]),
            "fanouts": tuple(tuple(fanout) for fanout in plain["fanouts"]),
            "log": LogSettings(**plain["log"]),
            "events": EventSettings(**plain["events"]),
            "tasks": tuple(plain["tasks"]),
            "control": ControlSettings(
                **{**plain["control"], "accept": tuple(plain["control"]["accept"])}
            ),
            "broker_options": EngineOptions(**plain["broker_options"]),
            "result_options": EngineOptions(**plain["result_options"]),
        }
    )


def _plain_options(name: str, options: EngineOptions) -> dict[str, Any]:
    plain = options._asdict()
    plain["transport"] = _plain_mapping(name, options.transport)
    if options.tls is not None:
        plain["tls"] = _plain_mapping(name, options.tls)
    return plain


def _plain_mapping(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    plain = {}
    for key, value in options.items():
        try:
            plain[key] = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            logger.warning(
                "%s: %s is a %s and can't be handed to the supervisor, which does without it",
                name,
                key,
                type(value).__name__,
            )
    return plain
