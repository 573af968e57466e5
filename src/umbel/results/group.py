"""``ResultSet`` and ``GroupResult``: many results as one.

Whatever is asked of a set costs one question to the archive, however many members it has and
however deep groups are nested in it: members are read in one batch, and waited for with one
subscription. Values come in the order of the members, not in that of their arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, Self

from umbel.model import states
from umbel.model.generics import R_co
from umbel.ports.archive import Archive
from umbel.ports.current import current_app
from umbel.ports.sender import Sender
from umbel.results.base import ResultBase
from umbel.results.blocking import assert_will_not_block
from umbel.results.handle import AsyncResult, Callback, meta_of, tuple_of
from umbel.results.progress import progress_of

OnMessage = Callable[[Mapping[str, Any]], None] | None
OnInterval = Callable[[], None] | None


class ResultSet(ResultBase, Generic[R_co]):
    """A collection of results that is waited for as one."""

    def __init__(
        self, results: Iterable[Any], app: Sender | None = None, ready_barrier: Any = None
    ) -> None:
        self._app = app
        self.results: list[Any] = list(results)

    @property
    def app(self) -> Sender:
        """The app of the first member, else the current one."""
        if self._app is None:
            self._app = self.results[0].app if self.results else current_app()
        return self._app

    @app.setter
    def app(self, app: Sender) -> None:
        self._app = app

    @property
    def backend(self) -> Archive:
        """Where the records are kept."""
        return self.app.archive

    @property
    def supports_native_join(self) -> bool:
        """True: all members are waited for with one subscription."""
        return True

    # -- members

    def add(self, result: Any) -> None:
        """Add a member, unless it is one already."""
        if result not in self.results:
            self.results.append(result)

    def remove(self, result: Any) -> None:
        """Take a member out, given as a result or an id. Raises ``KeyError`` where it is none."""
        try:
            self.results.remove(result)
        except ValueError:
            raise KeyError(result) from None

    def discard(self, result: Any) -> None:
        """Take a member out if it is one."""
        if result in self.results:
            self.results.remove(result)

    def update(self, results: Iterable[Any]) -> None:
        """Add all that are not members already."""
        known = set(self.results)
        self.results.extend(result for result in results if result not in known)

    def clear(self) -> None:
        """Take all members out."""
        self.results[:] = []

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.results)

    def __getitem__(self, position: int) -> Any:
        return self.results[position]

    def _leaves(self) -> Iterator[AsyncResult]:
        for result in self.results:
            if isinstance(result, ResultSet):
                yield from result._leaves()
            elif not result.ignored:
                yield result

    # -- what is known

    def _statuses(self) -> list[str]:
        """The state of every task, asked for in one batch."""
        leaves = list(self._leaves())
        unknown = [leaf for leaf in leaves if leaf._cache is None]
        seen: dict[str, str] = {}
        if unknown:
            records = self.backend.records([leaf.id for leaf in unknown])
            for leaf, record in zip(unknown, records, strict=True):
                seen[leaf.id] = record.status
                if record.status in states.READY_STATES:
                    leaf._take(meta_of(record))
        return [seen[leaf.id] if leaf._cache is None else leaf.state for leaf in leaves]

    def successful(self) -> bool:
        """True where every task has returned."""
        return all(state == states.SUCCESS for state in self._statuses())

    def failed(self) -> bool:
        """True where a task has raised."""
        return any(state == states.FAILURE for state in self._statuses())

    def waiting(self) -> bool:
        """True where a task has not ended."""
        return any(state not in states.READY_STATES for state in self._statuses())

    def ready(self) -> bool:
        """True where every task has ended."""
        return not self.waiting()

    def completed_count(self) -> int:
        """How many tasks have returned."""
        return sum(state == states.SUCCESS for state in self._statuses())

    def maybe_throw(self, callback: Callback | None = None, propagate: bool = True) -> None:
        """Raise the exception of the first task that failed."""
        self._statuses()
        for leaf in self._leaves():
            leaf.maybe_throw(propagate=propagate, callback=callback)

    maybe_reraise = maybe_throw

    # -- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: OnMessage = None,
        disable_sync_subtasks: bool = True,
        on_interval: OnInterval = None,
        progress: bool = False,
    ) -> list[R_co]:
        """Wait for all, and give their values in the order of the members.

        A member that failed raises as soon as that is known; ``propagate=False`` puts its
        exception in its place instead. With ``callback(task_id, value)`` nothing is collected and
        the callback is given each member as it arrives. ``progress=True`` shows a bar on a
        terminal. Raises ``TimeoutError`` after ``timeout`` seconds for all together.
        """
        if disable_sync_subtasks:
            assert_will_not_block()
        self._wait(
            timeout,
            propagate=propagate,
            on_message=on_message,
            on_interval=on_interval,
            progress=progress,
            arrived=callback,
        )
        return [] if callback is not None else self._values()

    def join(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: OnMessage = None,
        disable_sync_subtasks: bool = True,
        on_interval: OnInterval = None,
    ) -> list[R_co]:
        """As ``get``; the callback is called in the order of the members, when all have ended."""
        if disable_sync_subtasks:
            assert_will_not_block()
        self._wait(timeout, propagate=propagate, on_message=on_message, on_interval=on_interval)
        values = self._values()
        if callback is None:
            return values
        for result, value in zip(self.results, values, strict=True):
            callback(result.id, value)
        return []

    def join_native(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        callback: Callback | None = None,
        no_ack: bool = True,
        on_message: OnMessage = None,
        on_interval: OnInterval = None,
        disable_sync_subtasks: bool = True,
    ) -> list[R_co]:
        """The same as ``get``."""
        return self.get(
            timeout=timeout,
            propagate=propagate,
            callback=callback,
            on_message=on_message,
            on_interval=on_interval,
            disable_sync_subtasks=disable_sync_subtasks,
        )

    def iter_native(
        self,
        timeout: float | None = None,
        interval: float = 0.5,
        no_ack: bool = True,
        on_message: OnMessage = None,
        on_interval: OnInterval = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Pairs of (task id, meta) as tasks end."""
        for leaf in self._arrivals(timeout, on_message=on_message, on_interval=on_interval):
            yield leaf.id, leaf._get_task_meta()

    def iterate(
        self, timeout: float | None = None, propagate: bool = True, interval: float = 0.5
    ) -> Iterator[Any]:
        """Values as tasks end."""
        for leaf in self._arrivals(timeout):
            leaf.maybe_throw(propagate=propagate)
            yield leaf.result

    def _arrivals(
        self,
        timeout: float | None,
        *,
        steps: Iterable[AsyncResult] = (),
        on_message: OnMessage = None,
        on_interval: OnInterval = None,
    ) -> Iterator[AsyncResult]:
        """The tasks as they end, those that are known to have ended first.

        ``steps`` are watched beside them: one that has failed raises.
        """
        missing: dict[str, list[AsyncResult]] = {}
        for leaf in list(self._leaves()):
            if leaf._cache is not None:
                yield leaf
            else:
                missing.setdefault(leaf.id, []).append(leaf)
        if not missing:
            return
        before = {step.id: step for step in steps if step.id not in missing}
        ids = [*before, *missing]
        for record in self.backend.wait_for(ids, timeout, on_interval, on_message):
            step = before.get(record.task_id)
            if step is not None:
                step._take(meta_of(record))
                step.maybe_throw()
                continue
            for leaf in missing.pop(record.task_id, ()):
                leaf._take(meta_of(record))
                yield leaf
            if not missing:
                return

    def _wait(
        self,
        timeout: float | None,
        *,
        propagate: bool,
        on_message: OnMessage = None,
        on_interval: OnInterval = None,
        progress: bool = False,
        arrived: Callback | None = None,
    ) -> None:
        """Return when all have ended; raise where one has failed and ``propagate``."""
        steps = self._steps() if propagate else ()
        total = sum(1 for _ in self._leaves()) if progress else 0
        with progress_of(total, wanted=progress) as bar:
            for leaf in self._arrivals(
                timeout, steps=steps, on_message=on_message, on_interval=on_interval
            ):
                bar.ended(failed=leaf.state in states.PROPAGATE_STATES)
                leaf.maybe_throw(propagate=propagate, callback=arrived)

    def _steps(self) -> Iterable[AsyncResult]:
        return ()

    def _values(self) -> list[Any]:
        values: list[Any] = []
        for result in self.results:
            if isinstance(result, ResultSet):
                values.append(result._values())
            else:
                values.append(None if result.ignored else result.result)
        return values

    def then(
        self,
        callback: Callable[[Any], Any],
        on_error: Callable[[Any], Any] | None = None,
        weak: bool = False,
    ) -> Self:
        """Call ``callback(self)`` once every member is known to have succeeded."""
        leaves = list(self._leaves())
        left = len(leaves)
        if not left:
            callback(self)

        def one_less(_leaf: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                callback(self)

        for leaf in leaves:
            leaf.then(one_less, on_error)
        return self

    # -- changing what is kept

    def forget(self) -> None:
        """Delete the records of all members."""
        ids = []
        for leaf in self._leaves():
            leaf._cache = None
            ids.append(leaf.id)
        self.backend.forget(ids)

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Ask that none of the tasks runs."""
        ids = [leaf.id for leaf in self._leaves()]
        self.backend.revoke(ids, terminate=terminate, signal=signal, wait=wait, timeout=timeout)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ResultSet):
            return other.results == self.results
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a set changes; a GroupResult has an id

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: [{', '.join(str(result.id) for result in self.results)}]>"


class GroupResult(ResultSet[R_co]):
    """The results of a group, with the group's id; can be saved and restored by it."""

    def __init__(
        self,
        id: str | None = None,  # noqa: A002 - Celery's name
        results: Iterable[Any] | None = None,
        parent: Any = None,
        *,
        app: Sender | None = None,
        **kwargs: Any,
    ) -> None:
        self.id = id
        self.parent = parent
        super().__init__(results or (), app=app, **kwargs)

    @property
    def children(self) -> list[Any]:
        """The members."""
        return self.results

    def _steps(self) -> Iterable[AsyncResult]:
        node = self.parent
        while node is not None:
            if isinstance(node, AsyncResult) and not node.ignored and node._cache is None:
                yield node
            node = node.parent

    def save(self, backend: Archive | None = None) -> None:
        """Keep this group, so that ``restore(id)`` gives it back in another process."""
        if self.id is None:
            raise ValueError("a group result without an id can't be saved")
        (backend or self.backend).save_group(self.id, self.as_tuple())

    def delete(self, backend: Archive | None = None) -> None:
        """Delete what ``save`` kept."""
        if self.id is not None:
            (backend or self.backend).delete_group(self.id)

    @classmethod
    def restore(
        cls,
        id: str,  # noqa: A002 - Celery's name
        backend: Archive | None = None,
        app: Sender | None = None,
    ) -> Any:
        """The group that was saved under ``id``, or None."""
        from umbel.results.tuples import result_from_tuple

        app = app or current_app()
        kept = (backend or app.archive).restore_group(id)
        return None if kept is None else result_from_tuple(kept, app)

    def as_tuple(self) -> tuple[Any, Any]:
        """Plain data from which ``result_from_tuple`` makes this group again."""
        return tuple_of(self)

    def as_list(self) -> list[str]:
        """The ids of the group, its members and the steps before it."""
        ids: list[str] = [self.id] if self.id is not None else []
        if self.parent is not None:
            ids.extend(self.parent.as_list())
        for result in self.results:
            ids.extend(result.as_list())
        return ids

    def __bool__(self) -> bool:
        return bool(self.id or self.results)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, GroupResult):
            return (
                other.id == self.id
                and other.results == self.results
                and other.parent == self.parent
            )
        if isinstance(other, str):
            return other == self.id
        return NotImplemented

    def __hash__(self) -> int:  # type: ignore[override]  # the id of a group does not change
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        members = ", ".join(str(result.id) for result in self.results)
        return f"<{type(self).__name__}: {self.id} [{members}]>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id, self.results, self.parent)
