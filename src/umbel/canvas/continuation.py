"""What follows from the end of a task: the heart of every workflow. Pure.

``after`` takes the request as the task left it and its outcome; ``after_join`` takes the parts of a
join that is full. Both give ``Steps``: what is to be sent (its ids fixed), the parts to be counted,
the later steps that can't happen any more, the errbacks to be called here. Whoever settles the task
carries the steps out, all in one, or none; nothing is sent or stored by this room.

    succeeded   callbacks, the next step of the chain, a part for the join
    failed      errbacks, FAILURE for what was to come, a part for the join (and one for each later
                step that is itself a member of one)
    revoked     the same without errbacks; rejected (and not put back): as failed
    retried     the same call again; what the attempt has added to its join is forgotten with it
    replaced    what the task put in its place
    ignored     nothing: whoever waits, waits
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, assert_never

from umbel.canvas.freezing import Node
from umbel.canvas.shapes import everywhere, kind_of, listed
from umbel.canvas.unrolling import Item, Unroller
from umbel.model import states
from umbel.model.call import SignatureDict
from umbel.model.errors import ChordError, Reject, TaskRevokedError
from umbel.model.join import JoinGrowth
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
from umbel.model.request import Request
from umbel.ports.registry import Registry


class Part(NamedTuple):
    """A member of a join has ended."""

    group_id: str
    task_id: str
    position: int | None
    state: str
    value: Any  # what it returned, or the exception
    body: SignatureDict


class FailedStep(NamedTuple):
    """A task that was to come and won't: FAILURE is its record."""

    task_id: str
    group_id: str | None
    parent_id: str | None
    children: Sequence[Any] = ()  # for its record: the errbacks of a chord's body


class InPlace(NamedTuple):
    """An errback that is called here, with ``args`` and ``kwargs``; these hold the next three."""

    name: str
    request: Request
    exc: BaseException
    traceback: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}


class Steps(NamedTuple):
    """All that follows."""

    sends: tuple[Item, ...] = ()
    parts: tuple[Part, ...] = ()
    grows: tuple[JoinGrowth, ...] = ()
    failures: tuple[FailedStep, ...] = ()
    in_place: tuple[InPlace, ...] = ()
    children: Sequence[Any] = ()  # result tuples of what is sent
    error: BaseException | None = None  # of ``failures``


# Shared by all tasks that have nothing attached: most of them.
NOTHING = Steps()


def after(
    request: Request,
    outcome: Outcome,
    *,
    new_id: Callable[[], str],
    tasks: Registry,
    priority: int | None = None,
) -> Steps:
    """What follows from an attempt. ``priority`` is that of all that is sent, where one is given.

    (It is, with ``task_inherit_parent_priority``.)
    """
    match outcome:
        case Succeeded():
            if not (
                request.callbacks
                or request.unread_chain
                or request.chord
                or request.added_sends
                or request.added_growth
            ):
                return NOTHING
            return _after_success(request, outcome.value, new_id, priority)
        case Failed():
            errbacks = _Errbacks(new_id, tasks, request.id, request.root_id or request.id)
            for errback in listed(request.errbacks):
                errbacks.add(errback, request, outcome.error, outcome.traceback)
            return _after_failure(request, states.FAILURE, outcome.error, errbacks)
        case Rejected():
            if outcome.requeue:
                return NOTHING
            error: BaseException = Reject(outcome.reason, outcome.requeue)
            errbacks = _Errbacks(new_id, tasks, request.id, request.root_id or request.id)
            for errback in listed(request.errbacks):
                errbacks.add(errback, request, error, None)
            return _after_failure(request, states.FAILURE, error, errbacks)
        case Revoked():
            return _after_failure(request, states.REVOKED, TaskRevokedError(outcome.reason), None)
        case Retried():
            return Steps(sends=(outcome.call,))
        case Replaced():
            return _with_added(request, tuple(outcome.sends))
        case Ignored():
            return _with_added(request, ())
        case _:
            assert_never(outcome)


def _with_added(request: Request, sends: tuple[Item, ...]) -> Steps:
    added, growth = request.added_sends, request.added_growth
    if not (sends or added or growth):
        return NOTHING
    return Steps(sends=(*(added or ()), *sends), grows=tuple(growth or ()))


def _after_success(
    request: Request, value: Any, new_id: Callable[[], str], priority: int | None
) -> Steps:
    sends: list[Item] = list(request.added_sends or ())
    children: list[Node] = []
    chain = request.unread_chain
    if request.callbacks or chain:
        over = _inherited(request, priority)
        unroller = Unroller(new_id, request.root_id or request.id, request.id)
        callbacks = listed(request.callbacks)
        if len(callbacks) > 1:
            groups = [sig for sig in callbacks if kind_of(sig) == "group"]
            others = [sig for sig in callbacks if kind_of(sig) != "group"]
            callbacks = [*groups, _as_group(others)] if others else groups
        for sig in callbacks:
            _add(children, unroller.collect(sig, (value,), sends, over))
        if chain:
            later, following = chain[:-1], chain[-1]
            if later:
                # A task hands the rest on as it is; what is unrolled writes it into signatures.
                over = {**over, "chain": later if kind_of(following) == "task" else [*later]}
            _add(children, unroller.collect(following, (value,), sends, over))
    return Steps(
        sends=tuple(sends),
        parts=tuple(_own_part(request, states.SUCCESS, value)),
        grows=tuple(request.added_growth or ()),
        children=children,
    )


def _add(children: list[Node], node: Node | None) -> None:
    if node is not None:
        children.append(node)


def _as_group(sigs: Sequence[SignatureDict]) -> SignatureDict:
    return {
        "task": "celery.group",
        "args": (),
        "kwargs": {"tasks": sigs},
        "options": {},
        "subtask_type": "group",
        "immutable": False,
    }


def _inherited(request: Request, priority: int | None) -> dict[str, Any]:
    """Options that what a task sends takes over from it: its stamps, perhaps its priority."""
    over: dict[str, Any] = {}
    if priority is not None:
        over["priority"] = priority
    if request.stamped_headers:
        stamps = request.stamps or {}
        over.update({name: stamps[name] for name in request.stamped_headers if name in stamps})
        over["stamped_headers"] = list(request.stamped_headers)
    return over


def _own_part(request: Request, state: str, value: Any) -> Iterator[Part]:
    if request.chord and request.group and request.id:
        yield Part(request.group, request.id, request.group_index, state, value, request.chord)


def _after_failure(
    request: Request, state: str, error: BaseException, errbacks: _Errbacks | None
) -> Steps:
    parts = list(_own_part(request, state, error))
    failures: list[FailedStep] = []
    for step in reversed(request.chain or ()):
        _fail(step, error, failures, parts)
    sends: list[Item] = list(request.added_sends or ())
    in_place: tuple[InPlace, ...] = ()
    if errbacks is not None:
        errbacks.send(sends)
        in_place = tuple(errbacks.in_place)
    if not (parts or failures or sends or in_place or request.added_growth):
        return NOTHING
    return Steps(
        sends=tuple(sends),
        parts=tuple(parts),
        grows=tuple(request.added_growth or ()),
        failures=tuple(failures),
        in_place=in_place,
        error=error,
    )


def _fail(
    sig: SignatureDict,
    error: BaseException,
    failures: list[FailedStep],
    parts: list[Part],
) -> None:
    """Note the tasks that somebody may wait for, and that won't run: the ends of a signature."""
    kind = kind_of(sig)
    kwargs, options = sig["kwargs"], sig["options"]
    if kind == "chord":
        if kwargs.get("body") is not None:
            _fail(kwargs["body"], error, failures, parts)
    elif kind in ("chain", "group"):
        for task in kwargs["tasks"]:
            _fail(task, error, failures, parts)
    elif options.get("task_id"):
        task_id, group_id = options["task_id"], options.get("group_id")
        failures.append(FailedStep(task_id, group_id, options.get("parent_id")))
        if options.get("chord") and group_id:
            parts.append(
                Part(
                    group_id,
                    task_id,
                    options.get("group_index"),
                    states.FAILURE,
                    error,
                    options["chord"],
                )
            )
    for later in reversed(options.get("chain") or ()):
        _fail(later, error, failures, parts)


class _Errbacks:
    """Sorts errbacks into those that are called here and those that are sent.

    A function of more than one parameter is called here, with the request, the exception and the
    traceback; one of one parameter is sent as a task, with the id of what failed. One that is not
    registered here is sent, too.
    """

    def __init__(
        self, new_id: Callable[[], str], tasks: Registry, failed_id: str | None, root: str | None
    ) -> None:
        self._tasks = tasks
        self._failed_id = failed_id
        self._unroller = Unroller(new_id, root, failed_id)
        self._sent: list[SignatureDict] = []
        self.in_place: list[InPlace] = []

    def add(
        self, errback: SignatureDict, request: Request, error: BaseException, traceback: Any
    ) -> None:
        task = None if errback.get("subtask_type") else self._tasks.get(errback["task"])
        if task is None or not getattr(task, "accepts_error_request", False):
            self._sent.append(errback)
            return
        given = () if errback.get("immutable") else (request, error, traceback)
        self.in_place.append(
            InPlace(
                errback["task"],
                request,
                error,
                traceback,
                (*given, *errback["args"]),
                dict(errback["kwargs"]),
            )
        )

    def send(self, sends: list[Item]) -> Node | None:
        """Add what is sent, as a group; gives its result."""
        if not self._sent:
            return None
        return self._unroller.collect(_as_group(self._sent), (self._failed_id,), sends)


def after_join(
    group_id: str,
    body: SignatureDict,
    parts: Sequence[tuple[str, str, Any]],
    request: Request,
    *,
    new_id: Callable[[], str],
    tasks: Registry,
) -> Steps:
    """What follows from a join whose parts ``(task id, state, value)`` are all there, in order.

    ``request`` is that of the claim: its root and parent are those of the member that ended last.
    A part that failed fails the body with a ``ChordError``, and all that was to come after it.
    """
    for task_id, state, value in parts:
        if state in states.EXCEPTION_STATES:
            error = ChordError(f"Dependency {task_id} raised {value!r}")
            error.__cause__ = value
            return _failed_join(body, error, request, new_id, tasks)
    sends: list[Item] = []
    children: list[Node] = []
    unroller = Unroller(new_id, request.root_id, request.parent_id)
    values = [value for _, _, value in parts]
    over = everywhere({"stamped_headers": request.stamped_headers, **(request.stamps or {})})
    _add(children, unroller.collect(body, (values,), sends, over))
    return Steps(sends=tuple(sends), children=children)


def _failed_join(
    body: SignatureDict,
    error: ChordError,
    request: Request,
    new_id: Callable[[], str],
    tasks: Registry,
) -> Steps:
    failures: list[FailedStep] = []
    parts: list[Part] = []
    _fail(body, error, failures, parts)
    sends: list[Item] = []
    in_place: list[InPlace] = []
    children: dict[str | None, Node] = {}
    for failed_id, errbacks_of_it, entry in _entries(body):
        errbacks = _Errbacks(new_id, tasks, failed_id, entry["options"].get("root_id") or failed_id)
        failed = _request_of(entry, failed_id, request)
        for errback in errbacks_of_it:
            errbacks.add(errback, failed, error, None)
        node = errbacks.send(sends)
        if node is not None:
            children[failed_id] = node
        in_place.extend(errbacks.in_place)
    # The group of the body is its header's, of which it is no member: Celery doesn't record it.
    failures = [
        step._replace(
            group_id=None,
            children=[children[step.task_id]] if step.task_id in children else (),
        )
        for step in failures
    ]
    return Steps(
        sends=tuple(sends),
        parts=tuple(parts),
        failures=tuple(failures),
        in_place=tuple(in_place),
        error=error,
    )


def _entries(
    body: SignatureDict,
) -> Iterator[tuple[str | None, list[SignatureDict], SignatureDict]]:
    """What would have run first of a body: (the id that failed, its errbacks, itself)."""
    kind = kind_of(body)
    own = listed(body["options"].get("link_error"))
    if kind == "group":
        for task in body["kwargs"]["tasks"]:
            for failed_id, errbacks, entry in _entries(task):
                yield failed_id, errbacks + [new for new in own if new not in errbacks], entry
    elif kind == "chain":
        tasks = body["kwargs"]["tasks"]
        first = next(_entries(tasks[0]), None) if tasks else None
        errbacks = [] if first is None else first[1]
        failed_id = body["options"].get("task_id")
        yield failed_id, errbacks + [new for new in own if new not in errbacks], body
    elif kind == "chord":
        inner = next(_entries(body["kwargs"]["body"]), None)
        errbacks = [] if inner is None else inner[1]
        failed_id = None if inner is None else inner[0]
        yield failed_id, errbacks + [new for new in own if new not in errbacks], body
    else:
        yield body["options"].get("task_id"), own, body


def _request_of(sig: SignatureDict, task_id: str | None, claim: Request) -> Request:
    """A request for a body that never ran, for errbacks that want one."""
    options = sig["options"]
    return Request(
        id=task_id,
        task=sig["task"],
        args=list(sig["args"]),
        kwargs=dict(sig["kwargs"]),
        errbacks=listed(options.get("link_error")),
        root_id=options.get("root_id") or claim.root_id,
        parent_id=claim.parent_id,
        group=options.get("group_id"),
        delivery_info={},
        called_directly=False,
    )
