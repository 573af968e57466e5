"""What a running task puts in its own place, or adds to the chord that it is a member of. Pure.

The replacement takes over all that was attached to the task: its id (the last step of a chain has
it, or the body of a chord), its place in a group or join, what follows in its chain, its callbacks
and errbacks. Nothing of it is sent here; it belongs to the settlement of the task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from umbel.canvas.shapes import as_one_part, everywhere, listed, members_of, with_options
from umbel.canvas.unrolling import Item, Unroller
from umbel.model.call import SignatureDict
from umbel.model.join import JoinGrowth
from umbel.model.request import Request


def replacement(sig: SignatureDict, request: Request, *, new_id: Callable[[], str]) -> list[Item]:
    """What ``Task.replace(sig)`` sends. A group's values are gathered: the id has one value."""
    nesting = {"replaced_task_nesting": (request.replaced_task_nesting or 0) + 1}
    over: dict[str, Any] = {**nesting, "task_id": request.id, **_stamps(request)}
    if request.chain:
        over["chain"] = [with_options(step, nesting) for step in request.chain]
    over["group_id"] = request.group
    place = {"group_index": request.group_index, "chord": request.chord}
    over.update({name: value for name, value in place.items() if value is not None})
    sig = as_one_part(sig)
    links = {"link": listed(request.callbacks), "link_error": listed(request.errbacks)}
    attached = {name: value for name, value in links.items() if value}
    if attached:
        sig = with_options(sig, attached)
    sends: list[Item] = []
    unroller = Unroller(new_id, request.root_id or request.id, request.id)
    unroller.collect(sig, (), sends, over)
    return sends


def addition(
    sig: SignatureDict, request: Request, *, new_id: Callable[[], str]
) -> tuple[list[Item], JoinGrowth, list[Any]]:
    """What ``Task.add_to_chord(sig)`` sends, by how much the join grows, and the results.

    The members of a group are parts of their own. Raises ``ValueError`` outside of a chord.
    """
    if not request.chord or not request.group:
        raise ValueError("Current task is not member of any chord")
    over = {
        "group_id": request.group,
        "group_index": request.group_index,
        "chord": request.chord,
        **_stamps(request),
    }
    sends: list[Item] = []
    unroller = Unroller(new_id, request.root_id or request.id, request.id)
    nodes = [unroller.collect(as_one_part(member), (), sends, over) for member in members_of([sig])]
    results = [node for node in nodes if node is not None]
    return sends, JoinGrowth(request.group, len(results)), results


def _stamps(request: Request) -> dict[str, Any]:
    """What the task is stamped with, as options: what it sends instead has the same stamps."""
    return everywhere({"stamped_headers": request.stamped_headers, **(request.stamps or {})})
