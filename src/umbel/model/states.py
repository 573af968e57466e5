"""The states of a task, and their order, as Celery's result records spell them.

https://docs.celeryq.dev/en/stable/reference/celery.states.html
"""

from __future__ import annotations

PENDING = "PENDING"
RECEIVED = "RECEIVED"
STARTED = "STARTED"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
REJECTED = "REJECTED"
RETRY = "RETRY"
IGNORED = "IGNORED"

READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED})
UNREADY_STATES = frozenset({PENDING, RECEIVED, STARTED, REJECTED, RETRY})
EXCEPTION_STATES = frozenset({RETRY, FAILURE, REVOKED})
PROPAGATE_STATES = frozenset({FAILURE, REVOKED})
# Without REJECTED, as in Celery: choices in forms and database columns are made of it.
ALL_STATES = frozenset({PENDING, RECEIVED, STARTED, SUCCESS, FAILURE, RETRY, REVOKED})

# None stands for every state that users make up ("PROGRESS"): after PENDING and STARTED matter,
# before the states that end a task.
PRECEDENCE: list[str | None] = [
    SUCCESS,
    FAILURE,
    None,
    REVOKED,
    STARTED,
    RECEIVED,
    REJECTED,
    RETRY,
    PENDING,
]
_PLACE = {name: place for place, name in enumerate(PRECEDENCE)}
NONE_PRECEDENCE = _PLACE[None]


def precedence(state: str) -> int:
    """The place of a state in :data:`PRECEDENCE`; smaller is more final."""
    return _PLACE.get(state, NONE_PRECEDENCE)


class state(str):  # noqa: N801 - Celery's public name
    """A state that compares by precedence: ``state("STARTED") > state("PENDING")``."""

    __slots__ = ()

    def __gt__(self, other: str) -> bool:
        return precedence(self) < precedence(other)

    def __ge__(self, other: str) -> bool:
        return precedence(self) <= precedence(other)

    def __lt__(self, other: str) -> bool:
        return precedence(self) > precedence(other)

    def __le__(self, other: str) -> bool:
        return precedence(self) >= precedence(other)
