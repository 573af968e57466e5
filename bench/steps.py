"""Where the time of a task goes in a child, step by step, and the whole of it.

    python bench/steps.py

The steps are timed by themselves; the whole is the child's own loop over 10,000 tasks in this
process, after a warm-up: processor time and wall time a task, on Redis and on SQLite.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from typing import Any

from report import tell
from systems import HERE, redis_server

REPEATS = 5
OPTIONS = {
    "worker": "steps#1",
    "hostname": "celery@here",
    "number": 0,
    "pool": "solo",
    "threads": 1,
    "queues": ("celery",),
    "lease_s": 600.0,
}


LINES: list[list[str | float]] = []


def timed(name: str, step: Callable[[], Any], number: int = 20_000) -> None:
    """Print the best of some repeats, in microseconds."""
    best = min(timeit.repeat(step, number=number, repeat=REPEATS)) / number * 1e6
    LINES.append([name, best, ""])


def steps(t: Any) -> None:
    """The steps of one no-op task whose result is kept."""
    from umbel.app.execution import Plan, execute
    from umbel.model.call import Call
    from umbel.model.lease import Lease
    from umbel.model.outcome import Succeeded
    from umbel.wire import protocol, serializers
    from umbel.worker.child import Child
    from umbel.worker.options import ChildOptions
    from umbel.worker.slots import Board, Slot

    child = Child(t.app, ChildOptions(**OPTIONS), Slot(Board(), 0))
    accept = serializers.content_types(["json"])
    call = Call("bench_tasks.noop", (), {}, t.app.new_id())
    message = t.app.publisher.compose(call, t.noop)
    lease = Lease(1, "celery", message.raw)
    job: Any = child.intake.admit(lease)
    plan = Plan(t.noop)
    outcome = Succeeded(None)
    timed("compose a message (the sender)", lambda: t.app.publisher.compose(call, t.noop))
    timed("decode envelope, body and request", lambda: protocol.read(message.raw, accept))
    timed("admit (decode, look up, eta, revoked)", lambda: child.intake.admit(lease))
    timed("execute (context, signals, the call)", lambda: execute(plan, job.request, (), {}))
    timed("settle (what follows, the record)", lambda: child.settler.settle(job, outcome))


class Loop:
    """The child's own loop in this process, for so many tasks at a time."""

    def __init__(self, t: Any) -> None:
        from umbel.worker.child import Child
        from umbel.worker.inline import Inline
        from umbel.worker.options import ChildOptions
        from umbel.worker.slots import LocalSlot

        slot = LocalSlot()
        self.child = Child(t.app, ChildOptions(**OPTIONS), slot)
        self.loop = Inline(self.child)
        self.left = 0
        add_done = slot.add_done

        def count(number: int, task: int = 0) -> None:
            self.left -= number
            if self.left <= 0:
                self.child.stop()
            add_done(number, task)

        slot.add_done = count  # type: ignore[method-assign]

    def run(self, number: int) -> tuple[float, float]:
        """Microseconds of CPU and of wall time a task."""
        self.left, self.child.is_stopping = number, False
        cpu, wall = time.process_time(), time.perf_counter()
        self.loop.serve()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        # It stops between batches, so a little more than asked for has run.
        ran = number - self.left
        return cpu / ran * 1e6, wall / ran * 1e6


def publish(t: Any, number: int) -> None:
    """No-op tasks into the queue."""
    for _ in range(number // 1_000):
        t.group(t.noop.si() for _ in range(1_000)).apply_async()


def whole(t: Any, name: str) -> None:
    """The loop itself."""
    loop = Loop(t)
    for number in (2_000, 10_000):
        publish(t, number)
        cpu, wall = loop.run(number)
    LINES.append([name, cpu, wall])
    loop.child.close()


def main() -> None:
    """Print both."""
    sys.path.insert(0, os.fspath(HERE))
    os.environ["BENCH_SYSTEM"] = "umbel"
    with redis_server() as (url, _), tempfile.TemporaryDirectory() as folder:
        for name, address in (("Redis", f"{url}/0"), ("SQLite", f"sqlite:///{folder}/bench.db")):
            os.environ["BENCH_BROKER"] = os.environ["BENCH_BACKEND"] = address
            sys.modules.pop("bench_tasks", None)
            import bench_tasks

            if name == "Redis":
                steps(bench_tasks)
            whole(bench_tasks, f"one task in the loop, {name}")
    tell("steps", ["step", "us (CPU)", "us (wall)"], LINES)


if __name__ == "__main__":
    main()
