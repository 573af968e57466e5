"""What signatures are, read off their data, and the rewriting that makes them simpler. Pure.

A signature is looked at as the mapping that stands on the wire, so that what a user has built here
and what another process has sent are treated by the same code. Nothing is changed in place.

The rewriting leaves few cases to the unrolling:

- A chain is flat: chains in it are spliced; a group with something after it has become a chord;
  a chord whose body is a chain is followed by the rest of that body. So each step but the last
  ends in exactly one task, whose value the next step is given.
- What counts as one part of a join ends in exactly one task: a group at its end is gathered by
  ``celery.accumulate``, whose value is the list. (A group that stands in a header itself is
  flattened instead: its members are parts.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from umbel.canvas.streams import Stream
from umbel.model.call import SignatureDict

# Options that say where a signature stands in its workflow; the rest says how it is sent.
PLACE = frozenset({"task_id", "group_id", "group_index", "chord", "chain", "root_id", "parent_id"})

# ... among them those that say of which group or join it is a member.
OWN_PLACE = frozenset({"group_id", "group_index", "chord"})

_KINDS = {
    "celery.chain": "chain",
    "celery.group": "group",
    "celery.chord": "chord",
    "celery.chunks": "chunks",
}


def kind_of(sig: SignatureDict) -> str:
    """``task``, ``chain``, ``group``, ``chord`` or ``chunks``.

    ``celery.chunks`` with a task id is a plain task: somebody waits for the result of that id.
    """
    subtask = sig.get("subtask_type")
    if subtask is not None:
        return subtask if subtask in ("chain", "group", "chord") else "task"
    kind = _KINDS.get(sig["task"], "task")
    if kind == "chunks" and sig["options"].get("task_id") is not None:
        return "task"
    return kind


def listed(value: Any) -> list[Any]:
    """One thing, many or none, as a list: how ``link`` and ``link_error`` are given."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def links_of(value: Any, name: str) -> list[Any]:
    """What is given as ``link`` or ``link_error``, as a list.

    Raises ``TypeError`` for what is no signature: a worker would find out only after the task.
    """
    links = listed(value)
    for link in links:
        if not isinstance(link, Mapping) or "task" not in link:
            raise TypeError(f"{name} takes signatures, as task.s() gives them, and not {link!r}")
    return links


def task_sig(
    name: str, kwargs: Mapping[str, Any], *, options: Mapping[str, Any], immutable: bool = False
) -> dict[str, Any]:
    """A plain signature."""
    return {
        "task": name,
        "args": (),
        "kwargs": dict(kwargs),
        "options": dict(options),
        "subtask_type": None,
        "immutable": immutable,
    }


def group_sig(tasks: Any, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A group."""
    return {
        "task": "celery.group",
        "args": (),
        "kwargs": {"tasks": tasks},
        "options": dict(options or ()),
        "subtask_type": "group",
        "immutable": False,
    }


def chord_sig(
    header: Any, body: SignatureDict, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A chord."""
    return {
        "task": "celery.chord",
        "args": (),
        "kwargs": {"kwargs": {}, "header": header, "body": body},
        "options": dict(options or ()),
        "subtask_type": "chord",
        "immutable": False,
    }


def accumulator() -> dict[str, Any]:
    """The body that gives the list of a chord's values as it is."""
    return task_sig("celery.accumulate", {"index": 0}, options={})


def slices(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of ``size`` items, the last one shorter."""
    part: list[Any] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def group_of_chunks(sig: SignatureDict) -> dict[str, Any]:
    """The group of ``celery.starmap`` tasks that ``chunks`` stands for."""
    task, it, size = (sig["kwargs"][name] for name in ("task", "it", "n"))
    members = [
        task_sig("celery.starmap", {"task": task, "it": part}, options={}, immutable=True)
        for part in slices(it, int(size))
    ]
    return group_sig(members, sig["options"])


def ends_in_group(sig: SignatureDict) -> bool:
    """True where the result of a signature is that of a group, not that of one task."""
    kind = kind_of(sig)
    if kind == "chain":
        tasks = sig["kwargs"]["tasks"]
        return bool(tasks) and ends_in_group(tasks[-1])
    if kind == "chord":
        body = sig["kwargs"].get("body")
        return body is not None and ends_in_group(body)
    return kind in ("group", "chunks")


def as_one_part(sig: SignatureDict) -> SignatureDict:
    """The same, made to end in one task, whose value is a list where it ended in a group."""
    if sig.get("subtask_type") is None and sig["task"] not in _KINDS:
        return sig
    if not ends_in_group(sig):
        return sig
    kind = kind_of(sig)
    kwargs = sig["kwargs"]
    if kind == "chain":
        tasks = list(kwargs["tasks"])
        tasks[-1] = as_one_part(tasks[-1])
        return {**sig, "kwargs": {**kwargs, "tasks": tasks}}
    if kind == "chord":
        return {**sig, "kwargs": {**kwargs, "body": as_one_part(kwargs["body"])}}
    if kind == "chunks":
        sig = group_of_chunks(sig)
    return with_args(chord_sig(_without_place(sig), accumulator()), sig)


def _without_place(group: SignatureDict) -> SignatureDict:
    # Members that another client has frozen as parts of an outer join count here alone.
    def clean(member: SignatureDict) -> SignatureDict:
        if member["options"].get("chord") is None:
            return member
        options = {k: v for k, v in member["options"].items() if k not in PLACE or k == "task_id"}
        return {**member, "options": options}

    tasks = group["kwargs"]["tasks"]
    if isinstance(tasks, list | tuple):
        tasks = [clean(task) for task in tasks]
    options = {k: v for k, v in group["options"].items() if k not in PLACE or k == "task_id"}
    return group_sig(tasks, options)


def members_of(tasks: Iterable[SignatureDict]) -> Iterator[SignatureDict]:
    """The members of a group or header: groups in it are flattened, in order."""
    for sig in tasks:
        if sig.get("subtask_type") != "group" and sig["task"] != "celery.group":
            if sig["task"] != "celery.chain" or sig["kwargs"].get("tasks"):
                yield sig
            continue
        options = {k: v for k, v in sig["options"].items() if k not in PLACE}
        for member in members_of(sig["kwargs"]["tasks"]):
            yield with_args(with_options(member, options) if options else member, sig)


def with_options(sig: SignatureDict, options: Mapping[str, Any]) -> dict[str, Any]:
    """The signature with options laid over its own; links are added to its own."""
    merged = {**sig["options"], **options}
    for name in ("link", "link_error"):
        if name in options:
            own = listed(sig["options"].get(name))
            merged[name] = own + [new for new in listed(options[name]) if new not in own]
    keep_stamps(merged, sig["options"], options)
    return {**sig, "options": merged}


def keep_stamps(merged: dict[str, Any], own: Mapping[str, Any], over: Mapping[str, Any]) -> None:
    """Of options that were laid over one's own: have the stamps of both, one's own first."""
    names = own.get("stamped_headers")
    if names and over.get("stamped_headers"):
        more = [name for name in over["stamped_headers"] if name not in names]
        merged.update({name: own[name] for name in names if name in own})
        merged["stamped_headers"] = [*names, *more]


def with_args(sig: SignatureDict, outer: SignatureDict) -> SignatureDict:
    """A signature that takes over from the canvas around it what that was given for its first."""
    if not outer.get("args") and not outer.get("immutable"):
        return sig
    own = sig["args"]
    args = own if sig.get("immutable") else (*outer["args"], *own)
    return {**sig, "args": args, "immutable": bool(sig.get("immutable") or outer.get("immutable"))}


def keeps_place(own: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    """True where a signature that was frozen in a place stays there, whoever sends it.

    A member of a mere group becomes a member of a join that it is sent for.
    """
    if own.get("group_id") is None:
        return False
    return own.get("chord") is not None or over.get("chord") is None


def header_of(sig: SignatureDict) -> tuple[Any, Mapping[str, Any]]:
    """The members of a chord's header as they stand, and the header's own options."""
    header = sig["kwargs"]["header"]
    if isinstance(header, Mapping):
        if header.get("subtask_type") == "group":
            return header["kwargs"]["tasks"], header["options"]
        return [header], {}
    return header, {}


def with_errors_on_header(sig: SignatureDict, errors: Sequence[SignatureDict]) -> SignatureDict:
    """A chord whose members have these errbacks as well; anything else as it is.

    The members are read as they are needed, as those of the chord are.
    """
    if kind_of(sig) != "chord":
        return sig
    tasks, own = header_of(sig)
    also = {"link_error": list(errors)}
    marked = Stream(with_options(member, also) for member in members_of(tasks))
    kwargs = sig["kwargs"]
    header = group_sig(marked, own) if isinstance(kwargs["header"], Mapping) else marked
    return {**sig, "kwargs": {**kwargs, "header": header}}


def everywhere(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of a canvas that go to each of its tasks, wherever it stands."""
    found = {}
    if "replaced_task_nesting" in options:
        found["replaced_task_nesting"] = options["replaced_task_nesting"]
    stamps = options.get("stamped_headers")
    if stamps:
        found["stamped_headers"] = stamps
        found.update({name: options[name] for name in stamps if name in options})
    return found


def steps_of(tasks: Iterable[SignatureDict]) -> list[SignatureDict]:
    """The steps of a chain, flat: see the top of this room."""
    steps: list[SignatureDict] = []
    for sig in tasks:
        _append(steps, sig)
    return steps


def _append(steps: list[SignatureDict], sig: SignatureDict) -> None:
    kind = kind_of(sig)
    if kind == "chain":
        for step in _own_steps(sig):
            _append(steps, step)
        return
    if kind == "chunks":
        sig = group_of_chunks(sig)
    elif kind == "group" and steps and isinstance(sig["kwargs"]["tasks"], list | tuple):
        members = list(members_of([sig]))
        if len(members) < 2:
            # A group of one is its member, and a group of none is nothing, as in Celery.
            for member in members:
                _append(steps, member)
            return
    elif kind == "chord":
        sig, rest = _split_body(sig)
        _join_on(steps, sig)
        for step in rest:
            _append(steps, step)
        return
    _join_on(steps, sig)


def _own_steps(chain: SignatureDict) -> list[SignatureDict]:
    """The tasks of a chain inside of another, with what was set on it laid on them."""
    steps = spread(list(chain["kwargs"]["tasks"]), chain["options"])
    return [with_args(steps[0], chain), *steps[1:]] if steps else steps


def spread(steps: Sequence[SignatureDict], options: Mapping[str, Any]) -> list[SignatureDict]:
    """Steps of a chain, with the chain's options laid on those that they are meant for.

    ``link`` and the place are the last one's, ``link_error`` is everybody's, and how to send
    (queue, countdown ...) is the first one's: that is the one that gets sent.
    """
    options = {name: value for name, value in options.items() if value is not None}
    if not options or not steps:
        return list(steps)
    errors = {"link_error": options["link_error"]} if options.get("link_error") else {}
    for_all = {**everywhere(options), **errors}
    last = {k: v for k, v in options.items() if k in PLACE}
    if options.get("link"):
        last["link"] = options["link"]
    first = {k: v for k, v in options.items() if k not in PLACE and k != "link"}
    laid = [with_options(step, for_all) if for_all else step for step in steps]
    if first:
        laid[0] = with_options(laid[0], first)
    if last:
        laid[-1] = _placed(laid[-1], last)
    return laid


def _placed(sig: SignatureDict, place: Mapping[str, Any]) -> dict[str, Any]:
    """A signature with its place; the id that is waited for is that of a chord's body.

    One that was frozen as a member of a group or join stays in it.
    """
    if keeps_place(sig["options"], place):
        place = {name: value for name, value in place.items() if name not in OWN_PLACE}
    task_id = place.get("task_id")
    if task_id is None or kind_of(sig) != "chord":
        return with_options(sig, place)
    rest = {name: value for name, value in place.items() if name != "task_id"}
    kwargs = sig["kwargs"]
    body = _placed(kwargs["body"], {"task_id": task_id}) if kwargs.get("body") is not None else None
    return with_options({**sig, "kwargs": {**kwargs, "body": body}}, rest)


def _split_body(chord: SignatureDict) -> tuple[SignatureDict, list[SignatureDict]]:
    """A chord whose body is a chain, as a chord with its first task and the rest."""
    kwargs = chord["kwargs"]
    body = kwargs.get("body")
    if body is None or kind_of(body) != "chain":
        return chord, []
    first, *rest = steps_of(_own_steps(body)) or [accumulator()]
    links = {k: v for k, v in chord["options"].items() if k in ("link", "link_error")}
    if rest and links:
        # They were meant for the end of the body, which is a step of its own now.
        rest = spread(rest, links)
    kept = {k: v for k, v in chord["options"].items() if not rest or k != "link"}
    return {**chord, "options": kept, "kwargs": {**kwargs, "body": first}}, rest


def _join_on(steps: list[SignatureDict], sig: SignatureDict) -> None:
    if steps and ends_in_group(steps[-1]):
        steps[-1] = _gathered(steps[-1], sig)
    else:
        steps.append(sig)


def _gathered(before: SignatureDict, after: SignatureDict) -> SignatureDict:
    """What ends in a group, and what is to get the list of its values, as one chord."""
    kind = kind_of(before)
    if kind == "group":
        return chord_sig(before, after)
    if kind == "chunks":
        return chord_sig(group_of_chunks(before), after)
    kwargs = before["kwargs"]
    if kind == "chain":
        *tasks, last = kwargs["tasks"]
        return {**before, "kwargs": {**kwargs, "tasks": [*tasks, _gathered(last, after)]}}
    return {**before, "kwargs": {**kwargs, "body": _gathered(kwargs["body"], after)}}
