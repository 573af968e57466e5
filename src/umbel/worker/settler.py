"""From the outcome of an attempt to its settlement: every consequence, as finished bytes.

The canvas says what follows (``continuation.after``), this room encodes it: records, the messages
of successors, chord parts with the claim that the last of them becomes. Nothing here talks to a
server except ``settle_join``, which reads the parts that it is to join.
"""

from __future__ import annotations

import json
import logging
import os
import traceback as tracebacks
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, assert_never

from umbel.app.app import App
from umbel.canvas import continuation
from umbel.model import states
from umbel.model.call import Call
from umbel.model.clock import utc_now
from umbel.model.errors import ChordError, EncodeError, OperationalError, Reject
from umbel.model.join import JOIN_TASK, JoinClosing, JoinOpening, JoinPart
from umbel.model.message import Message
from umbel.model.outcome import (
    Failed,
    Ignored,
    Outcome,
    Rejected,
    Replaced,
    Retried,
    Revoked,
    Succeeded,
)
from umbel.model.queues import is_own_queue
from umbel.model.record import Document, Record
from umbel.model.request import Request
from umbel.model.settlement import Fate, Settlement
from umbel.ports.store import Store
from umbel.results.group import GroupResult
from umbel.results.handle import AsyncResult
from umbel.wire import records
from umbel.wire.preview import preview
from umbel.wire.redelivery import redelivered
from umbel.worker import report, verdicts
from umbel.worker.intake import Decided, Job, Joined, Parked, Unreadable

logger = logging.getLogger(__name__)


# Stand in a claim for the ids of the member that ends last.
_ROOT, _PARENT = "umbel:root-of-the-last", "umbel:last"
_ROOT_WRITTEN, _PARENT_WRITTEN = f'"{_ROOT}"'.encode(), f'"{_PARENT}"'.encode()


class Settler:
    """Makes settlements for one child."""

    def __init__(self, app: App, store: Store | None, accept: frozenset[str]) -> None:
        conf = app.conf
        self._app = app
        self._store = store
        self._accept = accept
        self._serializer: str = conf.result_serializer
        self._compression: str | None = conf.result_compression
        self._claim_of: tuple[str, str | None] | None = None
        self._claim_message: Message
        self._is_extended = bool(conf.result_extended)
        self._hands_priority_on = bool(conf.task_inherit_parent_priority)
        self._ttl_s = _seconds(conf.result_expires)
        failure_ttl = getattr(conf, "result_failure_expires", None)
        self._failure_ttl_s = self._ttl_s if failure_ttl is None else _seconds(failure_ttl)

    def settle(self, job: Job, outcome: Outcome) -> Settlement:
        """The settlement of a job that has run."""
        try:
            return self._settled(job, outcome)
        except Exception as error:  # noqa: BLE001 - what follows came with the message
            report.internal_error(job, error)
            return self._unfollowed(job.lease.token, job.request, self._is_kept(job), error)

    def _settled(self, job: Job, outcome: Outcome) -> Settlement:
        plan = job.plan
        request = job.request
        is_kept = self._is_kept(job)
        keeps_errors = is_kept or (self._store is not None and plan.store_errors_even_if_ignored)
        if type(outcome) is Succeeded:
            return self._succeeded(job, outcome, is_kept)
        if type(outcome) is Rejected and outcome.requeue:
            return self._requeued(job)
        cause = ""
        if type(outcome) is Failed and not plan.is_failure_settled:
            # Celery rejects it, and a broker that has dead letters keeps it there.
            cause = f"it failed, and acks_on_failure is off: {preview(outcome.error)}"
        return self._ended(job.lease.token, request, outcome, is_kept, keeps_errors, cause)

    def started(self, job: Job) -> Document | None:
        """The STARTED record of a job that begins, if its results are kept."""
        if not self._is_kept(job):
            return None
        facts = {"pid": os.getpid(), "hostname": job.request.hostname}
        return self._document(job.request, states.STARTED, facts, None, [])

    def _requeued(self, job: Job) -> Settlement:
        # Not ``Fate.REQUEUE``, which puts the bytes back as they came: a task that asks
        # ``delivery_info["redelivered"]`` before it rejects itself would do so for ever.
        message = redelivered(
            job.lease.raw,
            id=job.request.id or "",
            task=job.request.task or "",
            queue=job.lease.queue,
            tag=self._app.new_id(),
        )
        return Settlement(job.lease.token, messages=(message,))

    def _is_kept(self, job: Job) -> bool:
        ignored = job.request.ignore_result
        if ignored is None:
            ignored = job.plan.ignore_result
        return self._store is not None and not ignored

    def decided(self, decided: Decided) -> Settlement:
        """The settlement of something that ended without running."""
        request, token = decided.request, decided.lease.token
        is_kept = self._store is not None and request.ignore_result is not True
        try:
            return self._ended(
                token,
                request,
                decided.outcome,
                is_kept,
                is_kept,
                decided.cause,
                is_quiet=decided.is_quiet,
            )
        except Exception as error:  # noqa: BLE001 - what follows came with the message
            return self._unfollowed(token, request, is_kept, error, is_quiet=decided.is_quiet)

    def _unfollowed(
        self,
        token: int,
        request: Request,
        is_kept: bool,
        error: Exception,
        *,
        is_quiet: bool = False,
    ) -> Settlement:
        """A task whose callbacks, chain or chord are nonsense: a failure, and a dead letter.

        Nothing that arrives may end a worker. A process that died of it would be recovered, and
        the next one would die of the same message. What can be told, is: first to all that hangs
        on the task, then to its chord alone, then only to who waits for it.
        """
        cause = f"what is to follow the task can't be sent: {type(error).__name__}: {error}"
        logger.error(
            "Task %s has run, and %s. The message is a dead letter now.",
            request.id,
            cause,
            exc_info=error,
        )
        failed = Failed(error, _text_of(error), internal=True)
        for given_up in ((), ("callbacks", "errbacks", "chain"), ("chord", "group")):
            for name in given_up:
                setattr(request, name, None)
            try:
                return self._ended(
                    token, request, failed, is_kept, is_kept, cause, is_quiet=is_quiet
                )
            except Exception:  # the next try says less
                logger.debug("what follows %s is given up further", request.id, exc_info=True)
        return Settlement(token, Fate.DEAD, cause=cause)

    def parked(self, parked: Parked) -> Settlement:
        """Back to the broker until it is due."""
        return Settlement(parked.lease.token, Fate.PARK, due=parked.due)

    def unreadable(self, unreadable: Unreadable) -> Settlement:
        """A dead letter without any id."""
        return Settlement(unreadable.lease.token, Fate.DEAD, cause=unreadable.cause)

    def settle_join(self, joined: Joined) -> Settlement:
        """Send the body of a join whose parts are all there, or fail it.

        Raises ``OperationalError`` where the store can't be read.
        """
        if joined.failure is not None:
            return self._unjoined(joined, *joined.failure, is_quiet=True)
        try:
            return self._joined(joined)
        except OperationalError:
            raise
        except Exception as error:  # noqa: BLE001 - body and parts came with messages
            cause = f"the chord can't be joined: {type(error).__name__}: {error}"
            return self._unjoined(joined, error, cause, is_quiet=False)

    def _unjoined(
        self, joined: Joined, error: BaseException, cause: str, *, is_quiet: bool
    ) -> Settlement:
        """A join whose body or parts are nonsense, or kill: it fails, and is a dead letter."""
        logger.error("%s. The message is a dead letter now.", cause, exc_info=error)
        group_id = joined.kwargs.get("group_id")
        settlement = Settlement(joined.lease.token, Fate.DEAD, cause=cause)
        if not isinstance(group_id, str):
            return settlement
        settlement = settlement._replace(closes=(JoinClosing(group_id, True),))
        try:
            parts = [(group_id, states.FAILURE, error)]
            return self._carried_on(joined, parts, settlement, is_quiet=is_quiet)
        except Exception:  # nobody can be told
            logger.debug("the body of chord %s is given up", group_id, exc_info=True)
        return settlement

    def _joined(self, joined: Joined) -> Settlement:
        group_id = joined.kwargs["group_id"]
        if self._store is None:
            return Settlement(
                joined.lease.token, Fate.DEAD, cause="a chord needs a result backend to join"
            )
        stored = self._store.parts(group_id)
        if not stored:
            # Another holder of the same claim has sent the body and closed the join.
            return Settlement(joined.lease.token)
        parts = [records.decode_part(part, self._serializer, self._accept) for part in stored]
        failed = any(state != states.SUCCESS for _, state, _ in parts)
        closing = JoinClosing(group_id, failed)
        return self._carried_on(joined, parts, Settlement(joined.lease.token, closes=(closing,)))

    def _carried_on(
        self,
        joined: Joined,
        parts: list[tuple[str, str, Any]],
        settlement: Settlement,
        *,
        is_quiet: bool = False,
    ) -> Settlement:
        group_id, body = joined.kwargs["group_id"], joined.kwargs["body"]
        steps = continuation.after_join(
            group_id,
            body,
            parts,
            joined.request,
            new_id=self._app.new_id,
            tasks=self._app.tasks,
        )
        error = steps.error or ChordError(f"a member of chord {group_id} failed")
        has_failed = any(state != states.SUCCESS for _, state, _ in parts)
        self._run_in_place(steps, is_quiet=is_quiet)
        return self._with_steps(
            settlement, joined.request, steps, (), error, _text_of(error) if has_failed else ""
        )

    def _succeeded(self, job: Job, outcome: Succeeded, is_kept: bool) -> Settlement:
        request = job.request
        if isinstance(outcome.value, AsyncResult | GroupResult) and self._serializer != "pickle":
            # A task that returns what it has sent: as Celery, the tuple that stands for it.
            outcome = Succeeded(outcome.value.as_tuple())
        steps = self._after(request, outcome)
        documents: tuple[Document, ...] = ()
        if is_kept:
            children = [*(request._children or ()), *steps.children]
            try:
                documents = (
                    self._document(request, states.SUCCESS, outcome.value, None, children),
                )
            except EncodeError as error:
                failed = Failed(error, _text_of(error))
                return self._ended(job.lease.token, request, failed, True, True, "")
        if steps is continuation.NOTHING:
            return Settlement(job.lease.token, Fate.DONE, documents)
        try:
            tag = (request.properties or {}).get("delivery_tag")
            delivery = f"{job.lease.queue}:{tag}" if type(tag) is str else ""
            if not (steps.sends or steps.grows):
                # A member of a chord, and no more: the way around costs it 6 us.
                parts = tuple([self._part(part, request) for part in steps.parts])
                return Settlement(
                    job.lease.token, Fate.DONE, documents, parts=parts, delivery=delivery
                )
            settlement = Settlement(job.lease.token, delivery=delivery)
            return self._with_steps(settlement, request, steps, documents, None, "")
        except EncodeError as error:
            # The value can't be passed on (to a callback, the next step, the chord).
            failed = Failed(error, _text_of(error))
            return self._ended(job.lease.token, request, failed, is_kept, True, "")

    def _after(self, request: Request, outcome: Outcome) -> continuation.Steps:
        priority = None
        if self._hands_priority_on:
            priority = (request.delivery_info or {}).get("priority")
        return continuation.after(
            request,
            outcome,
            new_id=self._app.new_id,
            tasks=self._app.tasks,
            priority=priority,
        )

    def _ended(
        self,
        token: int,
        request: Request,
        outcome: Outcome,
        is_kept: bool,
        keeps_errors: bool,
        cause: str,
        *,
        is_quiet: bool = False,
    ) -> Settlement:
        error: BaseException | None = None
        trace = ""
        state = ""
        match outcome:
            case Succeeded() | Ignored() | Replaced():
                pass
            case Failed():
                error, trace, state = outcome.error, outcome.traceback, states.FAILURE
            case Revoked():
                error, state = verdicts.revoked_error(outcome.reason), states.REVOKED
            case Retried():
                error, trace, state = outcome.error, outcome.traceback, states.RETRY
            case Rejected():
                error, state = Reject(outcome.reason), states.FAILURE
                cause = cause or f"rejected by the task: {outcome.reason}"
            case _:
                assert_never(outcome)
        steps = self._after(request, outcome)
        self._run_in_place(steps, is_quiet=is_quiet)
        documents: tuple[Document, ...] = ()
        if state and (keeps_errors if state == states.FAILURE else is_kept):
            children = [*(request._children or ()), *steps.children]
            documents = (self._document(request, state, error, trace or None, children),)
        fate = Fate.DEAD if cause else Fate.DONE
        settlement = Settlement(token, fate, cause=cause)
        return self._with_steps(settlement, request, steps, documents, error, trace)

    def _with_steps(
        self,
        settlement: Settlement,
        request: Request,
        steps: continuation.Steps,
        documents: tuple[Document, ...],
        error: BaseException | None,
        trace: str,
    ) -> Settlement:
        messages, opens = self._composed(steps.sends, request)
        later = tuple(
            self._document(
                Request(id=step.task_id, group=step.group_id, parent_id=step.parent_id),
                states.FAILURE,
                error,
                trace or None,
                step.children,
            )
            for step in steps.failures
            # What a foreign message calls an id need not be one; nobody can wait for such a step.
            if self._store is not None and isinstance(step.task_id, str)
        )
        return settlement._replace(
            documents=documents + later,
            messages=tuple(messages),
            opens=tuple(opens),
            parts=tuple(self._part(part, request) for part in steps.parts),
            grows=tuple(steps.grows),
        )

    def _composed(
        self, sends: Iterable[Call | JoinOpening], request: Request
    ) -> tuple[list[Message], list[JoinOpening]]:
        messages: list[Message] = []
        opens: list[JoinOpening] = []
        compose = self._app.publisher.compose_following
        # Who follows the task with a context of his own finds it here too.
        run = _run if request._context is None else request._context.run
        for item in sends:
            if isinstance(item, JoinOpening):
                opens.append(item)
            else:
                messages.append(run(compose, item, request))
        return messages, opens

    def _part(self, part: continuation.Part, request: Request) -> JoinPart:
        return JoinPart(
            part.group_id,
            part.task_id,
            part.position,
            records.encode_part(part.task_id, part.state, part.value, self._serializer),
            self._claim(part, request),
        )

    def _claim(self, part: continuation.Part, request: Request) -> Callable[[], Message]:
        """What the holder of the completed join is to do.

        The members of a join differ in this only by who came last, so it is composed once for all
        of them that come in a row: 55 of 75 us of a chord's member without it.
        """
        queue = request._came_by or (request.delivery_info or {}).get("routing_key") or None
        if queue is not None and is_own_queue(queue):
            queue = None  # another worker may have to take it over
        if self._claim_of != (part.group_id, queue):
            call = Call(
                task=JOIN_TASK,
                args=(),
                kwargs={"group_id": part.group_id, "body": part.body},
                id=f"join-{part.group_id}",
                root_id=_ROOT,
                parent_id=_PARENT,
                options={"queue": queue, "ignore_result": True},
            )
            self._claim_message = self._app.publisher.compose(call)
            self._claim_of = (part.group_id, queue)
        return partial(_claim_by, self._claim_message, request.root_id, request.id)

    def _run_in_place(self, steps: continuation.Steps, *, is_quiet: bool) -> None:
        for call in steps.in_place:
            if is_quiet:
                logger.error(
                    "error callback %s of task %s is not called: processes have died of what "
                    "follows from this task",
                    call.name,
                    call.request.id,
                )
                continue
            try:
                self._app.tasks[call.name](*call.args, **call.kwargs)
            except Exception:  # user code: an error callback must not undo the settlement
                logger.exception("error callback %s of task %s raised", call.name, call.request.id)

    def _document(
        self,
        request: Request,
        state: str,
        result: Any,
        trace: str | None,
        children: Sequence[Any],
    ) -> Document:
        is_ready = state in states.READY_STATES
        record = Record(
            task_id=request.id or "",
            status=state,
            result=result,
            traceback=trace,
            children=children,
            date_done=utc_now().isoformat() if is_ready else None,
            group_id=request.group,
            parent_id=request.parent_id,
            extended=self._extended(request) if self._is_extended else None,
        )
        data = records.encode_record(record, self._serializer, self._compression)
        ttl_s = self._failure_ttl_s if state == states.FAILURE else self._ttl_s
        return Document(record.task_id, state, data, ttl_s)

    def _extended(self, request: Request) -> dict[str, Any]:
        delivery = request.delivery_info or {}
        extended = {
            "name": request.task,
            "args": request.args,
            "kwargs": request.kwargs,
            "worker": request.hostname,
            "retries": request.retries,
            "queue": delivery.get("routing_key"),
        }
        if request.stamped_headers:
            extended["stamped_headers"] = request.stamped_headers
            extended.update(request.stamps or {})
        return extended


def _run(compose: Callable[[Call, Request], Message], call: Call, request: Request) -> Message:
    return compose(call, request)


def _claim_by(claim: Message, root_id: str | None, last_id: str | None) -> Message:
    """The claim of a join whose last part came from this member."""
    raw = claim.raw.replace(_ROOT_WRITTEN, json.dumps(root_id).encode())
    return claim._replace(raw=raw.replace(_PARENT_WRITTEN, json.dumps(last_id).encode()))


def _seconds(setting: Any) -> float | None:
    # result_expires: seconds, a timedelta, or None and 0 for ever.
    if setting is None:
        return None
    return float(setting.total_seconds() if hasattr(setting, "total_seconds") else setting)


def _text_of(error: BaseException) -> str:
    return "".join(tracebacks.format_exception(error))
