"""Rate limits as users write them: ``10/s``, ``100/m``, ``1000/h``, or a number a second.

https://docs.celeryq.dev/en/stable/reference/celery.app.task.html#celery.app.task.Task.rate_limit
"""

from __future__ import annotations

import math
from typing import Any

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def per_second(limit: Any) -> float:
    """How many a second ``limit`` allows; 0.0: there is no limit (None, 0, "0/m").

    Raises ``ValueError`` where it is no rate.
    """
    number, slash, unit = limit.partition("/") if isinstance(limit, str) else (limit or 0, "", "")
    try:
        rate = float(number) / _SECONDS[unit.strip() if slash else "s"]
    except (KeyError, TypeError, ValueError) as error:
        raise _no_rate(limit) from error
    if rate < 0 or not math.isfinite(rate):
        raise _no_rate(limit)
    return rate


def _no_rate(limit: Any) -> ValueError:
    return ValueError(
        f"{limit!r} is no rate limit; wanted '10/s', '100/m', '1000/h', a number a second, or None"
    )


def interval_ns(limit: Any) -> int:
    """Nanoseconds from one start to the next; 0: there is no limit. Raises ``ValueError``."""
    rate = per_second(limit)
    return max(int(1e9 / rate), 1) if rate else 0
