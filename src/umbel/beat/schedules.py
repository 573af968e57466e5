"""``schedule``, ``crontab`` and their base: whether something is due, and how long it is till then.

Values that programs write into ``beat_schedule``: comparable, picklable, and without a broker. The
clock is the app's ``now``, or the function that is given. Durations are seconds or timedeltas.
https://docs.celeryq.dev/en/stable/reference/celery.schedules.html
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple, Self

from umbel.beat.crontab import Calendar, values_of
from umbel.ports.current import current_app

Clock = Callable[[], datetime]


class schedstate(NamedTuple):  # noqa: N801 - Celery's name
    """Whether it is due now, and in how many seconds to ask again."""

    is_due: bool
    next: float


class BaseSchedule:
    """What schedules of users' own derive from: override ``remaining_estimate`` and ``is_due``."""

    _tz: tzinfo | None = None

    def __init__(self, nowfun: Clock | None = None, app: Any = None) -> None:
        self.nowfun = nowfun
        self._app = app

    def now(self) -> datetime:
        """Now, by the function that was given, or by the app."""
        found: datetime = (self.nowfun or self.app.now)()
        return found

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long it is till the next run; zero or less where it is due."""
        raise NotImplementedError

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        """(whether it is due, seconds till the next look)."""
        raise NotImplementedError

    def maybe_make_aware(self, dt: datetime, naive_as_utc: bool = True) -> datetime:
        """A date with a zone: its own, else UTC (or the app's), told in the app's."""
        if dt.tzinfo is None:
            dt = dt.replace(tzinfo=UTC if naive_as_utc else self.tz)
        return dt.astimezone(self.tz)

    @property
    def app(self) -> Any:
        """The app whose zone and clock count."""
        return self._app or current_app()

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def tz(self) -> tzinfo:
        """The zone of the wall clock: the app's, unless a subclass has set its own."""
        zone: tzinfo = self._tz or self.app.timezone
        return zone

    @tz.setter
    def tz(self, zone: tzinfo) -> None:
        self._tz = zone

    @property
    def utc_enabled(self) -> bool:
        """The setting ``enable_utc``."""
        return bool(self.app.conf.enable_utc)

    def to_local(self, dt: datetime) -> datetime:
        """A date, told in the app's zone."""
        return self.maybe_make_aware(dt)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, BaseSchedule):
            return other.nowfun == self.nowfun
        return NotImplemented

    __hash__ = None  # type: ignore[assignment] # as in Celery: they are compared, not keys


class schedule(BaseSchedule):  # noqa: N801 - Celery's name
    """Every so often: ``run_every`` in seconds or as a timedelta.

    ``relative``: at whole days, hours or minutes, whichever ``run_every`` is made of.
    """

    relative: bool = False

    def __init__(
        self,
        run_every: float | timedelta | None = None,
        relative: bool = False,
        nowfun: Clock | None = None,
        app: Any = None,
    ) -> None:
        if run_every is not None and not isinstance(run_every, timedelta):
            run_every = timedelta(seconds=run_every)
        self.run_every: Any = run_every
        self.relative = relative
        super().__init__(nowfun=nowfun, app=app)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long it is till the next run; zero or less where it is due."""
        # In UTC: an hour is an hour, also in the night when the clock is set.
        end: datetime = self.maybe_make_aware(last_run_at).astimezone(UTC) + self.run_every
        if self.relative:
            end = _whole(end.astimezone(self.tz), self.run_every).astimezone(UTC)
        return end - self.maybe_make_aware(self.now()).astimezone(UTC)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """(whether it is due, seconds till the next look)."""
        remaining = max(self.remaining_estimate(last_run_at).total_seconds(), 0)
        if remaining > 0:
            return schedstate(False, remaining)
        if self.relative:
            return schedstate(True, max(self.remaining_estimate(self.now()).total_seconds(), 0))
        return schedstate(True, self.seconds)

    @property
    def seconds(self) -> float:
        """``run_every`` in seconds."""
        return max(float(self.run_every.total_seconds()), 0.0)

    @property
    def human_seconds(self) -> str:
        """``run_every`` in the largest unit that it is at least one of."""
        for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
            if self.seconds >= length:
                number = self.seconds / length
                return f"{number:.2f} {unit}{'s' if number > 1 else ''}"
        return f"{self.seconds:.2f} second{'' if self.seconds == 1 else 's'}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, schedule):
            return bool(self.run_every == other.run_every)
        return bool(self.run_every == other)

    __hash__ = None  # as in Celery

    def __repr__(self) -> str:
        return f"<freq: {self.human_seconds}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.run_every, self.relative, self.nowfun)


def _whole(moment: datetime, unit: timedelta) -> datetime:
    if unit.days > 0:
        return moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit.seconds >= 3600:
        return moment.replace(minute=0, second=0, microsecond=0)
    if unit.seconds >= 60:
        return moment.replace(second=0, microsecond=0)
    return moment


class crontab(BaseSchedule):  # noqa: N801 - Celery's name
    """By the clock on the wall: ``crontab(minute=30, hour=7, day_of_week="mon-fri")``.

    Each field is a number, an expression (``*``, ``*/15``, ``9-17``, ``mon,fri``), or an iterable
    of numbers. Raises ``ValueError`` and ``ParseException`` for what is none.
    """

    def __init__(
        self,
        minute: Any = "*",
        hour: Any = "*",
        day_of_week: Any = "*",
        day_of_month: Any = "*",
        month_of_year: Any = "*",
        **kwargs: Any,
    ) -> None:
        self._orig_minute = minute
        self._orig_hour = hour
        self._orig_day_of_week = day_of_week
        self._orig_day_of_month = day_of_month
        self._orig_month_of_year = month_of_year
        self._orig_kwargs = kwargs
        self.minute = values_of(minute, 60)
        self.hour = values_of(hour, 24)
        self.day_of_week = values_of(day_of_week, 7)
        self.day_of_month = values_of(day_of_month, 31, 1)
        self.month_of_year = values_of(month_of_year, 12, 1)
        super().__init__(**kwargs)

    @classmethod
    def from_string(cls, crontab: str) -> Self:
        """From a line of a crontab: minute, hour, day of month, month, day of week."""
        minute, hour, day_of_month, month_of_year, day_of_week = crontab.split()
        return cls(minute, hour, day_of_week, day_of_month, month_of_year)

    def remaining_delta(
        self, last_run_at: datetime, tz: tzinfo | None = None
    ) -> tuple[datetime, timedelta, datetime]:
        """(the last run, how long it is from there to the next, now)."""
        last = self.maybe_make_aware(last_run_at).astimezone(tz or self.tz)
        now = self.maybe_make_aware(self.now())
        return last, self._next_after(last).astimezone(UTC) - last.astimezone(UTC), now

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long it is till the next run; zero or less where it is due."""
        following = self._next_after(self.maybe_make_aware(last_run_at))
        return following.astimezone(UTC) - self.maybe_make_aware(self.now()).astimezone(UTC)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """(whether it is due, seconds till the next look).

        What is later than ``beat_cron_starting_deadline`` seconds waits for its next time.
        """
        remaining = self.remaining_estimate(last_run_at)
        if remaining > timedelta(0):
            return schedstate(False, remaining.total_seconds())
        now = self.maybe_make_aware(self.now())
        seconds = max(self.remaining_estimate(now).total_seconds(), 0)
        deadline_s = self.app.conf.beat_cron_starting_deadline
        if deadline_s is not None and self._lateness_s(now + remaining, now) > deadline_s:
            return schedstate(False, seconds)
        return schedstate(True, seconds)

    def _lateness_s(self, due: datetime, now: datetime) -> float:
        """Seconds since the latest time that should have been, beginning at one."""
        latest = self.maybe_make_aware(due)
        while (following := self._next_after(latest)).astimezone(UTC) <= now.astimezone(UTC):
            latest = following
        return (now.astimezone(UTC) - latest.astimezone(UTC)).total_seconds()

    def _next_after(self, moment: datetime) -> datetime:
        return self._calendar().next_after(moment)

    def _calendar(self) -> Calendar:
        return Calendar(
            frozenset(self.minute),
            frozenset(self.hour),
            frozenset(self.day_of_week),
            frozenset(self.day_of_month),
            frozenset(self.month_of_year),
        )

    def __eq__(self, other: object) -> bool:
        if isinstance(other, crontab):
            return self._calendar() == other._calendar() and super().__eq__(other)
        return NotImplemented

    __hash__ = None  # as in Celery

    def __repr__(self) -> str:
        return (
            f"<crontab: {self._orig_minute} {self._orig_hour} {self._orig_day_of_month}"
            f" {self._orig_month_of_year} {self._orig_day_of_week} (m/h/dM/MY/d)>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (
            self._orig_minute,
            self._orig_hour,
            self._orig_day_of_week,
            self._orig_day_of_month,
            self._orig_month_of_year,
        )
        return type(self), fields, self._orig_kwargs

    def __setstate__(self, kwargs: dict[str, Any]) -> None:
        # Celery's form of the state: what was given to the constructor beside the fields.
        self._orig_kwargs = kwargs
        super().__init__(**kwargs)


def maybe_schedule(s: Any, relative: bool = False, app: Any = None) -> Any:
    """A schedule from a number of seconds or a timedelta; a schedule is given back."""
    if isinstance(s, int | float | timedelta):
        return schedule(s, relative, app=app)
    if s is not None:
        s.app = app
    return s
