"""Fixing the ids of a canvas that is sent later: the rest of a chain, the body of a chord.

Those travel as data inside of the message that comes before them. Their ids are fixed now, so that
whoever sent the canvas knows what to wait for, and written into ``options.task_id`` exactly where
Celery's workers look for them. Nothing is changed in place; what comes out is plain data.

A *node* is a result as a list, ``[[id, parent], children]``, whose parent is set when it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from umbel.canvas.shapes import (
    OWN_PLACE,
    PLACE,
    accumulator,
    as_one_part,
    group_of_chunks,
    header_of,
    keep_stamps,
    keeps_place,
    kind_of,
    listed,
    members_of,
    spread,
    steps_of,
    with_args,
)
from umbel.model.call import SignatureDict

Node = list[Any]
# The result of a signature, and the first of the results that lead to it: what came before the
# signature becomes the parent of that one.
Nodes = tuple[Node, Node]

_HEADER_ONLY = frozenset({"countdown", "eta"})


def node_of(result_id: str, members: list[Node] | None = None) -> Node:
    """A result without a parent yet."""
    return [[result_id, None], members]


def laid_over(own: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a signature under those of the call that sends it.

    A signature that was frozen as a member of a group stays in its group, and keeps its stamps.
    """
    if not over:
        return dict(own)
    if keeps_place(own, over):
        merged = {**own, **{k: v for k, v in over.items() if k not in OWN_PLACE}}
    else:
        merged = {**own, **over}
    keep_stamps(merged, own, over)
    return merged


def plain(value: Any) -> Any:
    """A signature, or a list of them, with every stream in it read: fit for any serializer."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    # What is no signature is for others to refuse, where it was given.
    if not isinstance(value, Mapping) or "task" not in value or kind_of(value) == "task":
        return value
    kwargs = dict(value["kwargs"])
    for name in ("tasks", "header"):
        if name in kwargs and not isinstance(kwargs[name], Mapping):
            kwargs[name] = [plain(item) for item in kwargs[name]]
    return {**value, "kwargs": kwargs}


def freeze(
    sig: SignatureDict, over: Mapping[str, Any], new_id: Callable[[], str]
) -> tuple[dict[str, Any], Nodes]:
    """A signature as data with its ids fixed, and its result."""
    kind = kind_of(sig)
    if kind == "chain":
        return _freeze_chain(sig, over, new_id)
    if kind == "group":
        return _freeze_group(sig, over, new_id)
    if kind == "chunks":
        return _freeze_group(group_of_chunks(sig), over, new_id)
    if kind == "chord":
        return _freeze_chord(sig, over, new_id)
    options = laid_over(sig["options"], over)
    task_id = options.get("task_id") or new_id()
    options["task_id"] = task_id
    _read_links(options)
    node = node_of(task_id)
    return _dict(sig, sig["task"], list(sig["args"]), sig["kwargs"], options), (node, node)


def _dict(
    sig: SignatureDict, task: str, args: list[Any], kwargs: Any, options: dict[str, Any]
) -> dict[str, Any]:
    return {
        "task": task,
        "args": args,
        "kwargs": kwargs,
        "options": options,
        "subtask_type": sig.get("subtask_type"),
        "immutable": bool(sig.get("immutable")),
    }


def _read_links(options: dict[str, Any]) -> None:
    for name in ("link", "link_error"):
        if options.get(name):
            options[name] = [plain(link) for link in listed(options[name])]


def _freeze_chain(
    sig: SignatureDict, over: Mapping[str, Any], new_id: Callable[[], str]
) -> tuple[dict[str, Any], Nodes]:
    options = laid_over(sig["options"], over)
    later = options.pop("chain", None)
    steps = spread(steps_of(sig["kwargs"]["tasks"]) or [accumulator()], options)
    if len(steps) == 1 and not later:
        return freeze(with_args(steps[0], sig), {}, new_id)
    frozen, (tail, head) = freeze_steps(steps, new_id)
    kept: dict[str, Any] = {"task_id": tail[0][0]}
    if later:
        kept["chain"] = later
    return _dict(sig, "celery.chain", list(sig["args"]), {"tasks": frozen}, kept), (tail, head)


def freeze_steps(
    steps: list[SignatureDict], new_id: Callable[[], str]
) -> tuple[list[dict[str, Any]], Nodes]:
    """The steps of a chain, in order, each the parent of the next."""
    frozen: list[dict[str, Any]] = []
    tail: Node = []
    first: Node = []
    for step in steps:
        data, (end, start) = freeze(step, {}, new_id)
        if tail:
            start[0][1] = tail
        else:
            first = start
        tail = end
        frozen.append(data)
    return frozen, (tail, first)


def _freeze_group(
    sig: SignatureDict, over: Mapping[str, Any], new_id: Callable[[], str]
) -> tuple[dict[str, Any], Nodes]:
    options = laid_over(sig["options"], over)
    if options.pop("link", None):
        raise TypeError("Cannot add link to group: use a chord")
    group_id = options.get("task_id") or new_id()
    options["task_id"] = group_id
    place = {name: options[name] for name in ("group_id", "chord") if options.get(name)}
    errors = listed(options.pop("link_error", None))
    frozen, nodes = [], []
    for position, member in enumerate(members_of(sig["kwargs"]["tasks"])):
        own = {**place, "group_index": position}
        if errors:
            own["link_error"] = [*listed(member["options"].get("link_error")), *errors]
        data, (node, _) = freeze(member, own, new_id)
        frozen.append(data)
        nodes.append(node)
    node = node_of(group_id, nodes)
    return _dict(sig, "celery.group", list(sig["args"]), {"tasks": frozen}, options), (node, node)


def _freeze_chord(
    sig: SignatureDict, over: Mapping[str, Any], new_id: Callable[[], str]
) -> tuple[dict[str, Any], Nodes]:
    """The chord's options keep how it is sent; its place in the workflow is that of its body."""
    options = laid_over(sig["options"], {k: v for k, v in over.items() if k != "task_id"})
    tasks, own_header = header_of(sig)
    group_id = own_header.get("task_id") or sig["options"].get("task_id") or new_id()
    frozen, nodes = [], []
    for position, member in enumerate(members_of(tasks)):
        data, (node, _) = freeze(as_one_part(member), {"group_index": position}, new_id)
        frozen.append(data)
        nodes.append(node)
    body_over = {name: options.pop(name) for name in OWN_PLACE if options.get(name) is not None}
    if over.get("task_id"):
        body_over["task_id"] = over["task_id"]
    errors = listed(options.pop("link_error", None))
    body, tail = freeze_body(sig, body_over, errors, new_id)
    group = node_of(group_id, nodes)
    tail[0][1] = group
    options["task_id"] = group_id
    _read_links(options)
    header = {
        "task": "celery.group",
        "args": [],
        "kwargs": {"tasks": frozen},
        "options": {**member_options(own_header), "task_id": group_id},
        "subtask_type": "group",
        "immutable": False,
    }
    kwargs = {"kwargs": sig["kwargs"].get("kwargs") or {}, "header": header, "body": body}
    return _dict(sig, "celery.chord", list(sig["args"]), kwargs, options), (tail, group)


def freeze_body(
    chord: SignatureDict,
    over: Mapping[str, Any],
    errors: list[SignatureDict],
    new_id: Callable[[], str],
) -> tuple[dict[str, Any], Node]:
    """The body of a chord as data, and its result."""
    body = chord["kwargs"].get("body")
    if body is None:
        raise ValueError(
            "a chord without a body can't be sent: give it one, as in chord(header)(body), "
            "or use a group"
        )
    if errors:
        own = listed(body["options"].get("link_error"))
        over = {**over, "link_error": own + [error for error in errors if error not in own]}
    data, (tail, _) = freeze(body, over, new_id)
    return data, tail


def body_options(options: Mapping[str, Any], group_id: str) -> dict[str, Any]:
    """Of the options that a chord is sent with, those of its body."""
    over = {
        name: value
        for name, value in options.items()
        if value is not None
        and name not in _HEADER_ONLY
        and name not in ("task_id", "root_id", "parent_id", "link", "link_error")
    }
    if "group_id" not in options:  # None: whoever is replaced by the chord was in no group
        over["group_id"] = group_id
    return over


def member_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of the options that a group or chord is sent with, those of the members."""
    return {
        name: value
        for name, value in options.items()
        if name not in PLACE and name not in ("link", "link_error")
    }
