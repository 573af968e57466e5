"""Where a published message goes: the step of its priority, and the queues bound to its exchange.

The rules are Celery's on Redis, so that an app behaves alike on every engine whose numbering is
ours to choose: priority 0 is served first, and a priority belongs to the largest step below it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from umbel.model.errors import ImproperlyConfigured

PRIORITY_STEPS = (0, 3, 6, 9)
_LOWEST, _HIGHEST = 0, 9


class Steps:
    """Priorities, quantised; step 0 is served first."""

    __slots__ = ("_of", "number")

    def __init__(self, steps: Sequence[int] = PRIORITY_STEPS) -> None:
        if not steps or list(steps) != sorted(set(steps)):
            raise ImproperlyConfigured(
                f"priority_steps is {list(steps)!r}; wanted numbers in growing order, as [0, 3, 6]"
            )
        self.number = len(steps)
        self._of = tuple(
            max((place for place, step in enumerate(steps) if step <= priority), default=0)
            for priority in range(_LOWEST, _HIGHEST + 1)
        )

    @classmethod
    def from_options(cls, transport: Mapping[str, Any]) -> Steps:
        """The steps that ``broker_transport_options`` ask for."""
        return cls(transport.get("priority_steps") or PRIORITY_STEPS)

    def of(self, priority: int) -> int:
        """The step of a priority; what is out of range is clamped."""
        return self._of[min(max(priority, _LOWEST), _HIGHEST)]


def is_bound(kind: str, binding_key: str, routing_key: str) -> bool:
    """Whether a binding lets a routing key through."""
    if kind == "topic":
        return _topic(binding_key).match(routing_key) is not None
    return kind == "fanout" or binding_key == routing_key


@lru_cache(maxsize=1024)
def _topic(pattern: str) -> re.Pattern[str]:
    # kombu's translation: a star is one word, a hash is anything.
    escaped = re.escape(pattern).replace(r"\*", r"[^\.]+").replace(r"\#", ".*?")
    return re.compile(f"^{escaped}$")
