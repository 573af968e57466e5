"""What a lease turns out to be: a job to run, or something that is settled without running.

Nothing that arrives may end the worker. Bytes that can't be understood, unknown tasks and refused
content go to the dead letters with their cause, and where an id can be read the caller is told by
a FAILURE record. What is not due yet is parked, and so is what its task's rate limit does not let
begin yet; what has expired or was revoked does not run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from umbel.app.app import App
from umbel.app.execution import Plan
from umbel.model.clock import parse_iso8601, unix_s
from umbel.model.errors import (
    InvalidTaskError,
    NotRegistered,
    SerializationError,
    UmbelError,
)
from umbel.model.join import JOIN_TASK
from umbel.model.lease import Lease
from umbel.model.outcome import Failed, Outcome, Revoked
from umbel.model.request import Request
from umbel.ports.revocations import stamp_id
from umbel.wire import envelope, protocol
from umbel.worker import verdicts
from umbel.worker.rates import Rates

# Celery's logger for this line, which users' logging settings name.
logger = logging.getLogger("celery.worker.strategy")

_LONGEST_NAME = 300
# How often the carrying-out of a verdict may kill its process before no user code (error callbacks,
# hooks, signals) is called for it any more, and before its arguments are not even decoded.
_LOUD_TRIES = 3
_MOST_TRIES = 5


class Job(NamedTuple):
    """A task to run."""

    lease: Lease
    request: Request
    args: list[Any]
    kwargs: dict[str, Any]
    plan: Plan


class Joined(NamedTuple):
    """A join whose last part was counted: send its body."""

    lease: Lease
    request: Request
    kwargs: dict[str, Any]
    # Sending it has killed its processes: it fails, and is a dead letter.
    failure: tuple[BaseException, str] | None = None  # with the cause


class Parked(NamedTuple):
    """Not due yet, or not allowed to begin yet."""

    lease: Lease
    due: float
    request: Request | None = None  # of one that waits for its eta, for monitors


class Decided(NamedTuple):
    """Ended without running; ``cause`` makes a dead letter of it."""

    lease: Lease
    request: Request
    outcome: Outcome
    cause: str
    # Its processes died of this already: no user code is called any more.
    is_quiet: bool = False
    is_refused: bool = False  # it is no message of a task that could run


class Unreadable(NamedTuple):
    """Not even an id can be read."""

    lease: Lease
    cause: str


Admitted = Job | Joined | Parked | Decided | Unreadable


class Intake:
    """Decodes leases, once, in the process that will run them."""

    def __init__(
        self,
        app: App,
        plans: Callable[[str], Plan | None],
        *,
        hostname: str,
        accept: Container[str],
        timezone: tzinfo,
        revoked: Container[str],
        rates: Callable[[], Rates],
    ) -> None:
        self._app = app
        self._plans = plans
        self._hostname = hostname
        self._accept = accept
        self._timezone = timezone
        self._revoked = revoked
        self._rates = rates

    def admit(self, lease: Lease) -> Admitted:
        """What is to be done with a lease."""
        try:
            request, args, kwargs = protocol.read(lease.raw, self._accept, lease.body)
        except UmbelError as error:
            return self._refused(lease, error)
        except Exception as error:  # nothing that arrives may end the worker
            cause = f"it can't be read: {type(error).__name__}: {error}"
            logger.exception("Received a message that is a dead letter now: %s", cause)
            return Unreadable(lease, cause)
        known = request.__dict__
        known["hostname"] = self._hostname
        known["_came_by"] = lease.queue
        if lease.redelivered:
            self._mark_redelivered(request)
        if lease.verdict is not None:
            return self._judged(lease, request, kwargs, lease.verdict)
        if request.task == JOIN_TASK:
            return Joined(lease, request, kwargs)
        if request.id in self._revoked or (
            request.stamped_headers and self._is_revoked_by_stamp(request)
        ):
            return self._discarded(lease, request, "revoked")
        plan = self._plans(request.task or "")
        if plan is None:
            return self._unregistered(lease, request)
        if request.eta is not None or request.expires is not None:
            early = self._not_now(lease, request)
            if early is not None:
                return early
        if plan.interval_ns:
            wait_ns = self._rates().wait_ns(
                plan.name, (request.id, request.retries), plan.interval_ns
            )
            if wait_ns:
                return Parked(lease, self._turn(request, wait_ns))
        return Job(lease, request, args, kwargs, plan)

    def admit_again(self, lease: Lease) -> Admitted:
        """The same for what a process had when it died; perhaps it died of looking at it."""
        if lease.verdict is None or lease.tries < _MOST_TRIES:
            return self.admit(lease)
        outcome, cause = verdicts.outcome_of(lease.verdict, lease.history)
        cause = verdicts.cause_of_tries(cause, lease.tries)
        logger.error("A message is a dead letter now, without a look inside: %s", cause)
        try:
            request = _as_far_as_readable(envelope.decode(lease.raw))
        except (SerializationError, InvalidTaskError):
            return Unreadable(lease, cause)
        request.hostname = self._hostname
        return Decided(lease, request, outcome, cause, is_quiet=True)

    def _judged(
        self, lease: Lease, request: Request, kwargs: dict[str, Any], verdict: bytes
    ) -> Decided | Joined:
        outcome, cause = verdicts.outcome_of(verdict, lease.history)
        if request.task == JOIN_TASK and isinstance(outcome, Failed):
            return Joined(lease, request, kwargs, (outcome.error, cause))
        if lease.tries < _LOUD_TRIES:
            return Decided(lease, request, outcome, cause)
        cause = verdicts.cause_of_tries(cause, lease.tries)
        return Decided(lease, request, outcome, cause, is_quiet=True)

    def _is_revoked_by_stamp(self, request: Request) -> bool:
        stamps = request.stamps or {}
        for name in request.stamped_headers or ():
            value = stamps.get(name)
            for one in value if isinstance(value, list | tuple) else [value]:
                if stamp_id(name, one) in self._revoked:
                    return True
        return False

    def _not_now(self, lease: Lease, request: Request) -> Parked | Decided | Unreadable | None:
        try:
            expires = self._moment(request.expires)
            eta = self._moment(request.eta)
        except (ValueError, TypeError, OverflowError) as error:
            return self._refused(
                lease, InvalidTaskError(f"eta and expires must be ISO 8601 dates: {error}")
            )
        now = unix_s()
        if expires is not None and expires.timestamp() <= now:
            return self._discarded(lease, request, "expired")
        if eta is not None and eta.timestamp() > now:
            return Parked(lease, eta.timestamp(), request)
        return None

    def _turn(self, request: Request, wait_ns: int) -> float:
        """When a message that comes too early is to come back; if it expires first, then."""
        turn = unix_s() + wait_ns / 1e9
        expires = self._moment(request.expires)
        return turn if expires is None else min(turn, expires.timestamp())

    def _discarded(self, lease: Lease, request: Request, why: str) -> Decided:
        logger.info("Discarding revoked task: %s[%s]", request.task, request.id)
        return Decided(lease, request, Revoked(why), "")

    def _moment(self, written: Any) -> datetime | None:
        if written is None:
            return None
        found = written if isinstance(written, datetime) else parse_iso8601(written)
        # A time without an offset is in the worker's timezone (WIRE section 3).
        return found if found.tzinfo is not None else found.replace(tzinfo=self._timezone)

    def _mark_redelivered(self, request: Request) -> None:
        delivery_info = dict(request.delivery_info or {})
        delivery_info["redelivered"] = True
        request.delivery_info = delivery_info

    def _unregistered(self, lease: Lease, request: Request) -> Decided:
        # A name may be any text of any length; the message keeps all of it.
        name = (request.task or "")[:_LONGEST_NAME]
        error = NotRegistered(name)
        cause = (
            f"task {name!r} is not registered on this worker; does its app import the "
            "module that defines it (include=, imports, autodiscover_tasks)?"
        )
        logger.error(
            "Received unregistered task of type %r. The message is kept in the dead letters: %s",
            name,
            cause,
        )
        return Decided(lease, request, Failed(error, f"{cause}\n", internal=True), cause)

    def _refused(self, lease: Lease, error: UmbelError) -> Decided | Unreadable:
        cause = f"{type(error).__name__}: {error}"
        logger.error("Received a message that can't be run; it is a dead letter now: %s", cause)
        try:
            request = _as_far_as_readable(envelope.decode(lease.raw))
        except (SerializationError, InvalidTaskError):
            return Unreadable(lease, cause)
        if not isinstance(request.id, str):
            return Unreadable(lease, cause)
        request.hostname = self._hostname
        failed = Failed(error, f"{cause}\n", internal=True)
        return Decided(lease, request, failed, cause, is_refused=True)


def _as_far_as_readable(opened: envelope.Envelope) -> Request:
    """The request; of headers that make none, its id and name, so that its caller is told."""
    try:
        return protocol.request_of(opened)
    except InvalidTaskError:
        return Request(id=opened.headers.get("id"), task=opened.headers.get("task"))


def zone_of(conf: Any) -> tzinfo:
    """The timezone of dates that have no offset: the app's ``timezone``, else UTC."""
    name = conf.timezone
    if not name:
        return UTC
    if isinstance(name, tzinfo):
        return name
    from zoneinfo import ZoneInfo

    return ZoneInfo(str(name))
