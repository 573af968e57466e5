"""Whether a call fits its task's signature, asked where ``delay`` is called.

The check is a function with the same parameters and no body, so that Python itself compares, in
0.2 us, and complains in its own words: ``add() missing 1 required positional argument: 'y'``.
(``inspect.Signature.bind`` costs 5 us, and its module 8 ms.)
"""

from __future__ import annotations

from collections.abc import Callable
from types import CodeType
from typing import Any

_VARARGS, _VARKEYWORDS = 0x04, 0x08  # inspect.CO_*

Check = Callable[..., None]


def check_of(function: Callable[..., Any], *, skip_first: bool) -> Check:
    """A function that takes what ``function`` takes; ``skip_first`` for ``self``."""
    code, defaults, keyword_defaults = _facts(function)
    if code is None:
        return _anything
    names = code.co_varnames
    positional = list(names[: code.co_argcount])
    only_positional = code.co_posonlyargcount
    with_default = len(defaults)
    if skip_first and positional:
        positional = positional[1:]
        only_positional = max(0, only_positional - 1)
        with_default = min(with_default, len(positional))
    parts = []
    for place, name in enumerate(positional):
        has_default = place >= len(positional) - with_default
        parts.append(f"{name}=_" if has_default else name)
        if place + 1 == only_positional:
            parts.append("/")
    end = code.co_argcount + code.co_kwonlyargcount
    if code.co_flags & _VARARGS:
        parts.append(f"*{names[end]}")
        end += 1
    elif code.co_kwonlyargcount:
        parts.append("*")
    for name in names[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]:
        parts.append(f"{name}=_" if name in keyword_defaults else name)
    if code.co_flags & _VARKEYWORDS:
        parts.append(f"**{names[end]}")
    # Nothing of the user's is evaluated: the names come from compiled code.
    check: Any = eval(f"lambda {', '.join(parts)}: None", {"_": None})
    check.__name__ = check.__qualname__ = getattr(function, "__name__", "task")
    return check  # type: ignore[no-any-return]  # made by eval


def _facts(
    function: Any,
) -> tuple[CodeType | None, tuple[Any, ...], dict[str, Any]]:
    # A callable object is called through its class; a bound method through its function.
    plain = getattr(function, "__func__", function)
    code = getattr(plain, "__code__", None)
    if code is None or any(not name.isidentifier() for name in code.co_varnames[:1]):
        return None, (), {}
    return code, plain.__defaults__ or (), plain.__kwdefaults__ or {}


def _anything(*_args: Any, **_kwargs: Any) -> None:
    # Partials and builtins: what they take is found out when they are called.
    return None
