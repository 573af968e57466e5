"""What task events cost a child: processor time a task with them off and on, by turns in one run.

    python bench/events.py

The child's own loop over no-op tasks in this process, as in ``steps.py``: events off, on with
nobody listening, and on with a monitor listening (in a process of its own, which is not counted).
Then the steps of one task's events by themselves.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from steps import OPTIONS, timed
from systems import HERE, cpu_s, redis_server

TASKS = 10_000
ROUNDS = 7
MONITOR = """
import bench_tasks
app = bench_tasks.app
with app.connection() as connection:
    receiver = app.events.Receiver(connection, handlers={})
    receiver.listen()
    print("listening", flush=True)
    receiver.capture(limit=None, timeout=None, wakeup=False)
"""


class Loop:
    """A child that can be told to send events, and runs in this thread."""

    def __init__(self, t: Any) -> None:
        from umbel.worker.child import Child
        from umbel.worker.inline import Inline
        from umbel.worker.options import ChildOptions
        from umbel.worker.slots import LocalSlot

        self.t = t
        self.slot = LocalSlot()
        self.child = Child(t.app, ChildOptions(**OPTIONS), self.slot)
        self.loop = Inline(self.child)
        self.left = 0
        add_done = self.slot.add_done

        def count(number: int, task: int) -> None:
            self.left -= number
            if self.left <= 0:
                self.child.stop()
            add_done(number, task)

        self.slot.add_done = count  # type: ignore[method-assign]

    def run(self, number: int, *, events: bool) -> float:
        """Microseconds of processor time a task."""
        self.slot.order(events=events)
        for _ in range(number // 1_000):
            self.t.group(self.t.noop.si() for _ in range(1_000)).apply_async()
        self.left, self.child.is_stopping = number, False
        before = time.process_time()
        self.loop.serve()
        return (time.process_time() - before) / number * 1e6


def compare(t: Any, name: str, redis_pid: int | None) -> None:
    """Off, on, and on with a monitor, by turns."""
    loop = Loop(t)
    loop.run(2_000, events=False)
    loop.run(2_000, events=True)
    found: dict[str, list[float]] = {"off": [], "on": [], "watched": []}
    redis: dict[str, list[float]] = {"off": [], "on": [], "watched": []}
    for _ in range(ROUNDS):
        for how in found:
            monitor = listening() if how == "watched" else None
            before = cpu_s([redis_pid]) if redis_pid else 0.0
            found[how].append(loop.run(TASKS, events=how != "off"))
            if redis_pid:
                redis[how].append((cpu_s([redis_pid]) - before) / TASKS * 1e6)
            if monitor is not None:
                monitor.kill()
                monitor.wait()
    off = statistics.median(found["off"])
    for how, values in found.items():
        middle = statistics.median(values)
        server = f", Redis {statistics.median(redis[how]):.1f} us" if redis_pid else ""
        print(
            f"  {name:8} events {how:8} {middle:6.1f} us [{min(values):.1f}..{max(values):.1f}]"
            f"  x {middle / off:.2f}{server}"
        )
    loop.child.close()


def listening() -> subprocess.Popen[str]:
    """A monitor that listens."""
    monitor = subprocess.Popen(
        [sys.executable, "-c", MONITOR], cwd=HERE, stdout=subprocess.PIPE, text=True
    )
    assert monitor.stdout is not None
    monitor.stdout.readline()
    return monitor


def steps(t: Any) -> None:
    """Writing by itself."""
    from umbel.model.lamport import LamportClock
    from umbel.model.outcome import Succeeded
    from umbel.wire import event_notices
    from umbel.wire.event_notices import Speaker
    from umbel.worker.telling import Telling

    class Deaf:
        def say(self, notices: Any) -> int:
            return 0

    loop = Loop(t)
    bus: Any = Deaf()
    speaker = Speaker("celery@here", 1)
    telling = Telling(bus, speaker, LamportClock())
    lease = __import__("umbel.model.lease", fromlist=["Lease"]).Lease
    call = __import__("umbel.model.call", fromlist=["Call"]).Call
    message = t.app.publisher.compose(call("bench_tasks.noop", (), {}, t.app.new_id()), t.noop)
    job: Any = loop.child.intake.admit(lease(1, "celery", message.raw))
    outcome = Succeeded(None)

    def one() -> None:
        telling.begins(job)
        telling.ended(job, outcome, 0.001)

    def sixteen() -> None:
        for _ in range(16):
            one()
        telling.flush()

    fields = {"uuid": job.request.id}
    now = time.time()

    def plain() -> None:
        event = event_notices.event(
            speaker, "task-started", fields, clock=1, timestamp=now, utcoffset=0.0
        )
        event_notices.json_forms.dumps(event)

    timed("received, started and succeeded, written", lambda: (one(), telling.flush())[0])
    timed("sixteen tasks' events, written and packed", sixteen, 2_000)
    timed("one event by dictionary and encoder", plain)
    loop.child.close()


def main() -> None:
    """Print all."""
    sys.path.insert(0, os.fspath(HERE))
    os.environ["BENCH_SYSTEM"] = "umbel"
    with redis_server() as (url, pid), tempfile.TemporaryDirectory() as folder:
        for name, address in (("Redis", f"{url}/0"), ("SQLite", f"sqlite:///{folder}/bench.db")):
            os.environ["BENCH_BROKER"] = os.environ["BENCH_BACKEND"] = address
            sys.modules.pop("bench_tasks", None)
            import bench_tasks

            compare(bench_tasks, name, pid if name == "Redis" else None)
            if name == "Redis":
                steps(bench_tasks)


if __name__ == "__main__":
    main()
