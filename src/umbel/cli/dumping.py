"""Events as lines: for people, or as JSON for programs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

# Stand before the line already, or say nothing to people.
_HEAD = frozenset({"type", "hostname", "timestamp", "uuid", "name"})
_DULL = frozenset({"local_received", "utcoffset", "clock", "pid", "root_id", "parent_id"})
_MOST_NAMES = 10_000


def as_json(event: dict[str, Any]) -> str:
    """One line of JSON; what JSON can't hold is shown as text."""
    return json.dumps(event, default=str)


def printable(value: object) -> str:
    """Text on one line that can't steer a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in str(value))


def time_of(event: dict[str, Any]) -> str:
    """When it was sent, in local time."""
    stamp = event.get("timestamp")
    if not isinstance(stamp, int | float):
        return "?"
    try:
        return datetime.fromtimestamp(stamp).isoformat(" ", "milliseconds")
    except (ValueError, OverflowError, OSError):
        return "?"


class Dumper:
    """Lines for people. It remembers the names of tasks, which only their first events have."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def line(self, event: dict[str, Any]) -> str:
        """``w1@host [2031-05-17 14:30:00.000] task succeeded: tasks.add(id) result=5``."""
        kind = str(event["type"]).replace("-", " ")
        head = f"{event.get('hostname', '?')} [{time_of(event)}] {kind}"
        uuid = event.get("uuid")
        if isinstance(uuid, str):
            head = f"{head}: {self._name_of(uuid, event)}({uuid})"
        facts = " ".join(
            f"{name}={value}"
            for name, value in event.items()
            if name not in _HEAD and name not in _DULL and value is not None
        )
        return printable(f"{head} {facts}".rstrip())

    def _name_of(self, uuid: str, event: dict[str, Any]) -> str:
        name = event.get("name")
        if not isinstance(name, str):
            return self._names.get(uuid, "?")
        self._names[uuid] = name
        if len(self._names) > _MOST_NAMES:
            del self._names[next(iter(self._names))]
        return name
