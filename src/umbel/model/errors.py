"""Every error that umbel raises, in one tree.

The names are Celery's wherever Celery has one, because users catch them by name; the wire room
translates them to the modules that Celery's readers look in (``wire/errors.py``).

    UmbelError (= CeleryError)
      ImproperlyConfigured            a setting, a URL or an option that can't be used
      SecurityError                   something signed or loaded is not to be trusted
      NotBuiltYet                     a documented part of Celery that umbel does not have yet
      TaskError
        QueueNotFound, IncompleteStream, NotRegistered, AlreadyRegistered, TimeoutError,
        MaxRetriesExceededError, TaskRevokedError, InvalidTaskError, ChordError
      BackendError
        BackendGetMetaError, BackendStoreError
      OperationalError                the broker or the result store can't be reached, or says no
        PublishOutcomeUnknown         ... and it can't be known whether the message arrived
      SerializationError
        EncodeError, DecodeError, ContentDisallowed
      LeaseLost                       this consumer was given up; what it held runs elsewhere
      WorkerLostError, TimeLimitExceeded, Terminated
    TaskPredicate                     raised by a task to steer its own fate: no errors
      Retry, Ignore, Reject
    SoftTimeLimitExceeded             raised inside a task; deliberately not an UmbelError
    WorkerShutdown, WorkerTerminate   SystemExit
"""

from __future__ import annotations

import datetime
from typing import Any


class UmbelError(Exception):
    """The root of what umbel raises. ``CeleryError`` is the same class."""


CeleryError = UmbelError


class ImproperlyConfigured(UmbelError):
    """A setting, a URL or an option can't be used as given."""


class SecurityError(UmbelError):
    """Something that was signed, or names a class to load, is not to be trusted."""


class NotBuiltYet(UmbelError, NotImplementedError):
    """A documented part of Celery that umbel does not have yet; the text says what to use."""


class TaskError(UmbelError):
    """Something about a task or its result."""


class QueueNotFound(TaskError, KeyError):
    """The queue is not among ``task_queues`` and ``task_create_missing_queues`` is off."""


class IncompleteStream(TaskError):
    """The end of a result stream was found before its members."""


class NotRegistered(TaskError, KeyError):
    """No task of this name is known to this app."""

    def __repr__(self) -> str:
        return f"<NotRegistered: {self.args[0] if self.args else ''!r}>"


class AlreadyRegistered(TaskError):
    """Another task has this name already."""


class TimeoutError(TaskError):  # noqa: A001 - Celery's name for it, which users catch
    """The wait for a result ended before the task did."""


class MaxRetriesExceededError(TaskError):
    """``retry()`` was called more often than ``max_retries`` allows."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_args = kwargs.pop("task_args", [])
        self.task_kwargs = kwargs.pop("task_kwargs", {})
        super().__init__(*args, **kwargs)


class TaskRevokedError(TaskError):
    """The task was revoked, or expired, and has no result."""


class InvalidTaskError(TaskError):
    """A message that can't be understood as a task."""


class ChordError(TaskError):
    """A member of a chord failed, so its body can't run."""


class BackendError(UmbelError):
    """The result backend said no."""


class _BackendTaskError(BackendError):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.task_id = kwargs.get("task_id", "")
        self.state = kwargs.get("state", "")
        super().__init__(*args)


class BackendGetMetaError(_BackendTaskError):
    """A record could not be read."""


class BackendStoreError(_BackendTaskError):
    """A record could not be stored."""


class OperationalError(UmbelError):
    """The broker or the result store can't be reached, or refuses to store."""


class PublishOutcomeUnknown(OperationalError):
    """The connection was lost after sending, and it can't be known whether the message arrived.

    Sending again may run the task twice; not sending again may not run it at all.
    """


class SerializationError(UmbelError):
    """Something can't be turned into bytes or back."""


class EncodeError(SerializationError, TypeError):
    """A value that the serializer can't write."""


class DecodeError(SerializationError, ValueError):
    """Bytes that are not what their content type says."""


class ContentDisallowed(SerializationError):
    """The content type is not in ``accept_content``."""


class LeaseLost(UmbelError):
    """This consumer was given up by a sweep: it may not claim, and what it settles is refused."""


class WorkerLostError(UmbelError):
    """The process that ran the task ended without an outcome."""


class TimeLimitExceeded(UmbelError):
    """The hard time limit ended the process that ran the task."""

    def __str__(self) -> str:
        return f"TimeLimitExceeded({self.args[0] if self.args else None!r},)"


class SoftTimeLimitExceeded(Exception):
    """The soft time limit has passed; raised inside the task, which may catch it and clean up."""

    def __str__(self) -> str:
        return f"SoftTimeLimitExceeded{self.args!r}"


class Terminated(UmbelError):
    """The task was ended by ``revoke(terminate=True)``."""


class TaskPredicate(Exception):
    """Raised by a task to steer what becomes of it."""


class Retry(TaskPredicate):
    """The task is to run again; raised by ``Task.retry``.

    ``when`` is seconds or an aware datetime. ``exc`` may be an exception or None.
    """

    def __init__(
        self,
        message: str | None = None,
        exc: BaseException | str | None = None,
        when: float | datetime.datetime | None = None,
        is_eager: bool = False,
        sig: Any = None,
        **kwargs: Any,
    ) -> None:
        self.message = message
        if isinstance(exc, str):
            self.exc: BaseException | None = None
            self.excs: str | None = exc
        else:
            self.exc = exc
            self.excs = repr(exc) if exc is not None else None
        self.when = when
        self.is_eager = is_eager
        self.sig = sig
        super().__init__(self, exc, when, **kwargs)

    def humanize(self) -> str:
        """``in 3s`` or ``at 2026-01-01 ...``."""
        if isinstance(self.when, int | float):
            return f"in {self.when}s"
        return f"at {self.when}"

    def __str__(self) -> str:
        if self.message:
            return self.message
        if self.excs:
            return f"Retry {self.humanize()}: {self.excs}"
        return f"Retry {self.humanize()}"

    def __reduce__(self) -> tuple[Any, ...]:
        return self.__class__, (self.message, self.exc, self.when)


RetryTaskError = Retry


class Ignore(TaskPredicate):
    """The task stores no state at all."""


class Reject(TaskPredicate):
    """The message is refused; ``requeue`` puts it back at the far end of its queue."""

    def __init__(self, reason: Any = None, requeue: bool = False) -> None:
        self.reason = reason
        self.requeue = requeue
        super().__init__(reason, requeue)

    def __repr__(self) -> str:
        return f"reject requeue={self.requeue}: {self.reason}"


class WorkerShutdown(SystemExit):
    """The worker is to stop after what runs has ended."""


class WorkerTerminate(SystemExit):
    """The worker is to stop at once."""


class CeleryWarning(UserWarning):
    """The root of umbel's warnings."""


class AlwaysEagerIgnored(CeleryWarning):
    """``send_task`` does not honour ``task_always_eager``."""


class DuplicateNodenameWarning(CeleryWarning):
    """Two workers of one name answer."""


class NotConfigured(CeleryWarning):
    """No configuration was found where one was named."""


class DuplicateTaskNameWarning(CeleryWarning):
    """Two tasks have one name; the first is kept."""


class SecurityWarning(CeleryWarning):
    """Something is less safe than it might be."""


class FixupWarning(CeleryWarning):
    """An integration could not be set up."""


class CDeprecationWarning(DeprecationWarning):
    """Deprecated in Celery."""


class CPendingDeprecationWarning(PendingDeprecationWarning):
    """To be deprecated in Celery."""
