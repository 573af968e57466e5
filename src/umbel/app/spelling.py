"""Near misses: an option that nobody knows and that looks like one that somebody knows.

Celery takes any option and keeps those that it does not know; so does umbel, because programs hang
options of their own on tasks and messages. But ``igonre_result=True`` is nobody's own.
"""

from __future__ import annotations

from collections.abc import Iterable

_SHORTEST = 5  # below, everything is near everything
_LIKENESS = 0.8


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name``, which is none of them, was probably meant to be."""
    # Not at the top: only a name that nobody knows pays for it.
    from difflib import get_close_matches

    if len(name) < _SHORTEST:
        return None
    return next(iter(get_close_matches(name, known, n=1, cutoff=_LIKENESS)), None)


def refuse_near_misses(given: Iterable[str], known: frozenset[str], where: str) -> None:
    """Raise ``TypeError`` for the first name that looks misspelt."""
    for name in given:
        if name not in known and (meant := near_miss(name, known)):
            raise TypeError(f"{where} has no option {name!r}; did you mean {meant!r}?")
