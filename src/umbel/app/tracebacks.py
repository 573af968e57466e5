"""The user's part of a traceback: what is broken in an app's module is shown without our frames."""

from __future__ import annotations

import importlib
import os
import traceback
from types import TracebackType

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_IMPORTLIB = os.path.dirname(os.path.abspath(importlib.__file__)) + os.sep


def own_traceback(error: BaseException) -> str:
    """The traceback from the first frame of the user's code on; all of it where there is none."""
    first: TracebackType | None = error.__traceback__
    while first is not None and _is_ours(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    if first is None and isinstance(error, SyntaxError):
        # A module that could not even be compiled: the error itself names the file and the line.
        return "".join(traceback.format_exception_only(error))
    lines = traceback.format_exception(type(error), error, first or error.__traceback__)
    return "".join(lines)


def _is_ours(filename: str) -> bool:
    return filename.startswith((_PACKAGE, "<frozen importlib", _IMPORTLIB))
