"""Numbers about a worker, under Celery's names: what monitors draw."""

from __future__ import annotations

import os
import resource
from typing import Any
from urllib.parse import unquote, urlsplit

from umbel.model.clock import monotonic_s
from umbel.worker.desk import Desk
from umbel.worker.pace import MOST

_IMPLEMENTATIONS = {
    "prefork": "celery.concurrency.prefork:TaskPool",
    "threads": "celery.concurrency.thread:TaskPool",
    "solo": "celery.concurrency.solo:TaskPool",
}
_RUSAGE = (
    *("utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt"),
    *("nswap", "inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw"),
)


def stats(desk: Desk) -> dict[str, Any]:
    """The answer to ``stats``."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "total": total(desk),
        "pid": os.getpid(),
        "clock": str(desk.clock.value),
        "uptime": round(monotonic_s() - desk.started_s),
        "pool": _pool(desk),
        "broker": broker_facts(desk.broker.url),
        "prefetch_count": _most_leased(desk),
        "rusage": {name: getattr(usage, f"ru_{name}") for name in _RUSAGE},
    }


def total(desk: Desk) -> dict[str, int]:
    """How many of each task have run here, by name."""
    counts = [0] * (len(desk.briefing.tasks) + 1)
    for seat in desk.staff.seats:
        counts = [
            before + here
            for before, here in zip(counts, seat.slot.counts(len(counts)), strict=True)
        ]
    names = ("(others)", *desk.briefing.tasks)
    return {name: number for name, number in zip(names, counts, strict=True) if number}


def concurrency(desk: Desk) -> int:
    """How many tasks run at a time at most."""
    return desk.staff.seats.target * desk.briefing.threads


def _pool(desk: Desk) -> dict[str, Any]:
    briefing = desk.briefing
    seats = list(desk.staff.seats)
    done = [seat.slot.done for seat in seats]
    all_done = sum(done)
    shares = [number / all_done if all_done else 0.0 for number in done]
    running = sum(len(seat.slot.running()) for seat in seats if seat.is_alive)
    return {
        "implementation": _IMPLEMENTATIONS[briefing.pool],
        "max-concurrency": concurrency(desk),
        "processes": [seat.pid for seat in seats if seat.is_alive],
        "max-tasks-per-child": briefing.max_tasks or "N/A",
        "put-guarded-by-semaphore": False,
        "timeouts": [briefing.soft_time_limit or 0, briefing.time_limit or 0],
        "writes": {
            "total": all_done,
            "avg": f"{sum(shares) / len(shares) if shares else 0:.2f}",
            "all": ", ".join(f"{share:.2f}" for share in shares),
            "raw": ", ".join(map(str, done)),
            "strategy": "fair",
            "inqueues": {"total": len(seats), "active": running},
        },
    }


def _most_leased(desk: Desk) -> int:
    briefing = desk.briefing
    if briefing.pool == "threads":
        return concurrency(desk)
    return concurrency(desk) * (briefing.prefetch_multiplier or MOST)


def broker_facts(url: str) -> dict[str, Any]:
    """A URL in parts, under the names of kombu's ``Connection.info()``."""
    parts = urlsplit(url.split(";")[0])
    path = unquote(parts.path)
    is_file = parts.scheme.startswith("sqlite")
    return {
        "hostname": parts.hostname,
        "userid": parts.username,
        "virtual_host": path if is_file else path.lstrip("/") or "0",
        "port": _port(parts),
        "insist": False,
        "ssl": parts.scheme in ("rediss", "valkeys"),
        "transport": parts.scheme.partition("+")[0],
        "connect_timeout": 4,
        "transport_options": {},
        "login_method": None,
        "uri_prefix": None,
        "heartbeat": 0,
        "failover_strategy": "round-robin",
        "alternates": [],
        "credential_provider": None,
    }


def _port(parts: Any) -> int | None:
    try:
        found: int | None = parts.port
    except ValueError:  # of a Sentinel's list of addresses
        return None
    return found
