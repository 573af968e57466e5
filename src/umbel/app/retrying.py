"""Sending again after a lost connection, with bounded pauses (``task_publish_retry_policy``)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from umbel.app.spelling import refuse_near_misses
from umbel.model.errors import OperationalError, PublishOutcomeUnknown

logger = logging.getLogger(__name__)


class RetryPolicy(NamedTuple):
    """How often, and with what pauses. ``max_retries`` None: for ever."""

    max_retries: int | None = 3
    interval_start: float = 0.0
    interval_step: float = 0.2
    interval_max: float = 1.0

    def pause_s(self, attempt: int) -> float:
        """Seconds before the given retry, from 0."""
        return min(self.interval_start + attempt * self.interval_step, self.interval_max)


NEVER = RetryPolicy(max_retries=0)
_FIELDS = frozenset(RetryPolicy._fields)


def policy_of(given: Mapping[str, Any] | None, base: RetryPolicy) -> RetryPolicy:
    """A policy from Celery's dictionary; what it does not say is taken from ``base``."""
    if not given:
        return base
    refuse_near_misses(given, _FIELDS, "a retry policy")
    known = {name: given[name] for name in RetryPolicy._fields if name in given}
    return base._replace(**known)


def with_retries(send: Callable[[], None], policy: RetryPolicy) -> None:
    """Call ``send`` until it returns, or the policy is used up: then its error is raised.

    A publish whose outcome is unknown is never repeated: that could run the task twice.
    """
    attempt = 0
    while True:
        try:
            return send()
        except PublishOutcomeUnknown:
            raise
        except OperationalError as error:
            if policy.max_retries is not None and attempt >= policy.max_retries:
                raise
            pause_s = policy.pause_s(attempt)
            attempt += 1
            if attempt == 1:
                logger.warning("can't publish, trying again: %s", error)
            if pause_s > 0:
                threading.Event().wait(pause_s)
