"""One worker, or one task, as its events have shown it so far.

Attributes are those of Celery's. A task's state follows the precedence of states, not the order in
which events arrive: what comes late adds the facts that it alone has (who has received a task with
which arguments) and leaves the rest as it is.
https://docs.celeryq.dev/en/stable/userguide/monitoring.html#event-reference
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from umbel.model import states
from umbel.model.clock import unix_s

logger = logging.getLogger(__name__)

HEARTBEAT_EXPIRE_WINDOW = 200  # per cent of its frequency that a heartbeat may take
HEARTBEAT_DRIFT_MAX = 16  # seconds
_HEARTBEATS_KEPT = 4

TASK_EVENT_TO_STATE = {
    "sent": states.PENDING,
    "received": states.RECEIVED,
    "started": states.STARTED,
    "failed": states.FAILURE,
    "retried": states.RETRY,
    "succeeded": states.SUCCESS,
    "revoked": states.REVOKED,
    "rejected": states.REJECTED,
}
# What an event still tells that comes after one which says more of how the task ended.
_FACTS_OF_LATE_EVENTS = {
    states.RECEIVED: (
        *("name", "args", "kwargs", "parent_id", "root_id"),
        *("retries", "eta", "expires"),
    ),
    states.PENDING: (
        *("name", "args", "kwargs", "parent_id", "root_id", "retries", "eta", "expires"),
        *("queue", "exchange", "routing_key"),
    ),
}


def heartbeat_expires(
    timestamp: float,
    freq: float = 60,
    expire_window: float = HEARTBEAT_EXPIRE_WINDOW,
    **_options: Any,
) -> float:
    """When (unix seconds) a worker counts as gone whose last heartbeat was at ``timestamp``."""
    return float(timestamp) + float(freq or 60) * (float(expire_window) / 100)


class Worker:
    """A worker that was heard of."""

    heartbeat_max = _HEARTBEATS_KEPT
    expire_window = HEARTBEAT_EXPIRE_WINDOW
    _fields = (
        *("hostname", "pid", "freq", "heartbeats", "clock", "active", "processed"),
        *("loadavg", "sw_ident", "sw_ver", "sw_sys"),
    )

    def __init__(
        self,
        hostname: str | None = None,
        pid: int | None = None,
        freq: float = 60,
        heartbeats: Iterable[float] | None = None,
        clock: int = 0,
        active: int | None = None,
        processed: int | None = None,
        loadavg: Any = None,
        sw_ident: str | None = None,
        sw_ver: str | None = None,
        sw_sys: str | None = None,
    ) -> None:
        self.hostname = hostname
        self.pid = pid
        self.freq = freq
        self.heartbeats: list[float] = list(heartbeats or ())  # when they arrived here, sorted
        self.clock = clock or 0
        self.active = active
        self.processed = processed
        self.loadavg = loadavg
        self.sw_ident = sw_ident
        self.sw_ver = sw_ver
        self.sw_sys = sw_sys
        self._has_drifted = False  # said once

    def event(
        self,
        type_: str | None,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Take in ``online``, ``heartbeat`` or ``offline`` (or another event of the worker)."""
        self.update(
            {
                name: value
                for name, value in (fields or {}).items()
                if name in self._fields and name not in ("hostname", "heartbeats")
            }
        )
        if type_ == "offline":
            self.heartbeats.clear()
            return
        arrived = local_received or timestamp
        if not isinstance(arrived, int | float):
            return
        self._warn_of_drift(arrived, timestamp)
        self.heartbeats.append(arrived)
        self.heartbeats.sort()
        del self.heartbeats[: -self.heartbeat_max]

    def _warn_of_drift(self, arrived: float, timestamp: float | None) -> None:
        if not isinstance(timestamp, int | float):
            return
        if abs(arrived - timestamp) > HEARTBEAT_DRIFT_MAX and not self._has_drifted:
            self._has_drifted = True
            logger.warning(
                "The clock of %s is off by %.0f s from ours: its times are not ours",
                self.hostname,
                timestamp - arrived,
            )

    def update(self, f: Mapping[str, Any] | None = None, **kw: Any) -> None:
        """Set attributes."""
        for name, value in {**(f or {}), **kw}.items():
            setattr(self, name, value)

    @property
    def id(self) -> str:
        """``hostname.pid``."""
        return f"{self.hostname}.{self.pid}"

    @property
    def heartbeat_expires(self) -> float:
        """When it counts as gone if no further heartbeat comes (unix seconds)."""
        return heartbeat_expires(self.heartbeats[-1], self.freq, self.expire_window)

    @property
    def alive(self) -> bool:
        """Whether its last heartbeat is recent."""
        return bool(self.heartbeats) and unix_s() < self.heartbeat_expires

    @property
    def status_string(self) -> str:
        """``ONLINE`` or ``OFFLINE``."""
        return "ONLINE" if self.alive else "OFFLINE"

    def __eq__(self, other: object) -> bool:
        return self.hostname == other.hostname if isinstance(other, Worker) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.hostname)

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname} ({self.status_string} clock:{self.clock})>"


class Task:
    """A task that was heard of. What no event has told is None."""

    name: str | None = None
    state: str = states.PENDING
    # When (unix seconds) an event of this type was sent.
    sent: float | None = None
    received: float | None = None
    started: float | None = None
    succeeded: float | None = None
    failed: float | None = None
    retried: float | None = None
    revoked: float | None = None
    rejected: float | None = None
    timestamp: float | None = None  # of the event that gave it its state
    args: str | None = None
    kwargs: str | None = None
    eta: str | None = None
    expires: str | None = None
    retries: int | None = None
    worker: Worker | None = None
    result: str | None = None
    exception: str | None = None
    traceback: str | None = None
    runtime: float | None = None
    queue: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    clock: int = 0
    client: str | None = None  # who sent it
    root_id: str | None = None
    parent_id: str | None = None

    _fields = (
        *("uuid", "name", "state", "received", "sent", "started", "rejected", "succeeded"),
        *("failed", "retried", "revoked", "args", "kwargs", "eta", "expires", "retries", "worker"),
        *("result", "exception", "timestamp", "runtime", "traceback", "exchange", "routing_key"),
        *("clock", "client", "root", "root_id", "parent", "parent_id", "children"),
    )
    _info_fields = (
        *("args", "kwargs", "retries", "result", "eta", "runtime", "expires", "exception"),
        *("exchange", "routing_key", "root_id", "parent_id"),
    )

    def __init__(
        self,
        uuid: str | None = None,
        cluster_state: Any = None,
        children: Iterable[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.uuid = uuid
        self.cluster_state = cluster_state
        self.children: set[Task] = set(children or ())
        self.__dict__.update(kwargs)

    def event(
        self,
        type_: str,
        timestamp: float | None = None,
        local_received: float | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Take in an event of the task; its type without ``task-``."""
        facts = {key: value for key, value in (fields or {}).items() if key not in _NEVER_SET}
        clock = facts.pop("clock", None)
        if type(clock) is int:
            self.clock = max(self.clock, clock)
        state = TASK_EVENT_TO_STATE.get(type_)
        if state is None:
            # An event that users made up is a state that they made up.
            state = type_.upper()
        else:
            setattr(self, type_, timestamp)
        facts.pop("state", None)
        if self._is_late(state):
            kept = _FACTS_OF_LATE_EVENTS.get(state)
            if kept is not None:
                facts = {name: facts[name] for name in kept if name in facts}
            else:
                facts.pop("timestamp", None)
        else:
            facts.update(state=state, timestamp=timestamp)
        self.__dict__.update(facts)

    def _is_late(self, state: str) -> bool:
        if states.RETRY in (state, self.state):
            # A task that is retried begins anew.
            return False
        return states.precedence(state) > states.precedence(self.state)

    def info(
        self, fields: Iterable[str] | None = None, extra: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """What a monitor shows in a line: those of the fields that are known."""
        names = [*(self._info_fields if fields is None else fields), *(extra or ())]
        found = {name: getattr(self, name, None) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def as_dict(self) -> dict[str, Any]:
        """All fields; relatives by their ids."""
        found = {name: getattr(self, name) for name in self._fields}
        found["children"] = [child.uuid for child in self.children]
        found["root"], found["parent"] = self.root_id, self.parent_id
        return found

    @property
    def id(self) -> str | None:
        """Its id."""
        return self.uuid

    @property
    def origin(self) -> str | None:
        """Where the last word of it came from: its worker, else its sender."""
        return self.client if self.worker is None else self.worker.id

    @property
    def ready(self) -> bool:
        """Whether it has ended."""
        return self.state in states.READY_STATES

    @property
    def parent(self) -> Task | None:
        """The task that sent it, where it is known."""
        return self._relative(self.parent_id)

    @property
    def root(self) -> Task | None:
        """The first task of its workflow, where it is known."""
        return self._relative(self.root_id)

    def _relative(self, id_: str | None) -> Task | None:
        if not id_ or self.cluster_state is None:
            return None
        found: Task | None = self.cluster_state.tasks.get(id_)
        return found

    def __eq__(self, other: object) -> bool:
        return self.uuid == other.uuid if isinstance(other, Task) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"<Task: {self.name}({self.uuid}) {self.state} clock:{self.clock}>"


# Names of properties and methods, which an event of somebody's own may use as fields.
_NEVER_SET = frozenset(name for name, value in vars(Task).items() if callable(value)) | {
    *("uuid", "cluster_state", "children", "id", "origin", "ready", "parent", "root"),
    *("info", "as_dict", "event", "worker", "client"),
}
