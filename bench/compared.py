"""The systems that are compared: how the sending side and the workers of each are started.

``celery`` and ``umbel`` share a Redis and the tasks of ``bench_tasks.py``; ``umbel-sqlite`` is on a
file. The others (``others/``) run in environments of their own, because their pins are not ours,
with two processes and results in Redis, as their documents set them up; ``bare`` is the floor.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from systems import HERE

BUILD = HERE.parent / "build"
OTHERS = HERE / "others"

Command = list[str]
Left = Callable[[Any, str], int]


class System(NamedTuple):
    """One of those compared."""

    name: str
    send: Command
    """The sending side; measurement and number follow."""
    serve: list[Command]
    """The commands that are two processes of workers."""
    left: Left
    """Messages that no worker has taken (or, where that is all there is to see, not finished)."""
    claims: tuple[str, ...] | None = None
    """What it can do; None is everything."""
    slowness: str = ""
    """Names the column of sizes in ``run.py`` that this system gets through in some seconds."""

    @property
    def is_umbel(self) -> bool:
        return self.name.startswith("umbel")


BASIC = ("drain", "drain-ignored", "delay", "latency", "group-1000", "memory", "start", "idle")


def _ours(name: str, package: str, left: Left, slowness: str = "") -> System:
    serve = [sys.executable, "-m", package, "-A", "bench_tasks", "worker", "-c", "2"]
    return System(name, [sys.executable, str(HERE / "client.py")], [serve], left, None, slowness)


def _other(
    name: str,
    left: Left,
    *serve: str,
    processes: int = 1,
    folder: str = "bench",
    slowness: str = "",
) -> System:
    bin_ = BUILD / folder / "bin"
    send = [str(bin_ / "python"), str(OTHERS / "measuring.py"), name]
    command = [str(bin_ / serve[0]), *serve[1:]]
    return System(name, send, [command] * processes, left, BASIC, slowness)


def _rows(_redis: Any, folder: str) -> int:
    with sqlite3.connect(f"{folder}/bench.db", timeout=30) as db:
        return int(db.execute("select count(*) from messages where owner is null").fetchone()[0])


def _streamed(redis: Any, _folder: str) -> int:
    groups = redis.xinfo_groups("taskiq")
    return sum((group["lag"] or 0) + group["pending"] for group in groups)


def _list(name: str) -> Left:
    return lambda redis, _: int(redis.llen(name))


def _sorted_set(name: str) -> Left:
    return lambda redis, _: int(redis.zcard(name))


SYSTEMS = {
    system.name: system
    for system in (
        _ours("celery", "celery", _list("celery"), "celery"),
        _ours("umbel", "umbel", _list("celery")),
        _ours("umbel-sqlite", "umbel", _rows),
        _other(
            "dramatiq",
            lambda redis, _: int(redis.hlen("dramatiq:default.msgs")),
            *("dramatiq", "with_dramatiq", "--processes", "2"),
            slowness="other",
        ),
        _other(
            "rq",
            _list("rq:queue:default"),
            *("rq", "worker-pool", "--quiet", "--num-workers", "2", "--url", "{url}"),
            slowness="rq",
        ),
        _other(
            "huey",
            _list("huey.redis.bench"),
            *("huey_consumer", "with_huey.huey", "--workers", "2", "--worker-type", "process"),
            slowness="other",
        ),
        _other(
            "arq",
            _sorted_set("arq:queue"),
            *("arq", "with_arq.WorkerSettings"),
            processes=2,
            folder="bench-arq",
            slowness="celery",
        ),
        _other(
            "saq",
            _sorted_set("saq:default:incomplete"),
            *("saq", "with_saq.settings", "--workers", "2"),
            slowness="celery",
        ),
        _other(
            "taskiq",
            _streamed,
            *("taskiq", "worker", "with_taskiq:broker", "--workers", "2"),
            slowness="other",
        ),
        System(
            "bare",
            [sys.executable, str(OTHERS / "measuring.py"), "bare"],
            [[sys.executable, str(OTHERS / "with_bare.py")]],
            _list("bare"),
            tuple(claim for claim in BASIC if claim != "idle"),
            "bare",
        ),
    )
}
OURS = ("celery", "umbel", "umbel-sqlite")


def missing(names: list[str]) -> list[str]:
    """Those whose environment has not been made."""
    return [name for name in names if not Path(SYSTEMS[name].send[0]).exists()]
