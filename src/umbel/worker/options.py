"""What a worker was asked to do on the command line, before any app is known.

None means "not said": the app's settings decide then.
"""

from __future__ import annotations

from typing import NamedTuple


class WorkerOptions(NamedTuple):
    """The options of ``umbel worker``."""

    app: str | None = None  # "module", "package" or "module:name"
    workdir: str | None = None
    hostname: str | None = None  # -n, with %h %n %d not yet expanded
    concurrency: int | None = None
    pool: str | None = None  # prefork, threads, solo
    autoscale: tuple[int, int] | None = None  # most and least children
    queues: str | None = None  # -Q a,b
    exclude_queues: str | None = None  # -X a,b
    include: str | None = None  # -I a,b
    loglevel: str | None = None
    logfile: str | None = None
    pidfile: str | None = None
    health_file: str | None = None
    health_http: str | None = None  # [HOST:]PORT
    broker: str | None = None  # -b
    result_backend: str | None = None
    config: str | None = None
    events: bool = False  # -E
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None  # KiB
    time_limit: float | None = None
    soft_time_limit: float | None = None
    prefetch_multiplier: int | None = None
    purge: bool = False
    quiet: bool = False
    without_gossip: bool = False
    without_mingle: bool = False
    without_heartbeat: bool = False
    heartbeat_interval: float | None = None  # seconds between heartbeat events
    no_color: bool | None = None
    reload: bool = False


class ChildOptions(NamedTuple):
    """What one child must know beside its app."""

    worker: str  # unique id of this worker's run; begins each consumer's name
    hostname: str  # node name, celery@host
    number: int  # from 0; the process is ForkPoolWorker-<number + 1>
    pool: str
    threads: int  # 1 except for the threads pool
    queues: tuple[str, ...]
    lease_s: float
    max_tasks: int | None = None
    max_memory_kib: int | None = None
    time_limit: float | None = None
    soft_time_limit: float | None = None
    prefetch_multiplier: int | None = None  # bounds a batch only when set
    worker_pid: int = 0  # of the supervisor; 0: this process is the worker


# Exit codes of a child that its supervisor understands; every other one is a death.
EXIT_STOPPED = 0
EXIT_RECYCLED = 75  # it has run its max_tasks, or grew too large: replace it at once
