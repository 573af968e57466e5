"""From a canvas to the calls that start it. Pure: no app, no clock, no server.

``unroll`` walks a signature and gives what is to be sent at once: the first step of each chain,
with the rest of the chain inside of it; every member of a group; every member of a chord's header,
with the chord's body inside of it. The rest is sent by workers (``continuation``). Members that
come from a generator are read one by one, as the calls are taken.

A chord tells its number of parts by a ``JoinOpening`` right before the last call of its header: no
earlier, because a generator doesn't know its length, and no later, because the join could be full
by then and nobody would be left to claim it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import Any

from umbel.canvas.freezing import (
    Node,
    Nodes,
    body_options,
    freeze_body,
    freeze_steps,
    laid_over,
    member_options,
    node_of,
    plain,
)
from umbel.canvas.shapes import (
    as_one_part,
    chord_sig,
    group_of_chunks,
    group_sig,
    header_of,
    kind_of,
    listed,
    members_of,
    spread,
    steps_of,
)
from umbel.model.call import Call, SignatureDict
from umbel.model.join import JoinOpening
from umbel.model.request import Request

Item = Call | JoinOpening
Walk = Generator[Item, None, Nodes | None]

# Options that have a field of their own in a Call, or mean something to the canvas alone.
_TAKEN = (
    "task_id",
    "group_id",
    "group_index",
    "chord",
    "chain",
    "link",
    "link_error",
    "root_id",
    "parent_id",
    "add_to_parent",
)
# Who sends it; laid over whatever is sent first.
_SENDER = ("root_id", "parent_id")
_SHAPED = frozenset({"celery.chunks", "celery.chain", "celery.group", "celery.chord"})


class Unrolled:
    """What is to be sent, and, once that was read to its end, the result of it all.

    ``result`` is a node, ``[[id, parent], children]``, or None where there was nothing to send.
    ``child`` is the first of the results that lead to it: what the sender's record lists.
    """

    __slots__ = ("_walk", "child", "result")

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self.result: Node | None = None
        self.child: Node | None = None

    @property
    def sends(self) -> Iterator[Item]:
        """Calls and openings, in order. To be read once."""
        nodes = yield from self._walk
        if nodes is not None:
            self.result, self.child = nodes


def unroll(
    sig: SignatureDict,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    new_id: Callable[[], str],
    request: Request | None = None,
) -> Unrolled:
    """Start a canvas: ``args`` and ``kwargs`` go to whatever runs first.

    ``options`` are those of ``apply_async``. ``request`` is the task that sends it, if one does.
    """
    over = dict(options or ())
    root_id, parent_id = over.pop("root_id", None), over.pop("parent_id", None)
    if request is not None:
        root_id = root_id or request.root_id or request.id
        parent_id = parent_id or request.id
    return Unrolled(Unroller(new_id, root_id, parent_id).walk(sig, args, kwargs or {}, over))


class Unroller:
    """Walks signatures on behalf of one sender: its calls have one root and one parent."""

    __slots__ = ("_new_id", "_parent_id", "_root_id")

    def __init__(
        self, new_id: Callable[[], str], root_id: str | None, parent_id: str | None
    ) -> None:
        self._new_id = new_id
        self._root_id = root_id
        self._parent_id = parent_id

    def collect(
        self,
        sig: SignatureDict,
        args: Sequence[Any],
        sends: list[Item],
        over: Mapping[str, Any] | None = None,
    ) -> Node | None:
        """Add what a signature sends to a list; gives the first of its results."""
        unrolled = Unrolled(self.walk(sig, args, {}, over or {}))
        sends.extend(unrolled.sends)
        return unrolled.child

    def walk(
        self,
        sig: SignatureDict,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        over: Mapping[str, Any],
    ) -> Walk:
        """The calls of one signature of any kind; ``over`` is laid over its options."""
        kind = kind_of(sig)
        if kind == "task":
            return self._task(sig, args, kwargs, over)
        if sig.get("immutable"):
            args, kwargs = sig["args"], {}
        elif sig.get("args"):
            args = (*args, *sig["args"])
        if kind == "chain":
            return self._chain(sig, args, kwargs, over)
        if kind == "group":
            return self._group(sig, args, kwargs, over)
        if kind == "chunks":
            return self._group(group_of_chunks(sig), args, kwargs, over)
        return self._chord(sig, args, kwargs, over)

    def _task(
        self,
        sig: SignatureDict,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        over: Mapping[str, Any],
    ) -> Walk:
        options = laid_over(sig["options"], over)
        (
            task_id,
            group_id,
            group_index,
            chord,
            chain,
            link,
            link_error,
            root_id,
            parent_id,
            _,
        ) = [options.pop(name, None) for name in _TAKEN]
        if options.get("priority", 0) is None:
            del options["priority"]
        own_args: Sequence[Any] = sig["args"]
        own_kwargs: Mapping[str, Any] = sig["kwargs"]
        if not sig.get("immutable"):
            own_args = (*args, *own_args) if args else own_args
            own_kwargs = {**own_kwargs, **kwargs} if kwargs else own_kwargs
        task_id = task_id or self._new_id()
        yield Call(
            sig["task"],
            own_args,
            own_kwargs,
            task_id,
            root_id or self._root_id,
            parent_id or self._parent_id,
            group_id,
            group_index,
            chord,
            chain or None,
            plain(listed(link)) or None,
            plain(listed(link_error)) or None,
            options,
        )
        node = node_of(task_id)
        return node, node

    def _chain(
        self,
        sig: SignatureDict,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        over: Mapping[str, Any],
    ) -> Walk:
        options = laid_over(sig["options"], over)
        later = options.pop("chain", None) or ()
        first_over = {name: options.pop(name) for name in _SENDER if name in options}
        steps = spread(steps_of(sig["kwargs"]["tasks"]), options)
        if not steps:
            return None
        first, rest = steps[0], steps[1:]
        frozen, (tail, head) = freeze_steps(rest, self._new_id)
        if frozen or later:
            first_over["chain"] = [*later, *reversed(frozen)]
        nodes = yield from self.walk(first, args, kwargs, first_over)
        if nodes is None or not rest:
            return nodes
        head[0][1] = nodes[0]
        return tail, nodes[1]

    def _group(
        self,
        sig: SignatureDict,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        over: Mapping[str, Any],
    ) -> Walk:
        options = laid_over(sig["options"], over)
        chain = options.pop("chain", None)
        if chain:
            # Something comes after a group that a worker has to send: it waits for all of it.
            *later, body = chain
            kept = {**member_options(options), "task_id": options.get("task_id")}
            joined = chord_sig(group_sig(sig["kwargs"]["tasks"], kept), body)
            place = {name: options[name] for name in _SENDER if name in options}
            return (yield from self._chord(joined, args, kwargs, {**place, "chain": later}))
        if options.get("link"):
            raise TypeError("Cannot add link to group: use a chord")
        group_id = options.get("task_id") or self._new_id()
        for_members = member_options(options)
        if options.get("link_error"):
            for_members["link_error"] = options["link_error"]
        nodes: list[Node] = []
        yield from self._members(
            sig["kwargs"]["tasks"],
            args,
            kwargs,
            for_members,
            options.get("group_id") or group_id,
            options.get("chord"),
            nodes,
        )
        node = node_of(group_id, nodes)
        return node, node

    def _chord(
        self,
        sig: SignatureDict,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        over: Mapping[str, Any],
    ) -> Walk:
        # ``task_id`` in the signature is the id of the header's group (freezing wrote it there);
        # ``task_id`` in the call is the id that somebody waits for: the body's.
        own = dict(sig["options"])
        tasks, own_header = header_of(sig)
        group_id = own_header.get("task_id") or own.pop("task_id", None) or self._new_id()
        own.pop("task_id", None)
        options = laid_over(own, over)
        place = body_options(options, group_id)
        if over.get("task_id"):
            place["task_id"] = over["task_id"]
        if options.get("link"):
            links = listed((sig["kwargs"].get("body") or {"options": {}})["options"].get("link"))
            place["link"] = links + [link for link in listed(options["link"]) if link not in links]
        errors = listed(options.get("link_error"))
        body, tail = freeze_body(sig, place, errors, self._new_id)

        for_members = {**member_options(own_header), **member_options(options)}
        if own_header.get("link_error"):
            for_members["link_error"] = own_header["link_error"]
        header_kwargs = {**(sig["kwargs"].get("kwargs") or {}), **kwargs}
        nodes: list[Node] = []
        members = self._members(
            (as_one_part(member) for member in members_of(tasks)),
            args,
            header_kwargs,
            for_members,
            group_id,
            body,
            nodes,
        )
        last: Item | None = None
        for item in members:
            if last is not None:
                yield last
            last = item
        if last is None:
            yield from self.walk(body, ([],), {}, {})
        else:
            yield JoinOpening(group_id, len(nodes))
            yield last
        group = node_of(group_id, nodes)
        tail[0][1] = group
        return tail, group

    def _members(
        self,
        tasks: Iterable[SignatureDict],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        options: Mapping[str, Any],
        group_id: str,
        chord: SignatureDict | None,
        nodes: list[Node],
    ) -> Generator[Item, None, None]:
        new_id, root_id, parent_id = self._new_id, self._root_id, self._parent_id
        position = 0
        for sig in members_of(tasks):
            is_plain = not (options or sig["options"] or kwargs or sig.get("subtask_type"))
            if is_plain and sig["task"] not in _SHAPED:
                # bench/canvas.py: a member costs 3.1 us in all this way, 5.1 us by way of _task.
                task_id = new_id()
                own_args = sig["args"]
                if args and not sig.get("immutable"):
                    own_args = (*args, *own_args)
                yield Call(
                    sig["task"],
                    own_args,
                    sig["kwargs"],
                    task_id,
                    root_id,
                    parent_id,
                    group_id,
                    position,
                    chord,
                )
                nodes.append([[task_id, None], None])
                position += 1
                continue
            over = {**options, "group_id": group_id, "group_index": position}
            if chord is not None:
                over["chord"] = chord
            if options.get("link_error"):
                own = listed(sig["options"].get("link_error"))
                over["link_error"] = own + listed(options["link_error"])
            walked = yield from self.walk(sig, args, kwargs, over)
            if walked is not None:
                nodes.append(walked[0])
                position += 1
