"""Which queues a routing key reaches through an exchange's bindings.

Direct: the same key. Topic: words between dots, ``*`` for one word, ``#`` for any number of them
(AMQP 0-9-1, section 3.1.3.3).
"""

from __future__ import annotations

import re
from collections.abc import Iterable


def queues_for(routing_key: str, bindings: Iterable[tuple[str, str, str]]) -> list[str]:
    """The queues, each once, of ``(kind, queue, pattern)`` bindings that match."""
    found: dict[str, None] = {}
    for kind, queue, pattern in bindings:
        if kind == "topic":
            matches = re.fullmatch(_expression(pattern), routing_key) is not None
        else:
            matches = pattern == routing_key
        if matches:
            found[queue] = None
    return list(found)


def _expression(pattern: str) -> str:
    words = []
    for word in pattern.split("."):
        if word == "*":
            words.append(r"[^.]+")
        elif word == "#":
            words.append(r".*")
        else:
            words.append(re.escape(word))
    return r"\.".join(words)
