"""``AsyncResult``: one task that was sent, seen by whoever wants its result.

It holds an id and knows where results are kept; it never holds a connection. What it has read of a
task that has ended is kept, because that does not change any more; a task that has not ended is
asked for again each time. Waiting is the archive's work: one subscription for all ids of a wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Generic, Self

from umbel.model import states
from umbel.model.clock import parse_iso8601
from umbel.model.errors import IncompleteStream, TimeoutError
from umbel.model.generics import R_co
from umbel.model.record import Record
from umbel.ports.archive import Archive
from umbel.ports.current import current_app
from umbel.ports.sender import Sender
from umbel.results.base import ResultBase
from umbel.results.blocking import assert_will_not_block
from umbel.results.graph import DependencyGraph, GraphFormatter
from umbel.results.progress import progress_of

Callback = Callable[[str, Any], Any]


def meta_of(record: Record) -> dict[str, Any]:
    """A record as the dictionary that ``backend.get_task_meta`` gives."""
    meta: dict[str, Any] = {
        "status": record.status,
        "result": record.result,
        "traceback": record.traceback,
        "children": record.children,
        "date_done": record.date_done,
        "task_id": record.task_id,
    }
    if record.group_id is not None:
        meta["group_id"] = record.group_id
    if record.parent_id is not None:
        meta["parent_id"] = record.parent_id
    if record.extended:
        meta.update(record.extended)
    return meta


def tuple_of(result: Any) -> tuple[Any, Any]:
    """A result as plain data. A chain may be longer than the interpreter's stack is deep."""
    line = []
    node = result
    while node is not None:
        line.append(node)
        node = node.parent
    above: Any = None
    for node in reversed(line):
        members = None if isinstance(node, AsyncResult) else [tuple_of(m) for m in node.results]
        above = ((node.id, above), members)
    kept: tuple[Any, Any] = above
    return kept


class AsyncResult(ResultBase, Generic[R_co]):
    """The state and the result of one task, by its id.

    For type checkers it is generic in what the task returns.
    """

    TimeoutError = TimeoutError

    # Most results never have more than an id, an app and perhaps a parent, and a group makes
    # thousands of them: the rest is set on the object only where it is known.
    parent: Any = None
    task_name: str | None = None
    ignored = False  # the task keeps no result: there is nothing to wait for
    _app: Sender | None = None
    _backend: Archive | None = None
    _cache: dict[str, Any] | None = None  # the meta of a task that has ended
    _thens: list[tuple[Callable[[Any], Any], Callable[[Any], Any] | None]] | None = None

    def __init__(
        self,
        id: str,  # noqa: A002 - Celery's name
        backend: Archive | None = None,
        task_name: str | None = None,
        app: Sender | None = None,
        parent: Any = None,
    ) -> None:
        if id is None:
            raise ValueError("AsyncResult requires valid id, not NoneType")
        self.id = id
        if app is not None:
            self._app = app
        if parent is not None:
            self.parent = parent
        if task_name is not None:
            self.task_name = task_name
        if backend is not None:
            self._backend = backend

    # -- where results are kept

    @property
    def app(self) -> Sender:
        """The app that sent the task, else the current one."""
        if self._app is None:
            self._app = current_app()
        return self._app

    @app.setter
    def app(self, app: Sender) -> None:
        self._app = app

    @property
    def backend(self) -> Archive:
        """Where the record is kept: ``get_task_meta(id)``, ``store_result(...)``."""
        if self._backend is None:
            self._backend = self.app.archive
        return self._backend

    @property
    def task_id(self) -> str:
        """The same as ``id``."""
        return self.id

    @property
    def supports_native_join(self) -> bool:
        """True: many results are waited for with one subscription."""
        return True

    # -- what is known

    def _take(self, meta: dict[str, Any]) -> None:
        """Keep what is known of a task that has ended."""
        children = meta.get("children")
        if children:
            from umbel.results.tuples import result_from_tuple

            meta["children"] = [result_from_tuple(child, self._app) for child in children]
        self._cache = meta
        if self._thens:
            thens, self._thens = self._thens, None
            for callback, on_error in thens:
                self._tell(callback, on_error)

    def _get_task_meta(self) -> dict[str, Any]:
        if self._cache is not None:
            return self._cache
        meta = meta_of(self.backend.records([self.id])[0])
        if meta["status"] in states.READY_STATES:
            self._take(meta)
        return meta

    @property
    def state(self) -> str:
        """The task's state: PENDING, STARTED, RETRY, SUCCESS, FAILURE, REVOKED or your own.

        PENDING also stands for a task that nobody has heard of.
        """
        state: str = self._get_task_meta()["status"]
        return state

    status = state

    @property
    def result(self) -> Any:
        """What the task returned, or the exception that it raised, or its state's meta."""
        return self._get_task_meta()["result"]

    info = result

    @property
    def traceback(self) -> str | None:
        """The traceback of a failed task, as text."""
        return self._get_task_meta().get("traceback")

    @property
    def children(self) -> list[Any] | None:
        """Results of what the task sent; None as long as it has not ended."""
        return self._get_task_meta().get("children")

    @property
    def date_done(self) -> datetime | None:
        """When the task ended."""
        done = self._get_task_meta().get("date_done")
        return parse_iso8601(done) if isinstance(done, str) else done

    @property
    def name(self) -> str | None:
        """The name of the task (``result_extended``)."""
        return self._get_task_meta().get("name")

    @property
    def args(self) -> Any:
        """The arguments of the task (``result_extended``)."""
        return self._get_task_meta().get("args")

    @property
    def kwargs(self) -> Any:
        """The keyword arguments of the task (``result_extended``)."""
        return self._get_task_meta().get("kwargs")

    @property
    def worker(self) -> str | None:
        """The worker that ran the task (``result_extended``)."""
        return self._get_task_meta().get("worker")

    @property
    def retries(self) -> int | None:
        """How often the task was tried again (``result_extended``)."""
        return self._get_task_meta().get("retries")

    @property
    def queue(self) -> str | None:
        """The queue that the task came by (``result_extended``)."""
        return self._get_task_meta().get("queue")

    def exists(self) -> bool:
        """True where anything is kept of the task: it has been started, or has ended.

        False for one that waits, that nobody has sent, or whose record was forgotten or expired.
        """
        return self.state != states.PENDING

    def ready(self) -> bool:
        """True where the task has ended, well or not."""
        return self.state in states.READY_STATES

    def successful(self) -> bool:
        """True where the task has returned."""
        return self.state == states.SUCCESS

    def failed(self) -> bool:
        """True where the task has raised."""
        return self.state == states.FAILURE

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callback | None = None,
        on_message: Callable[[Mapping[str, Any]], None] | None = None,
        on_interval: Callable[[], None] | None = None,
        disable_sync_subtasks: bool = True,
        EXCEPTION_STATES: frozenset[str] = states.EXCEPTION_STATES,
        PROPAGATE_STATES: frozenset[str] = states.PROPAGATE_STATES,
        progress: bool = False,
    ) -> R_co:
        """Wait until the task has ended, and give what it returned.

        A task that failed or was revoked raises its exception here (``propagate=False`` gives it
        instead), and so does an earlier step of its chain. Raises ``TimeoutError`` after
        ``timeout`` seconds, and ``RuntimeError`` within a task. ``interval`` and ``no_ack`` are
        Celery's and change nothing: no result is polled for.
        """
        if self.ignored:
            return None  # type: ignore[return-value]  # it keeps no result, whatever it returns
        if disable_sync_subtasks:
            assert_will_not_block()
        if self._cache is None:
            self._wait(
                timeout,
                self._steps() if follow_parents and propagate else (),
                on_message=on_message,
                on_interval=on_interval,
                progress=progress,
            )
        self.maybe_throw(propagate=propagate, callback=callback)
        value: R_co = self.result
        return value

    wait = get

    def _wait(
        self,
        timeout: float | None,
        steps: tuple[AsyncResult, ...],
        *,
        on_message: Callable[[Mapping[str, Any]], None] | None,
        on_interval: Callable[[], None] | None,
        progress: bool,
    ) -> None:
        """Return when this task has ended; raise where one of ``steps`` before it has failed."""
        waited = {step.id: step for step in steps}
        look = None
        if steps and on_message is None and not progress:
            # A step that fails is told of by the last one, which fails with it. So nobody needs to
            # be woken for each of 100 steps; that costs as much as half of running them. Where the
            # last one isn't told (a Celery worker discards a revoked step), a look now and then
            # will do.
            look = on_interval = partial(self._look_at, steps, on_interval)
            waited = {}
        waited[self.id] = self
        try:
            self._wait_for(waited, timeout, on_message, on_interval, progress=progress)
        except TimeoutError:
            if look is not None:
                look()
            raise

    def _wait_for(
        self,
        waited: Mapping[str, AsyncResult],
        timeout: float | None,
        on_message: Callable[[Mapping[str, Any]], None] | None,
        on_interval: Callable[[], None] | None,
        *,
        progress: bool,
    ) -> None:
        with progress_of(len(waited), wanted=progress) as bar:
            for record in self.backend.wait_for(list(waited), timeout, on_interval, on_message):
                step = waited[record.task_id]
                step._take(meta_of(record))
                bar.ended(failed=record.status in states.PROPAGATE_STATES)
                if step is self:
                    return
                step.maybe_throw()

    def _look_at(
        self, steps: tuple[AsyncResult, ...], on_interval: Callable[[], None] | None
    ) -> None:
        """Raise where one of these has failed."""
        for step, record in zip(steps, self.backend.records([s.id for s in steps]), strict=True):
            if record.status in states.PROPAGATE_STATES:
                step._take(meta_of(record))
                step.maybe_throw()
        if on_interval is not None:
            on_interval()

    def _steps(self) -> tuple[AsyncResult, ...]:
        """The earlier steps of the chain that can't have been seen to succeed yet.

        Members of a group before this task are not among them: their failure reaches this task as
        a ``ChordError`` that names the member.
        """
        steps = []
        node = self.parent
        while node is not None:
            if isinstance(node, AsyncResult) and not node.ignored and node._cache is None:
                steps.append(node)
            node = node.parent
        return tuple(steps)

    def maybe_throw(self, propagate: bool = True, callback: Callback | None = None) -> str:
        """Raise the exception of a task that failed or was revoked. Gives the state."""
        meta = self._get_task_meta()
        state: str = meta["status"]
        value = meta["result"]
        if state in states.PROPAGATE_STATES and propagate:
            raise value if isinstance(value, BaseException) else Exception(value)
        if callback is not None:
            callback(self.id, value)
        return state

    maybe_reraise = maybe_throw

    def throw(self, *args: Any, **kwargs: Any) -> None:
        """Raise the result, which must be an exception."""
        raise self.result

    def then(
        self,
        callback: Callable[[Any], Any],
        on_error: Callable[[Any], Any] | None = None,
        weak: bool = False,
    ) -> Self:
        """Call ``callback(result)`` once this object learns that the task has succeeded.

        It learns it by any of its own methods (``get``, ``ready`` ...); nothing waits by itself.
        """
        if self._cache is not None:
            self._tell(callback, on_error)
        else:
            self._thens = [*(self._thens or ()), (callback, on_error)]
        return self

    def _tell(self, callback: Callable[[Any], Any], on_error: Callable[[Any], Any] | None) -> None:
        if self.state == states.SUCCESS:
            callback(self)
        elif on_error is not None:
            on_error(self.result)

    # -- the tree of results

    def as_tuple(self) -> tuple[Any, Any]:
        """Plain data from which ``result_from_tuple`` makes this result again."""
        return tuple_of(self)

    def as_list(self) -> list[str]:
        """The ids of this task and of the steps before it."""
        ids: list[str] = []
        node: Any = self
        while isinstance(node, AsyncResult):
            ids.append(node.id)
            node = node.parent
        return ids if node is None else [*ids, *node.as_list()]

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """Pairs of (parent, result) of all that this task has sent, level by level.

        Raises ``IncompleteStream`` at one that has not ended, unless ``intermediate``.
        """
        stack: deque[tuple[Any, Any]] = deque([(None, self)])
        while stack:
            parent, node = stack.popleft()
            yield parent, node
            if node.ready():
                stack.extend((node, child) for child in node.children or ())
            elif not intermediate:
                raise IncompleteStream

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """Pairs of (result, value) of this task and of all that it has sent."""
        for _, result in self.iterdeps(intermediate=intermediate):
            yield result, result.get(**kwargs)

    def get_leaf(self) -> Any:
        """The value of the last result that ``collect`` gives."""
        value = None
        for _, result in self.iterdeps():
            value = result.get()
        return value

    @cached_property
    def graph(self) -> DependencyGraph:
        """The graph of all that this task has sent; kept once it is complete."""
        return self.build_graph()

    def build_graph(
        self, intermediate: bool = False, formatter: GraphFormatter | None = None
    ) -> DependencyGraph:
        """The graph of all that this task has sent: ``build_graph().to_dot(file)`` draws it.

        Raises ``IncompleteStream`` where one has not ended, unless ``intermediate``.
        """
        graph = DependencyGraph(formatter=formatter or GraphFormatter(root=self.id, shape="oval"))
        for parent, node in self.iterdeps(intermediate=intermediate):
            graph.add_arc(node)
            if parent is not None:
                graph.add_edge(parent, node)
        return graph

    # -- changing what is kept

    def forget(self) -> None:
        """Delete the record of this task and those of the steps before it."""
        ids = []
        node: Any = self
        while node is not None:
            if isinstance(node, AsyncResult):
                node._cache = None
                ids.append(node.id)
            else:
                node.forget()
            node = node.parent
        self.backend.forget(ids)

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Let the task not run, wherever; with ``terminate``, also end it where it runs.

        ``wait``: until workers have answered, up to ``timeout`` seconds (default 1).
        """
        self.backend.revoke(
            [self.id], terminate=terminate, signal=signal, wait=wait, timeout=timeout
        )

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Ask that no task runs that has one of these stamps, whichever it is."""
        self.backend.revoke_by_stamped_headers(
            headers, terminate=terminate, signal=signal, wait=wait, timeout=timeout
        )

    # -- being an object

    def __str__(self) -> str:
        return str(self.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return other.id == self.id
        if isinstance(other, str):
            return other == self.id
        return NotImplemented

    def __copy__(self) -> Self:
        return type(self)(self.id, self._backend, self.task_name, self._app, self.parent)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id, None, self.task_name, None, self.parent)
