"""``umbel worker``: from the command line to ``WorkerOptions``, and on to the supervisor.

The app is not imported here: the supervisor must be up before any user code runs, so that nothing
in the app can stop it. What only the app can decide stays None in the options.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from umbel.cli.invocation import Invocation
from umbel.cli.options import RefusedOption, SectionCommand, SectionOption, level, names
from umbel.cli.options import did_you_mean as near
from umbel.model.errors import NotBuiltYet
from umbel.worker.options import WorkerOptions

_F = TypeVar("_F", bound=Callable[..., Any])

POOLS = ("prefork", "threads", "solo")
POOL_ALIASES = {"processes": "prefork", "thread": "threads"}
POOLS_NOT_BUILT = ("eventlet", "gevent", "custom")


def pool_name(value: str) -> str:
    """The name of a pool; Celery's others are refused by name."""
    name = POOL_ALIASES.get(value, value)
    if name in POOLS_NOT_BUILT:
        raise NotBuiltYet(
            f"the {name} pool is not built: use -P threads for tasks that wait, -P prefork for"
            " tasks that compute"
        )
    if name not in POOLS:
        hint = near(name, POOLS) or f" Wanted one of {', '.join(POOLS)}."
        raise click.BadParameter(f"{value!r} is no pool.{hint}")
    return name


def concurrency(value: str) -> int | None:
    """A number of slots; 0 leaves it to the app's settings, ``auto`` asks the machine."""
    if value == "auto":
        return usable_cpus()
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number nor 'auto'")
    return int(value) or None


def bounds(value: str) -> tuple[int, int]:
    """``max,min`` of children, in either order; ``max`` alone leaves none where nothing waits."""
    try:
        numbers = sorted([int(number) for number in value.split(",")], reverse=True)
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise click.BadParameter(f"{value!r}: wanted max,min, as in 10,3")
    return numbers[0], numbers[1] if len(numbers) == 2 else 0


def start_method(value: str) -> str:
    """How children are started: forked. ``spawn`` is refused by name."""
    if value == "spawn":
        raise NotBuiltYet(
            "--pool-start-method spawn is not built: children are forked, and before any thread "
            "exists; open what does not survive a fork in worker_process_init"
        )
    if value != "fork":
        raise click.BadParameter(f"{value!r}: wanted fork")
    return value


def usable_cpus(quota_file: str = "/sys/fs/cgroup/cpu.max") -> int:
    """How many CPUs this process may use: its affinity, bounded by its container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        with open(quota_file, encoding="ascii") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        return count
    if quota == "max":
        return count
    return max(1, min(count, -(-int(quota) // int(period))))


def _option(*names: str, section: str, **settings: Any) -> Callable[[_F], _F]:
    return click.option(*names, cls=SectionOption, section=section, **settings)


def _refused(*names: str, instead: str, **settings: Any) -> Callable[[_F], _F]:
    return click.option(*names, cls=RefusedOption, instead=instead, **settings)


_SERVICE = "let the service manager (systemd, a container, supervisord) do it."
_BEAT = "there is no beat yet; let cron or a systemd timer run `umbel -A APP call TASK`."


@click.command("worker", cls=SectionCommand, options_metavar="[OPTIONS]")
@_option(
    "-n",
    "--hostname",
    section="Worker",
    metavar="NAME",
    help="Node name, e.g. w1@%h. %h: host, %n: name, %d: domain.",
)
@_option(
    "-l",
    "--loglevel",
    section="Worker",
    type=level,
    metavar="LEVEL",
    help="DEBUG, INFO, WARNING (the default), ERROR, CRITICAL or FATAL.",
)
@_option("-f", "--logfile", section="Worker", metavar="PATH", help="Where to log; else stderr.")
@_option("--pidfile", section="Worker", metavar="PATH", help="Where to write the process id.")
@_option(
    "--health-file",
    section="Worker",
    metavar="PATH",
    help="A file to replace every two seconds while the worker lives; it says how it is.",
)
@_option(
    "--health-http",
    section="Worker",
    metavar="[HOST:]PORT",
    help="Answer GET /live and GET /ready there; the host is 127.0.0.1 unless said.",
)
@_option(
    "-c",
    "--concurrency",
    section="Pool",
    type=concurrency,
    metavar="N",
    help="Tasks that run at the same time; else one per CPU. 'auto' minds quotas.",
)
@_option(
    "-P",
    "--pool",
    section="Pool",
    type=pool_name,
    metavar="POOL",
    help="prefork (the default), threads or solo.",
)
@_option(
    "--max-tasks-per-child",
    section="Pool",
    type=click.IntRange(min=1),
    metavar="N",
    help="Replace a child after so many tasks.",
)
@_option(
    "--max-memory-per-child",
    section="Pool",
    type=click.IntRange(min=1),
    metavar="KIB",
    help="Replace a child that has grown beyond this, after its task.",
)
@_option(
    "--time-limit",
    section="Pool",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Hard limit for a task: its process is killed.",
)
@_option(
    "--soft-time-limit",
    section="Pool",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Soft limit: SoftTimeLimitExceeded is raised in the task.",
)
@_option(
    "--prefetch-multiplier",
    section="Pool",
    type=click.IntRange(min=0),
    metavar="N",
    help="Bound the batch that a child claims; else it follows run times.",
)
@_option(
    "-Q", "--queues", section="Queues", type=names, metavar="A,B", help="The queues to consume."
)
@_option(
    "-X",
    "--exclude-queues",
    section="Queues",
    type=names,
    metavar="A,B",
    help="All of the app's queues but these.",
)
@_option(
    "-I",
    "--include",
    section="Queues",
    type=names,
    metavar="A,B",
    help="Further modules to import.",
)
@_option(
    "--purge",
    "--discard",
    section="Queues",
    is_flag=True,
    help="Delete what waits in the queues before starting. There is no undo.",
)
@_option(
    "-E",
    "--task-events",
    "--events",
    "events",
    section="Features",
    is_flag=True,
    help="Send task events for monitors.",
)
@_option(
    "--without-gossip",
    section="Features",
    is_flag=True,
    help="As it is: workers do not gossip.",
)
@_option(
    "--without-mingle",
    section="Features",
    is_flag=True,
    help="As it is: workers share what is revoked through the broker.",
)
@_option(
    "--without-heartbeat",
    section="Features",
    is_flag=True,
    help="Send no heartbeat events. Leases are kept alive all the same.",
)
@_option(
    "--heartbeat-interval",
    section="Features",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="Between two heartbeat events, for monitors; else 2.",
)
@click.option(
    "-O",
    "--optimization",
    type=click.Choice(["default", "fair"]),
    hidden=True,
    expose_value=False,
    help="Work is never reserved behind a long task.",
)
@_option(
    "--reload",
    section="Features",
    is_flag=True,
    help="Replace the children when a file of the app changes (while you develop).",
)
@click.option(
    # Threads exist in no process that forks, which is what "spawn" is for.
    "--pool-start-method",
    type=start_method,
    hidden=True,
    expose_value=False,
    help="Children are forked; spawn is refused.",
)
# What is kept there, revocations, is kept at the broker.
@click.option(
    "-S",
    "--statedb",
    hidden=True,
    expose_value=False,
    help="Revocations are kept at the broker; the file is not written.",
)
@click.option(
    "--disable-prefetch",
    is_flag=True,
    hidden=True,
    help="A child claims one message at a time.",
)
@_refused("-D", "--detach", is_flag=True, instead=_SERVICE)
@_refused("--uid", instead=_SERVICE)
@_refused("--gid", instead=_SERVICE)
@_refused("--umask", instead=_SERVICE)
@_refused("--executable", instead=_SERVICE)
@_option(
    "--autoscale",
    section="Pool",
    type=bounds,
    metavar="MAX,MIN",
    help="Add and remove child processes as work comes and goes.",
)
@_refused("-B", "--beat", is_flag=True, instead=_BEAT)
@_refused("-s", "--schedule-filename", "--schedule", instead=_BEAT)
@_refused("--scheduler", instead=_BEAT)
@click.pass_obj
def worker(invocation: Invocation, /, **given: Any) -> None:
    """Start a worker.

    \b
    umbel -A proj worker -l INFO
    umbel -A proj worker -c 4 -Q mail,default -n mail@%h
    """
    # Celery's switch for "take no more than you run"; with give-back a hint, but an honest one.
    if given.pop("disable_prefetch"):
        given["prefetch_multiplier"] = 1
    invocation.check_app()
    options = WorkerOptions(
        app=invocation.app,
        workdir=invocation.workdir,
        broker=invocation.broker,
        result_backend=invocation.result_backend,
        config=invocation.config,
        quiet=invocation.quiet,
        no_color=invocation.no_color,
        **given,
    )
    from umbel.worker.program import run

    raise SystemExit(run(options))
