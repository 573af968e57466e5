"""A worker inside the program that tests it: no processes, no command line.

    with running_worker(app):
        assert add.delay(1, 2).get(timeout=5) == 3

It is the worker's own child loop in a thread, with the supervisor's duties at the broker in
another one, so what it does with messages is what a real worker does. What needs a process is not
here: time limits, the loss of a child, signals. With ``memory://`` there is no other kind.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from umbel.app.app import App
from umbel.app.routing import Binding
from umbel.model.clock import monotonic_s, unix_s
from umbel.model.ids import hostname
from umbel.model.queues import own_queue
from umbel.ports.broker import Broker, SweepPolicy
from umbel.worker import verdicts
from umbel.worker.broadcasts import Broadcasts
from umbel.worker.child import Child, serve
from umbel.worker.options import ChildOptions
from umbel.worker.slots import LocalSlot
from umbel.worker.upkeep import Upkeep

START_S = 10.0
STOP_S = 30.0


@contextmanager
def running_worker(
    app: App,
    *,
    pool: str = "solo",
    threads: int = 1,
    queues: str | Sequence[str] | None = None,
    exclude_queues: str | Sequence[str] | None = None,
    node: str | None = None,
    stop_s: float = STOP_S,
) -> Iterator[None]:
    """Run a worker for ``app`` while the block runs; ``pool`` is ``solo`` or ``threads``.

    ``node`` is its name; ``stop_s`` is how long it may take to stop, in seconds.
    Stops warm: what runs at the end of the block is finished. Raises what the worker ended with.
    """
    if pool not in ("solo", "threads"):
        raise ValueError(f"pool {pool!r}: a worker inside a program is 'solo' or 'threads'")
    app.finalize()
    conf = app.conf
    ready = threading.Event()
    failures: list[BaseException] = []
    tending = _Tending(app)
    names = app.routing.consumed_queues(queues, exclude_queues)
    worker = f"test@{hostname()}#{os.urandom(3).hex()}"
    listening = _Listening(app, own_queue(worker), app.routing.fanouts(names))
    stored = app.routing.stored_queues(names)
    slot = LocalSlot(on_ready=ready.set, on_due=tending.note_due)
    options = ChildOptions(
        worker=worker,
        hostname=node or f"test@{hostname()}",
        number=0,
        pool=pool,
        threads=threads if pool == "threads" else 1,
        queues=(*stored, listening.queue) if listening.is_needed else tuple(stored),
        lease_s=conf.worker_lease_seconds,
    )
    if conf.worker_send_task_events:
        slot.order(events=True)
    child = Child(app, options, slot)

    def live() -> None:
        try:
            serve(child)
        except BaseException as error:  # noqa: BLE001 - raised where the block ends
            failures.append(error)
        finally:
            child.close()
            ready.set()

    loop = threading.Thread(target=live, name="umbel-test-worker")
    loop.start()
    try:
        if not ready.wait(START_S):
            raise TimeoutError(f"the worker did not start within {START_S} s")
        tending.start(lambda: [slot.consumer(options.worker)])
        listening.start()
        yield
    finally:
        listening.stop()
        child.stop()
        loop.join(stop_s)
        listening.forget()
        tending.stop()
    if failures:
        raise failures[0]
    if loop.is_alive():
        raise TimeoutError(f"the worker did not stop within {stop_s} s; a task still runs")


class _Listening:
    """The thread that listens to fanout exchanges, where the worker's queues have any."""

    def __init__(self, app: App, queue: str, fanouts: Sequence[Binding]) -> None:
        self.queue = queue
        self.is_needed = bool(fanouts)
        self._broker = app.open_pair().broker if fanouts else None
        self._poll = select.poll()
        self._wake_read, self._wake_write = os.pipe()
        self._poll.register(self._wake_read, select.POLLIN)
        self._ways = [(way.exchange, way.routing_key) for way in fanouts]
        self._is_listening = threading.Event()
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen from now on."""
        if self._broker is not None:
            self._thread = threading.Thread(
                target=self._run, args=(self._broker,), name="umbel-test-broadcasts"
            )
            self._thread.start()
            self._is_listening.wait(START_S)

    def stop(self) -> None:
        """End the thread; what was heard is stored."""
        self._is_stopping = True
        os.write(self._wake_write, b"s")
        if self._thread is not None:
            self._thread.join()

    def forget(self) -> None:
        """Delete what nobody will run: this worker's name is never used again."""
        if self._broker is not None:
            self._broker.purge(self.queue)
            self._broker.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self, broker: Broker) -> None:
        broadcasts = Broadcasts(broker, self.queue, self._ways, self._poll)
        while not self._is_stopping:
            again_s = broadcasts.keep()
            self._is_listening.set()
            left_s = None if again_s is None else max(again_s - monotonic_s(), 0.0)
            for fd, _ in self._poll.poll(None if left_s is None else left_s * 1000):
                broadcasts.is_readable(fd)
        broadcasts.stop()
        broadcasts.keep()


class _Tending:
    """The thread that renews, sweeps and fires what is due."""

    def __init__(self, app: App) -> None:
        conf = app.conf
        pair = app.open_pair()
        if pair.broker is None:
            raise ValueError("a worker needs a broker")
        self._pair = pair
        self._broker = pair.broker
        policy = SweepPolicy(
            conf.worker_lease_seconds,
            conf.worker_sweep_interval,
            conf.task_max_deliveries,
            verdicts.poison(conf.task_max_deliveries),
            verdicts.begun(),
        )
        self._upkeep = Upkeep(self._broker, policy, conf.worker_lease_heartbeat, store=pair.store)
        self._wake = threading.Condition()
        self._noted: list[float] = []
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def note_due(self, unix_seconds: float) -> None:
        """A message is due then; from the worker's thread."""
        with self._wake:
            self._noted.append(unix_seconds)
            self._wake.notify()

    def start(self, consumers: Any) -> None:
        """Tend ``consumers()`` from now on."""
        self._thread = threading.Thread(
            target=self._run, args=(consumers,), name="umbel-test-upkeep"
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._wake:
            self._is_stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._broker.close()
        if self._pair.store is not None:
            self._pair.store.close()

    def _run(self, consumers: Any) -> None:
        while True:
            self._upkeep.tend(consumers())
            with self._wake:
                if not self._noted and not self._is_stopping:
                    self._wake.wait(max(self._upkeep.next_at() - monotonic_s(), 0.0))
                if self._is_stopping:
                    return
                for due in self._noted:
                    self._upkeep.note_due(max(due, unix_s()))
                self._noted.clear()
