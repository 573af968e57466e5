"""The records of an app, decoded: what ``result.backend`` and ``app.backend`` are.

Reads and waits for others; workers write with their settlements, not through here. One wait is one
subscription, however many tasks it waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from umbel.app.connections import Connections
from umbel.model import states
from umbel.model.clock import monotonic_s
from umbel.model.errors import OperationalError, TaskRevokedError, TimeoutError
from umbel.model.record import Document, Record
from umbel.model.refused import refusing
from umbel.model.request import Request
from umbel.ports.broker import Broker
from umbel.ports.revocations import REVOKED_FOR_S, stamp_id
from umbel.ports.store import Store

# How often a wait that nobody asked to hear from looks whether its time is up.
_ROUND_S = 1.0
_SHOWN_IDS = 3
_NOT_BEGUN = frozenset({states.PENDING, states.RECEIVED, states.RETRY, states.REJECTED})


_OTHERS = """
    accept add_to_chord apply_chord client decode decode_result delete encode encode_result
    encoder exception_to_python expire expires fail_from_current_stack get get_children
    get_group_meta get_key_for_chord get_key_for_group get_key_for_task get_many incr iter_native
    mark_as_retry mark_as_revoked mark_as_started meta_from_decoded mget on_chord_part_return
    on_task_call prepare_exception prepare_value process_cleanup reload_group_result
    reload_task_result serializer set set_chord_size task_result_exists wait_for_pending
"""


@refusing("use AsyncResult, or a client of your own at result_backend", _OTHERS)
class TaskArchive:
    """Where one app's results are kept."""

    def __init__(self, app: Any, conf: Any, connections: Connections) -> None:
        self.app = app
        self._conf = conf
        self._connections = connections
        self._accept_given: Any = None
        self._accept: frozenset[str] = frozenset()

    # - Reading

    def get_task_meta(self, task_id: str, cache: bool = True) -> dict[str, Any]:
        """The record as Celery's dictionary; PENDING where there is none."""
        record = self.records([task_id])[0]
        meta = record._asdict()
        del meta["extended"]
        for name in ("group_id", "parent_id"):
            if meta[name] is None:
                del meta[name]
        meta.update(record.extended or {})
        return meta

    get_task_meta_for = get_task_meta

    def records(self, task_ids: Sequence[str]) -> list[Record]:
        """The records, in order; PENDING where there is none."""
        found = self._store().get(task_ids)
        return [
            Record(task_id, states.PENDING) if data is None else self._decoded(data)
            for task_id, data in zip(task_ids, found, strict=True)
        ]

    def get_result(self, task_id: str) -> Any:
        """What the task returned, or the exception that it raised."""
        return self.records([task_id])[0].result

    def get_state(self, task_id: str) -> str:
        """The state of a task."""
        return self.records([task_id])[0].status

    get_status = get_state

    def get_traceback(self, task_id: str) -> str | None:
        """The traceback of a task that failed."""
        return self.records([task_id])[0].traceback

    # - Waiting

    def wait_for(
        self,
        task_ids: Sequence[str],
        timeout_s: float | None,
        on_interval: Callable[[], None] | None = None,
        on_message: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> Iterator[Record]:
        """Records of tasks as they end, each once. Raises ``TimeoutError``."""
        missing = dict.fromkeys(task_ids)
        if not missing:
            return
        deadline = None if timeout_s is None else monotonic_s() + timeout_s
        left_s: float | None = 0.0
        with self._store().watch(list(missing)) as watch:
            # The first look gives what is there already, whatever the timeout.
            while True:
                for task_id, data in watch.changes(left_s).items():
                    record = self._decoded(data)
                    if on_message is not None:
                        on_message(_meta(record))
                    if record.status in states.READY_STATES and task_id in missing:
                        del missing[task_id]
                        yield record
                if not missing:
                    return
                if on_interval is not None:
                    on_interval()
                left_s = _ROUND_S
                if deadline is not None:
                    left_s = min(_ROUND_S, deadline - monotonic_s())
                    if left_s <= 0:
                        raise TimeoutError(self._lateness(list(missing), timeout_s))

    def _lateness(self, missing: Sequence[str], timeout_s: float | None) -> str:
        shown = ", ".join(missing[:_SHOWN_IDS])
        if len(missing) > _SHOWN_IDS:
            shown += f" and {len(missing) - _SHOWN_IDS} more"
        pair = self._connections.pair()
        assert pair.broker is not None
        text = f"no result within {timeout_s} s of task {shown} (broker {pair.broker.url}"
        if pair.store is not None and pair.store.url != pair.broker.url:
            text += f", results {pair.store.url}"
        return f"{text}{_on_workers(pair.broker)})"

    # - Writing

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **extra: Any,
    ) -> Any:
        """Store a state by hand. A stored SUCCESS is never overwritten."""
        of: Any = Request() if request is None else request
        record = Record(
            task_id,
            state,
            result,
            traceback,
            list(of.children),
            self._now() if state in states.READY_STATES else None,
            of.group,
            of.parent_id,
            {**(self._extended(of) or {}), **extra} or None,
        )
        self._store().put([self.document(record)])
        return result

    def mark_as_done(self, task_id: str, result: Any, request: Any = None) -> None:
        """Store a success."""
        self.store_result(task_id, result, states.SUCCESS, request=request)

    def mark_as_failure(
        self, task_id: str, exc: BaseException, traceback: str | None = None, request: Any = None
    ) -> None:
        """Store a failure."""
        self.store_result(task_id, exc, states.FAILURE, traceback, request=request)

    def document(self, record: Record) -> Document:
        """A record as it is stored, with its time to live."""
        # Not at the top: who only sends never encodes a record.
        from umbel.wire.records import encode_record

        conf = self._conf
        data = encode_record(record, conf.result_serializer, conf.result_compression)
        ttl = conf.result_expires
        if record.status == states.FAILURE and conf.result_failure_expires is not None:
            ttl = conf.result_failure_expires
        return Document(record.task_id, record.status, data, _seconds(ttl))

    def _extended(self, request: Request) -> dict[str, Any] | None:
        if not self._conf.result_extended or request.id is None:
            return None
        delivery = request.delivery_info or {}
        return {
            "name": request.task,
            "args": request.args,
            "kwargs": request.kwargs,
            "worker": request.hostname,
            "retries": request.retries,
            "queue": delivery.get("routing_key"),
        }

    def _now(self) -> str:
        return datetime.now(self.app.timezone).isoformat()

    def forget(self, task_ids: Sequence[str] | str) -> None:
        """Delete records."""
        self._store().forget([task_ids] if isinstance(task_ids, str) else task_ids)

    # - Groups

    def save_group(self, group_id: str, result: Any) -> None:
        """Keep a group's result tuple."""
        from umbel.wire.records import encode_group

        data = encode_group(result, self._conf.result_serializer)
        self._store().put_group(group_id, data, _seconds(self._conf.result_expires))

    def restore_group(self, group_id: str) -> Any | None:
        """The result tuple of a saved group, or None."""
        from umbel.wire.records import decode_group

        data = self._store().get_group(group_id)
        if data is None:
            return None
        return decode_group(data, self._conf.result_serializer, self._accepted())

    def delete_group(self, group_id: str) -> None:
        """Delete a saved group."""
        self._store().forget_group(group_id)

    def revoke(
        self,
        task_ids: Sequence[str],
        *,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Let tasks not run, and let workers know; ``wait`` for their answers."""
        self.app.control.revoke(
            task_ids, terminate=terminate, signal=signal, reply=wait, timeout=timeout
        )

    def revoke_by_stamped_headers(
        self,
        headers: Mapping[str, Any],
        *,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """The same for all tasks with one of these stamps."""
        self.app.control.revoke_by_stamped_headers(
            headers, terminate=terminate, signal=signal or "SIGTERM", reply=wait, timeout=timeout
        )

    def remember_revoked_stamps(self, stamps: Mapping[str, Sequence[str]]) -> None:
        """Let what has one of these stamps not run: written down at the broker, for 30 days."""
        ids = [stamp_id(name, value) for name, values in stamps.items() for value in values]
        broker = self._connections.pair().broker
        assert broker is not None
        if ids:
            broker.revocations.add(ids, REVOKED_FOR_S)

    def remember_revoked(self, task_ids: Sequence[str]) -> None:
        """Let tasks not run: written down at the broker, for 30 days.

        Who waits is told at once, where no worker holds the task; else it ends as it ends.
        """
        broker = self._connections.pair().broker
        assert broker is not None
        ids = list(dict.fromkeys(task_ids))
        held = set(broker.revocations.add(ids, REVOKED_FOR_S)) if ids else set()
        self.tell_revoked([task_id for task_id in ids if task_id not in held])

    def tell_revoked(self, task_ids: Sequence[str]) -> None:
        """Store REVOKED for those of these tasks that have not begun, by their records."""
        if self._connections.result_url() is None or not task_ids:
            return
        self._store().put(
            [
                self.document(self._revoked(record.task_id))
                for record in self.records(task_ids)
                if record.status in _NOT_BEGUN
            ]
        )

    def _revoked(self, task_id: str) -> Record:
        error = TaskRevokedError("revoked")
        return Record(task_id, states.REVOKED, error, None, [], self._now())

    def cleanup(self) -> None:
        """Delete expired records, where the server does not do that itself."""
        store = self._store()
        while store.expire(1_000):
            pass

    # - Where

    @property
    def url(self) -> str:
        """Where results are kept, without the password."""
        return self._store().url

    def as_uri(self, include_password: bool = False) -> str:
        """The same."""
        return self.url

    def _store(self) -> Store:
        if self._connections.result_url() is None:
            raise NotImplementedError(
                "results are disabled: a broker is set, and no result backend. Set result_backend"
                " (or backend= of the app, or CELERY_RESULT_BACKEND)"
            )
        store = self._connections.pair().store
        assert store is not None
        return store

    def _accepted(self) -> frozenset[str]:
        conf = self._conf
        given = conf.result_accept_content or conf.accept_content
        if given is not self._accept_given:
            from umbel.wire.serializers import content_types

            self._accept = content_types(given)
            self._accept_given = given
        return self._accept

    def _decoded(self, data: bytes) -> Record:
        from umbel.wire.records import decode_record

        return decode_record(data, self._conf.result_serializer, self._accepted())


def _on_workers(broker: Broker) -> str:
    """What can be said of the workers, for an error's text."""
    try:
        workers = broker.workers()
    except OperationalError as error:
        return f"; it can't be asked for workers: {error}"
    if workers:
        return ""
    if broker.url.startswith("sqlite"):
        return "; no worker has this file open"
    return "; no worker is connected"


def _meta(record: Record) -> dict[str, Any]:
    return {
        "task_id": record.task_id,
        "status": record.status,
        "result": record.result,
        "traceback": record.traceback,
        "children": record.children,
    }


def _seconds(given: Any) -> float | None:
    if given is None:
        return None
    return float(given.total_seconds() if isinstance(given, timedelta) else given)
