"""Crontab expressions: from text to sets of numbers, and to the next time that fits them.

Celery's dialect: names of days and months, ranges that wrap around (``fri-mon``), steps; a time
must fit the day of the month *and* the day of the week. The arithmetic is on the wall clock of a
zone. A time that a clock set forward leaves out comes as late as the clock was moved; one that a
clock set back shows twice comes once, unless the expression is for every hour: then both hours are
gone through.
https://docs.celeryq.dev/en/stable/reference/celery.schedules.html#celery.schedules.crontab
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple

_DAYS = {
    name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
}
_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6,
    "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_PART = re.compile(r"(?P<first>\*|\w+)(-(?P<last>\w+))?(/(?P<step>\d+))?")
_MINUTE = timedelta(minutes=1)
# 29 February on a given weekday may be 40 years away.
_LONGEST_YEARS = 41


class ParseException(Exception):  # noqa: N818 - Celery's name
    """An expression that is none."""


class crontab_parser:  # noqa: N801 - Celery's name
    """Reads one field: ``crontab_parser(60).parse("*/15")`` is ``{0, 15, 30, 45}``.

    Values are from ``min_`` to ``min_ + max_ - 1``.
    """

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_ = max_
        self.min_ = min_

    def parse(self, spec: str) -> set[int]:
        """The values of an expression. Raises ``ParseException`` and ``ValueError``."""
        found: set[int] = set()
        for part in spec.split(","):
            if not part:
                raise self.ParseException("empty part")
            found.update(self._part(part))
        return found

    def _part(self, part: str) -> list[int]:
        if part.startswith("-"):
            raise self.ParseException("negative numbers not supported")
        match = _PART.fullmatch(part)
        if match is None or (match["step"] and match["last"] is None and match["first"] != "*"):
            raise ValueError(f"Invalid weekday literal {part!r}.")
        if match["first"] == "*":
            values = list(range(self.min_, self.min_ + self.max_))
        else:
            first = self._number(match["first"])
            last = first if match["last"] is None else self._number(match["last"])
            values = self._range(first, last)
        step = int(match["step"] or 1)
        if step < 1:
            raise ValueError("slice step cannot be zero")
        return values[::step]

    def _range(self, first: int, last: int) -> list[int]:
        if first <= last:
            return list(range(first, last + 1))
        # From Friday to Monday.
        return [*range(first, self.min_ + self.max_), *range(self.min_, last + 1)]

    def _number(self, word: str) -> int:
        if word.isdecimal():
            number = int(word)
        else:
            names = _MONTHS if self.max_ == 12 else _DAYS
            if word[:3].lower() not in names:
                raise ValueError(f"Invalid weekday literal {word!r}.")
            number = names[word[:3].lower()]
        if number > self.min_ + self.max_ - 1:
            raise ValueError(f"Invalid end range: {number} > {self.min_ + self.max_ - 1}.")
        if number < self.min_:
            raise ValueError(f"Invalid beginning range: {number} < {self.min_}.")
        return number


def values_of(spec: Any, max_: int, min_: int = 0) -> set[int]:
    """The values of a field: a number, an expression, or numbers and names."""
    if isinstance(spec, int):
        found = {spec}
    elif isinstance(spec, str):
        found = crontab_parser(max_, min_).parse(spec)
    elif hasattr(spec, "__iter__"):
        parser = crontab_parser(max_, min_)
        found = {value if isinstance(value, int) else parser._number(value) for value in spec}
    else:
        raise TypeError(
            "Argument cronspec needs to be of any of the following types: int, str, or an iterable"
            f" type. {type(spec)!r} was given."
        )
    for number in found:
        if not min_ <= number <= max_ + min_ - 1:
            raise ValueError(
                f"Invalid crontab pattern.  Valid range is {min_}-{max_ + min_ - 1}. '{number}' was"
                " found."
            )
    return found


class Calendar(NamedTuple):
    """Which minutes are meant."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days_of_week: frozenset[int]  # 0 is Sunday
    days_of_month: frozenset[int]
    months: frozenset[int]

    def fits(self, moment: datetime) -> bool:
        """Whether a minute, as the wall clock tells it, is meant."""
        return (
            moment.minute in self.minutes
            and moment.hour in self.hours
            and self.fits_day(moment.date())
        )

    def fits_day(self, day: date) -> bool:
        """Whether a day is meant."""
        return (
            day.month in self.months
            and day.day in self.days_of_month
            and day.isoweekday() % 7 in self.days_of_week
        )

    def next_after(self, moment: datetime) -> datetime:
        """The first meant minute after an aware moment, in its zone.

        Raises ``ValueError`` where there is none: 31 February.
        """
        zone = moment.tzinfo
        assert zone is not None
        wall = moment.replace(tzinfo=None, fold=0, second=0, microsecond=0)
        after = moment.astimezone(UTC)
        is_for_every_hour = len(self.hours) == 24
        for candidate in self._walls(wall):
            found = _instant(candidate, zone)
            if found <= after and is_for_every_hour:
                found = _instant(candidate.replace(fold=1), zone)
            if found > after:
                break
        if is_for_every_hour:
            found = self._before_the_clock_is_set_back(moment, wall, found)
        return found.astimezone(zone)

    def _before_the_clock_is_set_back(
        self, moment: datetime, wall: datetime, found: datetime
    ) -> datetime:
        """A meant minute between the two that the wall clock alone does not come by."""
        offset, zone = moment.utcoffset(), moment.tzinfo
        assert offset is not None
        if found.astimezone(zone).utcoffset() == offset:
            return found
        for candidate in self._walls(wall):
            earlier = candidate.replace(tzinfo=timezone(offset)).astimezone(UTC)
            if earlier >= found:
                break
            if self.fits(earlier.astimezone(zone)):
                return earlier
        return found

    def _walls(self, wall: datetime) -> Iterator[datetime]:
        """The meant minutes after one, by the wall clock alone."""
        start = wall + _MINUTE
        hours, minutes = sorted(self.hours), sorted(self.minutes)
        day = start.date()
        last_year = day.year + _LONGEST_YEARS
        while day.year <= last_year:
            if day.month not in self.months:
                day = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
                continue
            if self.fits_day(day):
                for hour in hours:
                    for minute in minutes:
                        found = datetime(day.year, day.month, day.day, hour, minute)
                        if found >= start:
                            yield found
            day += timedelta(days=1)
        raise ValueError(
            f"Invalid crontab: day_of_month {_listed(self.days_of_month)} never occurs in"
            f" month_of_year {_listed(self.months)} on day_of_week {_listed(self.days_of_week)}."
        )


def _instant(wall: datetime, zone: tzinfo) -> datetime:
    return wall.replace(tzinfo=zone).astimezone(UTC)


def _listed(values: frozenset[int]) -> str:
    return ",".join(str(value) for value in sorted(values))
