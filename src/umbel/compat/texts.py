"""``celery.utils.text``: small functions of text that programs import.

Each does what its namesake is documented to do; umbel itself uses none of them.
https://docs.celeryq.dev/en/stable/internals/reference/celery.utils.text.html
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from pprint import pformat
from typing import Any


def str_to_list(s: Any) -> Any:
    """The parts of a text between commas; what is no text is given back."""
    return s.split(",") if isinstance(s, str) else s


def dedent(s: str, sep: str = "\n") -> str:
    """Text less its common indentation."""
    return textwrap.dedent(s.strip(sep))


def dedent_initial(s: str, n: int = 4) -> str:
    """Text less ``n`` blanks at its start, where they are there."""
    return s[n:] if s[:n] == " " * n else s


def ensure_newlines(s: str, n: int = 2) -> str:
    """Text that ends with ``n`` line ends."""
    return ensure_sep("\n", s, n)


def ensure_sep(sep: str, s: str, n: int = 2) -> str:
    """Text that ends with ``n`` of ``sep``."""
    return s + sep * (n - s.count(sep))


def fill_paragraphs(s: str, width: int, sep: str = "\n") -> str:
    """Paragraphs of lines no longer than ``width``."""
    return sep.join(textwrap.fill(part, width) for part in s.split(sep))


def join(l: Iterable[Any], sep: str = "\n") -> str:  # noqa: E741 - Celery's name
    """The items that are not empty, joined."""
    return sep.join(item for item in l if item)


def indent(t: str, indent: int = 0, sep: str = "\n") -> str:
    """Each line moved to the right."""
    return sep.join(" " * indent + line for line in t.split(sep))


def truncate(s: str, maxlen: int = 128, suffix: str = "...") -> str:
    """Text of at most ``maxlen`` characters, cut at a word."""
    if maxlen and len(s) >= maxlen:
        return s[:maxlen].rsplit(" ", 1)[0] + suffix
    return s


def abbr(S: str | None, max: int, ellipsis: str | bool = "...") -> str:  # noqa: A002, N803
    """Text of at most ``max`` characters, dots included; ``???`` for None."""
    if S is None:
        return "???"
    if len(S) <= max:
        return S
    return f"{S[: max - len(ellipsis)]}{ellipsis}" if isinstance(ellipsis, str) else S[:max]


def abbrtask(S: str | None, max: int) -> str:  # noqa: A002, N803
    """A task's name of at most ``max`` characters: its module is what gives way."""
    if S is None:
        return "???"
    if len(S) <= max:
        return S
    module, _, name = S.rpartition(".")
    return f"{abbr(module, max - len(name) - 3, ellipsis=False)}[.]{name}"


def pluralize(n: float, text: str, suffix: str = "s") -> str:
    """``text``, with ``suffix`` unless there is one of it."""
    return text if n == 1 else text + suffix


def pretty(value: Any, width: int = 80, nl_width: int = 80, sep: str = "\n", **kw: Any) -> str:
    """A value for reading; a dictionary begins on a line of its own."""
    if isinstance(value, dict):
        return f"{{{sep} {pformat(value, 4, nl_width)[1:]}"
    if isinstance(value, tuple):
        return f"{sep}{' ' * 4}{pformat(value, width=nl_width, **kw)}"
    return pformat(value, width=width, **kw)


def simple_format(
    s: str,
    keys: Mapping[str, Any],
    pattern: re.Pattern[str] = re.compile(r"%([\w%])"),  # noqa: B008 - a constant
    expand: str = r"\1",
) -> str:
    """Text with ``%h`` and the like replaced by what ``keys`` says; a callable is called."""
    table = {"%": "%", **keys}

    def found(match: re.Match[str]) -> str:
        value: str | Callable[[], str] = table[match.expand(expand)]
        return value() if callable(value) else value

    return pattern.sub(found, s) if s else s
