"""Crontab expressions: what they mean, against Celery and croniter, and when clocks are set."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import celery.schedules
import pytest
from croniter import croniter

from umbel.schedules import ParseException, crontab, crontab_parser

BERLIN = ZoneInfo("Europe/Berlin")


def read(parser, spec):
    """The values, or the words of the error."""
    try:
        return parser.parse(spec)
    except (ValueError, ParseException, celery.schedules.ParseException) as error:
        return str(error)


@pytest.mark.parametrize(
    ("max_", "min_", "specs"),
    [
        (60, 0, "* */15 0 59 5-10 5-1 1,3-5/2 50-5/10 60 -1 a 1-70 */0 1, 10/5"),
        (24, 0, "*/5 8-17 22-3 24 0,12"),
        (7, 0, "* fri-mon 1-5 sun 7 */2 sat-1 mon,wed Monday tues"),
        (31, 1, "2-30/3 31 */10 0 32 28-3"),
        (12, 1, "jan */3 13 0 nov-feb dec december"),
    ],
)
def test_fields_are_read_as_celery_reads_them(max_, min_, specs):
    for spec in [*specs.split(), ""]:
        assert read(crontab_parser(max_, min_), spec) == read(
            celery.schedules.crontab_parser(max_, min_), spec
        ), spec


@pytest.mark.parametrize(
    "fields",
    [
        {"minute": 61},
        {"hour": "x"},
        {"day_of_month": 32},
        {"minute": None},
        {"minute": 1.5},
        {"day_of_week": [1, 9]},
    ],
)
def test_what_is_no_field_is_refused_in_celerys_words(fields):
    with pytest.raises((ValueError, TypeError)) as theirs:
        celery.schedules.crontab(**fields)

    with pytest.raises((ValueError, TypeError)) as ours:
        crontab(**fields)

    assert str(ours.value) == str(theirs.value)
    assert type(ours.value) is type(theirs.value)


def next_after(schedule, moment):
    return schedule._calendar().next_after(moment)


def random_field(chance, low, high):
    kind = chance.randrange(4)
    first = chance.randint(low, high)
    if kind == 0:
        return "*"
    if kind == 1:
        return str(first)
    if kind == 2:
        return f"*/{chance.randint(1, max(2, (high - low) // 2))}"
    last = chance.randint(first, high)
    # croniter reads 5-5 as every value.
    return f"{first}-{last}" if last > first else str(first)


@pytest.mark.parametrize("seed", range(40))
def test_next_times_are_those_of_croniter(seed):
    chance = random.Random(seed)
    fields = [
        random_field(chance, 0, 59),
        random_field(chance, 0, 23),
        random_field(chance, 1, 28),
        random_field(chance, 1, 12),
        random_field(chance, 0, 6),
    ]
    start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(2_000_000))
    # Celery's days must fit both the month's and the week's.
    oracle = croniter(" ".join(fields), start, day_or=False)
    ours = crontab.from_string(" ".join(fields))

    moment = start
    for _ in range(20):
        moment = next_after(ours, moment)
        assert moment == oracle.get_next(datetime), fields


def walk(schedule, start, number):
    found = [start]
    for _ in range(number):
        found.append(next_after(schedule, found[-1]))
    return [moment.strftime("%d %H:%M%z") for moment in found[1:]]


def test_an_hour_that_comes_twice_is_gone_through_twice_by_what_is_for_every_hour():
    start = datetime(2026, 10, 25, 1, 45, tzinfo=BERLIN)

    assert walk(crontab(minute="*/30"), start, 6) == [
        "25 02:00+0200",
        "25 02:30+0200",
        "25 02:00+0100",
        "25 02:30+0100",
        "25 03:00+0100",
        "25 03:30+0100",
    ]
    assert walk(crontab(minute=20), start, 3) == ["25 02:20+0200", "25 02:20+0100", "25 03:20+0100"]


def test_a_time_of_day_that_comes_twice_is_meant_once():
    start = datetime(2026, 10, 24, 12, tzinfo=BERLIN)

    assert walk(crontab(minute=30, hour=2), start, 2) == ["25 02:30+0200", "26 02:30+0100"]
    assert walk(crontab(minute=30, hour="2,3"), start, 3) == [
        "25 02:30+0200",
        "25 03:30+0100",
        "26 02:30+0100",
    ]


def test_a_time_of_day_that_is_left_out_comes_as_late_as_the_clock_was_moved():
    start = datetime(2026, 3, 28, 12, tzinfo=BERLIN)

    assert walk(crontab(minute=30, hour=2), start, 2) == ["29 03:30+0200", "30 02:30+0200"]
    assert walk(crontab(minute=30, hour="2,3"), start, 2) == ["29 03:30+0200", "30 02:30+0200"]
    assert walk(crontab(minute="*/30"), datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN), 2) == [
        "29 03:00+0200",
        "29 03:30+0200",
    ]


def test_leap_days_on_a_weekday_are_found_and_february_31_is_not():
    rare = crontab(minute=0, hour=0, day_of_month=29, month_of_year=2, day_of_week="mon")

    assert next_after(rare, datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2044, 2, 29, tzinfo=UTC)
    with pytest.raises(ValueError, match="day_of_month 31 never occurs in month_of_year 2"):
        next_after(crontab(day_of_month=31, month_of_year=2), datetime(2026, 1, 1, tzinfo=UTC))
