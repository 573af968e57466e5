"""What chains, groups, chords and chunks have in common: none of them is sent as itself.

They are unrolled into calls, which the app sends in one go. A member whose task has an
``apply_async`` of its own is sent through that instead, in its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from umbel.canvas.shapes import links_of
from umbel.canvas.signature import Signature, maybe_signature
from umbel.canvas.streams import Stream
from umbel.canvas.unrolling import Item, unroll
from umbel.model.call import Call, SignatureDict
from umbel.model.generics import R_co
from umbel.model.request import Request, running
from umbel.ports.sender import Sender
from umbel.results.handle import AsyncResult
from umbel.results.tuples import result_from_tuple


class Composite(Signature[R_co]):
    """A signature that stands for several."""

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> AsyncResult[R_co]:
        """Send it. The arguments go to whatever runs first, before its own."""
        app = self.app
        if getattr(app.conf, "task_always_eager", False):
            return self.apply(args, kwargs, **options)
        sent: AsyncResult[R_co] = start(app, self, args or (), kwargs or {}, options)
        return sent

    def _given(self, args: Sequence[Any] | None) -> Sequence[Any]:
        """The arguments of a call before its own, unless it is immutable."""
        own: Sequence[Any] = self["args"]
        return own if self.immutable else (*(args or ()), *own)

    def _first_app(self, tasks: Any) -> Any:
        """Its app, else that of its first member, else the current one."""
        if self._app is None and isinstance(tasks, list | tuple | Stream):
            # Of a stream this reads the first one only, and keeps it.
            self._app = getattr(next(iter(tasks), None), "_app", None)
        return Signature.app.fget(self)  # type: ignore[attr-defined]  # a property's getter


def signatures_of(tasks: Any, app: Sender | None = None) -> Any:
    """Members as signatures: a list or tuple as such, a stream as it is."""
    if isinstance(tasks, Stream):
        return tasks
    if all(isinstance(task, Signature) for task in tasks):
        return tasks
    made = [maybe_signature(task, app) for task in tasks]
    return tuple(made) if isinstance(tasks, tuple) else made


def sending_request() -> Request | None:
    """The task that runs here and sends, if one does."""
    for request in reversed(running.get()):
        if not request.called_directly:
            return request
    return None


def start(
    app: Sender,
    sig: SignatureDict,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: dict[str, Any],
) -> Any:
    """Send what a canvas starts with; gives its result, or None where there is nothing to do."""
    for name in ("link", "link_error"):
        links_of(options.get(name), name)
    request = sending_request()
    is_child = options.pop("add_to_parent", True) and request is not None
    if request is not None and getattr(app.conf, "task_inherit_parent_priority", False):
        options.setdefault("priority", (request.delivery_info or {}).get("priority"))
    unrolled = unroll(sig, args, kwargs, options, new_id=app.new_id, request=request)
    ignored = _Outbox(app).send(unrolled.sends)
    if unrolled.result is None:
        return None
    result = result_from_tuple(unrolled.result, app, ignored=ignored)
    if is_child and request is not None:
        task = app.tasks.get(request.task or "")
        if getattr(task, "trail", True):
            request.children.append(unrolled.child)
    return result


class _Outbox:
    """Sends calls, and notes whose results nobody keeps."""

    def __init__(self, app: Sender) -> None:
        self._app = app
        self._tasks = app.tasks
        self._facts: dict[str, tuple[bool, bool]] = {}  # name: sends itself, keeps no result
        self._ignored: set[str] = set()
        self._body: SignatureDict | None = None
        self._own: Call | None = None  # the call that has to be sent through its task

    def send(self, items: Iterator[Item]) -> set[str]:
        """Send all; gives the ids that keep no result."""
        while True:
            self._own = None
            self._app.send(self._up_to_own(items))
            if self._own is None:
                return self._ignored
            _send_through_task(self._tasks.get(self._own.task), self._own)

    def _up_to_own(self, items: Iterator[Item]) -> Iterator[Item]:
        facts = self._facts
        for item in items:
            if type(item) is Call:
                known = facts.get(item.task)
                if known is None:
                    known = self._fact(item.task)
                if item.options or known[1]:
                    self._note(item.id, known[1], item.options)
                if item.link is not None or item.link_error is not None:
                    links_of(item.link, "link")
                    links_of(item.link_error, "link_error")
                if item.chain is not None:
                    self._note_all(item.chain)
                if item.chord is not None and item.chord is not self._body:
                    self._body = item.chord
                    self._note_all([item.chord, *(item.chord["options"].get("chain") or ())])
                if known[0]:
                    self._own = item
                    return
            yield item

    def _fact(self, name: str) -> tuple[bool, bool]:
        task = self._tasks.get(name)
        known = (
            bool(getattr(task, "overrides_apply_async", False)),
            bool(getattr(task, "ignore_result", False)),
        )
        self._facts[name] = known
        return known

    def _note(self, task_id: str, by_task: bool, options: Mapping[str, Any]) -> None:
        said = options.get("ignore_result")
        if by_task if said is None else said:
            self._ignored.add(task_id)

    def _note_all(self, sigs: Sequence[SignatureDict]) -> None:
        for sig in sigs:
            kwargs = sig["kwargs"]
            for name in ("link", "link_error"):
                if sig["options"].get(name):
                    links_of(sig["options"][name], name)
            if sig.get("subtask_type") == "chord":
                self._note_all([kwargs["body"]])
            elif sig.get("subtask_type") in ("group", "chain"):
                self._note_all(kwargs["tasks"])
            elif sig["options"].get("task_id"):
                name = sig["task"]
                known = self._facts.get(name) or self._fact(name)
                self._note(sig["options"]["task_id"], known[1], sig["options"])


def _send_through_task(task: Any, call: Call) -> None:
    place = {
        "task_id": call.id,
        "root_id": call.root_id,
        "parent_id": call.parent_id,
        "group_id": call.group_id,
        "group_index": call.group_index,
        "chord": call.chord,
        "chain": call.chain,
        "link": call.link,
        "link_error": call.link_error,
    }
    said = {name: value for name, value in place.items() if value is not None}
    task.apply_async(call.args, call.kwargs, add_to_parent=False, **said, **call.options)
