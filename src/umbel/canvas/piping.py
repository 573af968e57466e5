"""What ``a | b`` makes of each pair of kinds, as in Celery.

A group with something after it is a chord; a chord with a task after it has both as its body; a
group of one after something is its member. What is left is a chain. Members are shared, never
changed.
"""

from __future__ import annotations

from umbel.canvas.chain import chain
from umbel.canvas.chord import chord
from umbel.canvas.group import group
from umbel.canvas.signature import Signature
from umbel.canvas.streams import Stream


def pipe(left: Signature, right: Signature) -> Signature:
    """``left | right``."""
    if isinstance(left, group):
        return left if _is_empty(right) else chord(left, right, app=left._app)
    if isinstance(left, chord):
        return _after_chord(left, right)
    if isinstance(left, chain):
        return _after_chain(left, right)
    if isinstance(right, chain):
        return chain.of([left, *right.tasks], left._app)
    return chain.of([left, _alone(right)], left._app)


def _is_empty(sig: Signature) -> bool:
    return isinstance(sig, group) and not sig.tasks


def _alone(sig: Signature) -> Signature:
    """The member of a group of one; else the signature itself."""
    if isinstance(sig, group) and not isinstance(sig.tasks, Stream) and len(sig.tasks) == 1:
        only: Signature = sig.tasks[0]
        return only
    return sig


def _after_chord(left: chord, right: Signature) -> Signature:
    if isinstance(right, chain):
        return chain.of([left, *right.tasks], left._app)
    right = _alone(right)
    if isinstance(right, group):
        return chain.of([left, right], left._app)
    return left._with_body(right if left.body is None else left.body | right)


def _after_chain(left: chain, right: Signature) -> Signature:
    if _is_empty(right):
        return left
    right = _alone(right)
    tasks = list(left.tasks)
    for task in right.tasks if isinstance(right, chain) else [right]:
        last = tasks[-1] if tasks else None
        if isinstance(last, group) and not isinstance(task, group):
            tasks[-1] = chord(last, task, app=left._app)
        elif isinstance(last, chord) and last.body is not None and not isinstance(task, chord):
            tasks[-1] = last._with_body(last.body | task)
        else:
            tasks.append(task)
    joined = chain.of(tasks, left._app)
    joined["options"] = dict(left["options"])
    return joined
