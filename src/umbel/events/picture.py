"""``app.events.State``: what a monitor knows of workers and tasks, put together from events.

Its surface is Celery's, so that monitors and cameras written for it work. Events come out of order,
twice, or never: what an older event says fills gaps of a newer picture and never sets it back, and
nothing that an event holds can raise. It forgets the tasks and workers that it has not heard of for
longest, beyond ``max_tasks_in_memory`` and ``max_workers_in_memory``.

Tasks are ordered by the logical clock of the event that told of them last, then by its time.
https://docs.celeryq.dev/en/stable/reference/celery.events.state.html
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from umbel.events import sightings

logger = logging.getLogger(__name__)

Fields = Mapping[str, Any]
# ((subject, whether it is new), the second part of the event's type); None for other events.
Seen = tuple[tuple[Any, bool], str] | None


class Memory(OrderedDict[str, Any]):
    """What was heard of most recently, up to ``limit`` entries."""

    def __init__(self, limit: int | None, entries: Iterable[tuple[str, Any]] = ()) -> None:
        self.limit = limit
        super().__init__(entries)

    def heard_of(self, key: str) -> None:
        """Keep this one longest."""
        self.move_to_end(key)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while self.limit is not None and len(self) > self.limit:
            self.popitem(last=False)

    def __reduce__(self) -> Any:
        return type(self), (self.limit, list(self.items()))


class State:
    """The picture: ``tasks`` by id, ``workers`` by node name. ``event`` adds to it.

    ``callback(state, event)`` is called before each event is taken in. ``on_node_join(worker)``
    and ``on_node_leave(worker)`` are called when a worker is first heard of, and when it says that
    it goes.
    """

    Task = sightings.Task
    Worker = sightings.Worker

    def __init__(
        self,
        callback: Callable[[State, dict[str, Any]], Any] | None = None,
        workers: Mapping[str, Any] | None = None,
        tasks: Mapping[str, Any] | None = None,
        taskheap: Any = None,
        max_workers_in_memory: int = 5000,
        max_tasks_in_memory: int = 10000,
        on_node_join: Callable[[Any], Any] | None = None,
        on_node_leave: Callable[[Any], Any] | None = None,
        tasks_by_type: Any = None,
        tasks_by_worker: Any = None,
    ) -> None:
        # The last three arguments of Celery's are indexes; here the tasks themselves are asked.
        self.event_callback = callback
        self.max_workers_in_memory = max_workers_in_memory
        self.max_tasks_in_memory = max_tasks_in_memory
        self.on_node_join = on_node_join
        self.on_node_leave = on_node_leave
        self.workers = Memory(max_workers_in_memory, (workers or {}).items())
        self.tasks = Memory(max_tasks_in_memory, (tasks or {}).items())
        # Children of tasks that were not heard of yet, by the parent's id.
        self._orphans: dict[str, set[sightings.Task]] = Memory(max_tasks_in_memory)
        self.handlers: dict[str, Callable[[str, dict[str, Any]], Any]] = {}  # by group of events
        self.event_count = 0
        self.task_count = 0
        self._mutex = threading.Lock()

    # - Taking in

    def event(self, event: dict[str, Any]) -> Seen:
        """Take an event in; the handler for ``app.events.Receiver``."""
        with self._mutex:
            return self._take_in(event)

    def _take_in(self, event: dict[str, Any]) -> Seen:
        self.event_count += 1
        if self.event_callback is not None:
            self.event_callback(self, event)
        group, _, subject = str(event.get("type") or "").partition("-")
        handler = self.handlers.get(group)
        if handler is not None:
            return handler(subject, event), subject
        # What has no name can't be shown; it comes from no Celery and no umbel.
        if not isinstance(event.get("hostname"), str):
            return None
        if group == "worker":
            return self._of_worker(subject, event), subject
        if group == "task" and isinstance(event.get("uuid"), str):
            return self._of_task(subject, event), subject
        return None

    def _of_worker(self, subject: str, event: dict[str, Any]) -> tuple[sightings.Worker, bool]:
        worker, is_new = self.get_or_create_worker(event["hostname"])
        worker.event(subject, event.get("timestamp"), event.get("local_received"), event)
        if self.on_node_join is not None and (is_new or subject == "online"):
            self.on_node_join(worker)
        if self.on_node_leave is not None and subject == "offline":
            self.on_node_leave(worker)
            self.workers.pop(event["hostname"], None)
        return worker, is_new

    def _of_task(self, subject: str, event: dict[str, Any]) -> tuple[sightings.Task, bool]:
        task, is_new = self.get_or_create_task(event["uuid"])
        if subject == "sent":
            task.client = event["hostname"]
        else:
            worker, _ = self.get_or_create_worker(event["hostname"])
            task.worker = worker
            if type(event.get("clock")) is int:
                worker.clock = max(worker.clock, event["clock"])
        if subject == "received":
            self.task_count += 1
        task.event(subject, event.get("timestamp"), event.get("local_received"), event)
        if is_new:
            task.children.update(self._orphans.pop(event["uuid"], ()))
        if isinstance(task.parent_id, str):
            parent = self.tasks.get(task.parent_id)
            if parent is not None:
                parent.children.add(task)
            else:
                self._orphans.setdefault(task.parent_id, set()).add(task)
        return task, is_new

    def get_or_create_worker(self, hostname: str, **kwargs: Any) -> tuple[sightings.Worker, bool]:
        """The worker of this name, and whether it is new."""
        worker = self.workers.get(hostname)
        if worker is not None:
            if kwargs:
                worker.update(kwargs)
            self.workers.heard_of(hostname)
            return worker, False
        worker = self.workers[hostname] = self.Worker(hostname, **kwargs)
        return worker, True

    def get_or_create_task(self, uuid: str) -> tuple[sightings.Task, bool]:
        """The task of this id, and whether it is new."""
        task = self.tasks.get(uuid)
        if task is not None:
            self.tasks.heard_of(uuid)
            return task, False
        task = self.tasks[uuid] = self.Task(uuid, cluster_state=self)
        return task, True

    def task_event(self, type_: str, fields: dict[str, Any]) -> tuple[sightings.Task, bool]:
        """Take in an event of a task, its type without ``task-``."""
        with self._mutex:
            return self._of_task(type_, fields)

    def worker_event(self, type_: str, fields: dict[str, Any]) -> tuple[sightings.Worker, bool]:
        """Take in an event of a worker, its type without ``worker-``."""
        with self._mutex:
            return self._of_worker(type_, fields)

    # - Holding still, forgetting

    def freeze_while(self, fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``fun`` while no event is taken in; ``clear_after=True`` forgets all tasks that
        have ended."""
        clear_after = kwargs.pop("clear_after", False)
        with self._mutex:
            try:
                return fun(*args, **kwargs)
            finally:
                if clear_after:
                    self._clear(ready=True)

    def clear(self, ready: bool = True) -> None:
        """Forget the tasks that have ended (or all with ``ready=False``), and all workers."""
        with self._mutex:
            self._clear(ready)

    def clear_tasks(self, ready: bool = True) -> None:
        """Forget the tasks that have ended, or all with ``ready=False``."""
        with self._mutex:
            self._clear_tasks(ready)

    def _clear(self, ready: bool) -> None:
        self.workers.clear()
        self._clear_tasks(ready)
        self.event_count = self.task_count = 0

    def _clear_tasks(self, ready: bool) -> None:
        left = [(id_, task) for id_, task in self.tasks.items() if ready and not task.ready]
        self.tasks.clear()
        self.tasks.update(left)
        self._orphans.clear()

    def rebuild_taskheap(self) -> None:
        """Nothing is to be rebuilt: the order of tasks is worked out when it is asked for."""

    # - Looking

    def itertasks(self, limit: int | None = None) -> Iterator[tuple[str, sightings.Task]]:
        """Tasks by id, the one first that was heard of longest ago."""
        return islice(list(self.tasks.items()), limit)

    def tasks_by_time(
        self, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, sightings.Task]]:
        """(id, task) in the order of their last events, newest first."""
        found = list(self.tasks.items())
        found.sort(
            key=lambda entry: (entry[1].clock, entry[1].timestamp or 0.0, entry[0]),
            reverse=reverse,
        )
        return islice(found, limit)

    tasks_by_timestamp = tasks_by_time

    def tasks_by_type(
        self, name: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, sightings.Task]]:
        """``tasks_by_time``, of one task."""
        found = (one for one in self.tasks_by_time(reverse=reverse) if one[1].name == name)
        return islice(found, limit)

    def tasks_by_worker(
        self, hostname: str, limit: int | None = None, reverse: bool = True
    ) -> Iterator[tuple[str, sightings.Task]]:
        """``tasks_by_time``, of one worker."""
        return islice(
            (
                one
                for one in self.tasks_by_time(reverse=reverse)
                if one[1].worker is not None and one[1].worker.hostname == hostname
            ),
            limit,
        )

    def task_types(self) -> list[str]:
        """The names of the tasks that were heard of, sorted."""
        return sorted({task.name for task in list(self.tasks.values()) if task.name})

    def alive_workers(self) -> Iterator[sightings.Worker]:
        """The workers whose last heartbeat is recent."""
        return (worker for worker in list(self.workers.values()) if worker.alive)

    def __repr__(self) -> str:
        return f"<State: events={self.event_count} tasks={self.task_count}>"

    def __getstate__(self) -> dict[str, Any]:
        hidden = ("_mutex", "event_callback", "on_node_join", "on_node_leave", "handlers")
        return {name: value for name, value in self.__dict__.items() if name not in hidden}

    def __setstate__(self, facts: dict[str, Any]) -> None:
        self.event_callback = self.on_node_join = self.on_node_leave = None
        self.handlers = {}
        self._mutex = threading.Lock()
        self.__dict__.update(facts)
