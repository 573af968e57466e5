"""``celery.utils.time``: dates and durations as programs take them from Celery.

Each does what its namesake is documented to do; schedules have their own arithmetic, in ``beat/``.
https://docs.celeryq.dev/en/stable/internals/reference/celery.utils.time.html
"""

from __future__ import annotations

import random
import time as clock
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from umbel.app.rates import per_second
from umbel.model.clock import parse_iso8601

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"), (1.0, "second"))


class _Zones:
    """``timezone``: ``utc``, ``local``, and ``get_timezone`` for one by its name."""

    utc = UTC

    @property
    def local(self) -> tzinfo:
        """The zone of this machine."""
        zone = datetime.now().astimezone().tzinfo
        assert zone is not None
        return zone

    @staticmethod
    def get_timezone(zone: str | tzinfo) -> tzinfo:
        """A zone by its name; a zone is given back."""
        return ZoneInfo(zone) if isinstance(zone, str) else zone

    tz_or_local = get_timezone


timezone = _Zones()


def maybe_iso8601(dt: datetime | str | None) -> datetime | None:
    """A date from its ISO 8601 text; a date or None is given back."""
    if isinstance(dt, str):
        return parse_iso8601(dt) if dt else None
    return dt


def maybe_timedelta(delta: float | timedelta) -> timedelta:
    """A duration from a number of seconds."""
    return delta if isinstance(delta, timedelta) else timedelta(seconds=delta)


def is_naive(dt: datetime) -> bool:
    """Whether a date has no time zone."""
    return dt.tzinfo is None or dt.tzinfo.utcoffset(dt) is None


def make_aware(dt: datetime, tz: tzinfo) -> datetime:
    """A naive date, in a zone."""
    return dt.replace(tzinfo=tz)


def maybe_make_aware(dt: datetime, tz: tzinfo | None = None, naive_as_utc: bool = True) -> datetime:
    """A date with a time zone: its own, else ``tz``, else UTC."""
    if not is_naive(dt):
        return dt
    if tz is None and not naive_as_utc:
        return dt.astimezone()
    return dt.replace(tzinfo=tz or UTC)


def localize(dt: datetime, tz: tzinfo) -> datetime:
    """An aware date, told in another zone."""
    return dt.astimezone(tz)


def to_utc(dt: datetime) -> datetime:
    """A naive date, as UTC."""
    return dt.replace(tzinfo=UTC)


def add_seconds_to_datetime(dt: datetime, seconds: float) -> datetime:
    """So much later: real seconds, also where the clock is set meanwhile."""
    if dt.tzinfo is None:
        return dt + timedelta(seconds=seconds)
    return (dt.astimezone(UTC) + timedelta(seconds=seconds)).astimezone(dt.tzinfo)


def subtract_datetimes(end: datetime, start: datetime) -> timedelta:
    """Real time between two dates, also where the clock is set meanwhile."""
    if end.tzinfo is None or start.tzinfo is None:
        return end - start
    return end.astimezone(UTC) - start.astimezone(UTC)


def delta_resolution(dt: datetime, delta: timedelta) -> datetime:
    """A date cut to the largest unit of a duration: day, hour or minute."""
    seconds = max(delta.total_seconds(), 0)
    day = dt.replace(hour=0, minute=0, second=0, microsecond=0)
    if seconds >= 86_400:
        return day
    if seconds >= 3_600:
        return day.replace(hour=dt.hour)
    if seconds >= 60:
        return day.replace(hour=dt.hour, minute=dt.minute)
    return dt


def remaining(
    start: datetime, ends_in: timedelta, now: datetime | None = None, relative: bool = False
) -> timedelta:
    """How long it is until ``ends_in`` after ``start``; ``relative`` ends at a whole unit."""
    now = datetime.now(start.tzinfo) if now is None else now
    end = start + ends_in
    if relative:
        end = delta_resolution(end, ends_in).replace(microsecond=0)
    return subtract_datetimes(end, now)


def weekday(name: str) -> int:
    """The number of a day of the week, Sunday 0: of ``sun`` or ``Sunday``. Raises ``KeyError``."""
    short = name[:3].lower()
    if short not in _DAYS:
        raise KeyError(name)
    return (_DAYS.index(short) + 1) % 7


def humanize_seconds(
    secs: float, prefix: str = "", sep: str = "", now: str = "now", microseconds: bool = False
) -> str:
    """``in 1.03 hours``, ``61.00 seconds``, ``now``."""
    seconds = float(format(float(secs), ".2f"))
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds / size
            shown = f"{count:.2f}"
            return f"{prefix}{sep}{shown} {unit}{'' if count == 1 else 's'}"
    if microseconds and secs > 0.0:
        return f"{prefix}{sep}{secs:.2f} seconds"
    return now


def utcoffset(
    time: Any = clock, localtime: Callable[..., clock.struct_time] = clock.localtime
) -> int:
    """Hours that this machine's zone is behind UTC."""
    return int((time.altzone if localtime().tm_isdst else time.timezone) // 3600)


def adjust_timestamp(ts: float, offset: int, here: Callable[[], float] = utcoffset) -> float:
    """A time stamp of a machine whose zone is ``offset`` behind UTC, as ours."""
    return ts - (offset - here()) * 3600


def rate(r: Any) -> float:
    """Tasks per second from ``10/s``, ``100/m``, ``1000/h`` or a number."""
    return per_second(r)


def get_exponential_backoff_interval(
    factor: int, retries: int, maximum: int, full_jitter: bool = False
) -> int:
    """Seconds to wait before retry number ``retries``."""
    wait = min(maximum, factor * (1 << max(0, retries)))
    if full_jitter:
        wait = random.randrange(wait + 1)
    return max(0, wait)


class ffwd:  # noqa: N801 - Celery's name
    """A date moved to the given fields: ``date + ffwd(hour=3, minute=0)``."""

    def __init__(
        self,
        year: int | None = None,
        month: int | None = None,
        weeks: int = 0,
        weekday: int | None = None,
        day: int | None = None,
        hour: int | None = None,
        minute: int | None = None,
        second: int | None = None,
        microsecond: int | None = None,
        **kwargs: Any,
    ) -> None:
        fields = {
            "year": year, "month": month, "day": day, "hour": hour, "minute": minute,
            "second": second, "microsecond": microsecond,
        }  # fmt: skip
        self._fields: dict[str, Any] = {
            name: value for name, value in fields.items() if value is not None
        }
        self._days = weeks * 7
        self._weekday = weekday

    def __radd__(self, other: Any) -> Any:
        if not isinstance(other, datetime):
            return NotImplemented
        fields = dict(self._fields)
        if day := fields.get("day"):
            last = monthrange(fields.get("year", other.year), fields.get("month", other.month))[1]
            fields["day"] = min(last, day)
        moved = other.replace(**fields) + timedelta(days=self._days)
        if self._weekday is not None:
            moved += timedelta(days=(self._weekday - moved.weekday()) % 7)
        return moved
