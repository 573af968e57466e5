"""The type variables of tasks, signatures and results: what is called with, and what comes back.

They are defined in one place because they have defaults, which Python 3.11 can't say at run time:
a bare ``Task`` or ``AsyncResult`` in a program means one of anything, also where the type checker
is strict. Type checkers read ``typing_extensions``, which nobody needs to have installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar

    P = ParamSpec("P", default=...)
    R_co = TypeVar("R_co", covariant=True, default=Any)
else:
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    R_co = TypeVar("R_co", covariant=True)

__all__ = ["P", "R_co"]
