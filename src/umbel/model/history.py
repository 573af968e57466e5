"""How the deliveries of a message ended that did not come to their end.

Each death adds a line; it travels with the message and is written in the step that takes the
message from the dead, so that who settles it at last can tell all of them. Only the last
``MOST_BYTES`` are kept, so that no setting makes a message grow without end; the engines cut
plainly, and a first line that was cut is left out here.

A line: ``<unix seconds> TAB <consumer> TAB <how>``, e.g.
``1792000000.123 TAB celery@host#a1b2c3.0.1 TAB pid 17: signal 9 (SIGKILL)``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

MOST_BYTES = 2000
# What is told of all that a whole worker held: nobody saw how it died.
WITH_ITS_WORKER = "lost with its whole worker"


class Death(NamedTuple):
    """One delivery that ended with its process."""

    at: float  # unix seconds, by the broker's clock
    consumer: str
    how: str

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"{when} {self.consumer}, {self.how}"


def with_death(history: str, at: float, consumer: str, how: str) -> str:
    """The history with one more line."""
    return f"{history}{at:.3f}\t{consumer}\t{how}\n"[-MOST_BYTES:]


def deaths(history: str) -> list[Death]:
    """The deaths, the oldest first; lines that can't be read are left out."""
    found = []
    for line in history.splitlines():
        at, _, rest = line.partition("\t")
        consumer, tab, how = rest.partition("\t")
        if tab and at.replace(".", "", 1).isdigit():
            found.append(Death(float(at), consumer, how))
    return found
