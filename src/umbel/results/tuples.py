"""Results as plain data and back: ``((id, parent), children)``, nested.

This is the form in which results stand in records (``children``), in saved groups, and in what the
canvas gives for a call that it has just unrolled. Tuples and lists mean the same.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from umbel.ports.sender import Sender
from umbel.results.group import GroupResult
from umbel.results.handle import AsyncResult

NOBODY: Container[str] = ()


def result_from_tuple(
    r: Any, app: Sender | None = None, *, ignored: Container[str] = NOBODY
) -> Any:
    """The ``AsyncResult`` or ``GroupResult`` that a result tuple stands for.

    A result is given back as it is, and an id in text becomes an ``AsyncResult``. Ids in
    ``ignored`` belong to tasks that keep no result: waiting for those ends at once with None.
    """
    if isinstance(r, str):
        return AsyncResult(r, app=app)
    # A chain may be longer than the interpreter's stack is deep: no recursion along parents.
    line = []
    while isinstance(r, tuple | list):
        line.append(r)
        r = r[0][1]
    result = r
    for (result_id, _), children in reversed(line):
        if children is not None:
            members = [result_from_tuple(child, app, ignored=ignored) for child in children]
            result = GroupResult(result_id, members, app=app, parent=result)
        else:
            result = AsyncResult(result_id, None, None, app, result)
            if ignored and result_id in ignored:
                result.ignored = True
    return result
