"""Schedules as values, and what they say is due, compared with Celery's."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import celery
import celery.schedules
import pytest

import umbel
from umbel import schedules
from umbel.model.errors import ImproperlyConfigured

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
MAKERS = [
    lambda of, **more: of.schedule(10, **more),
    lambda of, **more: of.schedule(timedelta(minutes=1), **more),
    lambda of, **more: of.schedule(timedelta(hours=2), relative=True, **more),
    lambda of, **more: of.schedule(timedelta(days=1), relative=True, **more),
    lambda of, **more: of.crontab(**more),
    lambda of, **more: of.crontab(minute=0, hour=7, **more),
    lambda of, **more: of.crontab(minute="*/15", hour=[3, 17], day_of_week="thu,fri", **more),
    lambda of, **more: of.crontab(0, 0, day_of_month="2-30/3", month_of_year="*/3", **more),
    lambda of, **more: of.solar("sunset", 48.2, 16.4, **more),
    lambda of, **more: of.solar("solar_noon", -37.81, 144.96, **more),
    lambda of, **more: of.solar("dawn_civil", 48.2, 16.4, **more),
    lambda of, **more: of.solar("sunrise", 78.2, 15.6, **more),
]
each = pytest.mark.parametrize("make", MAKERS, ids=lambda make: repr(make(schedules)))


@each
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("ago_s", [0, 20, 59, 3_600, 20_000, 86_400, 900_000])
def test_what_is_due_is_what_celery_says(make, zone, ago_s):
    moment = NOW.astimezone(ZoneInfo(zone))  # as Celery's beat tells the time to schedules
    apps = [
        kind("zoned", broker="memory://", set_as_current=False)
        for kind in (umbel.Celery, celery.Celery)
    ]
    for app in apps:
        app.conf.timezone = zone
    last = moment - timedelta(seconds=ago_s)

    ours = make(schedules, nowfun=lambda: moment, app=apps[0])
    theirs = make(celery.schedules, nowfun=lambda: moment, app=apps[1])

    due, wait_s = ours.is_due(last)
    wanted, wanted_s = theirs.is_due(last)
    assert due is wanted
    assert wait_s == pytest.approx(wanted_s, abs=0.01)
    assert ours.remaining_estimate(last).total_seconds() == pytest.approx(
        theirs.remaining_estimate(last).total_seconds(), abs=0.01
    )


@each
def test_schedules_are_values(make):
    one, other = make(schedules), make(schedules)

    assert one == other
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != schedules.schedule(12345)
    assert repr(one) == repr(make(celery.schedules))


def test_a_date_without_zone_is_in_utc():
    app = umbel.Celery("naive", set_as_current=False)
    app.conf.timezone = "Asia/Tokyo"
    seven = schedules.crontab(minute=0, hour=7, app=app, nowfun=lambda: NOW)

    # 07:00 in Tokyo is 22:00 UTC.
    assert seven.is_due(datetime(2026, 2, 28, 21, 59)).is_due
    assert seven.is_due(datetime(2026, 2, 28, 22, 1)) == (
        False,
        9.5 * 3600 + 29 * 60 + 30 - 60 * 0 - 0,
    )


def test_what_is_too_late_waits_for_its_next_time():
    app = umbel.Celery("late", set_as_current=False)
    noon = schedules.crontab(minute=0, hour=12, app=app, nowfun=lambda: NOW)
    yesterday = NOW - timedelta(days=2)

    assert noon.is_due(yesterday).is_due
    app.conf.beat_cron_starting_deadline = 60
    assert noon.is_due(yesterday).is_due
    app.conf.beat_cron_starting_deadline = 10
    assert not noon.is_due(yesterday).is_due


def test_numbers_and_durations_become_schedules():
    app = umbel.Celery("maybe", set_as_current=False)

    assert schedules.maybe_schedule(30) == schedules.schedule(30)
    assert schedules.maybe_schedule(timedelta(hours=1), relative=True).relative
    assert schedules.maybe_schedule(schedules.crontab(), app=app).app is app


@pytest.mark.parametrize("given", [("noon", 0, 0), ("sunset", 100, 0), ("sunset", 0, 200)])
def test_events_and_places_that_are_none_are_refused(given):
    with pytest.raises(ValueError) as theirs:
        celery.schedules.solar(*given)

    with pytest.raises(ValueError) as ours:
        schedules.solar(*given)

    assert str(ours.value) == str(theirs.value)


def test_without_ephem_a_solar_schedule_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ephem", None)

    with pytest.raises(ImproperlyConfigured, match=r"umbel\[solar\]"):
        schedules.solar("sunset", 0, 0)


def test_a_periodic_task_is_an_entry_of_the_schedule():
    app = umbel.Celery("periodic", set_as_current=False)
    app.conf.beat_schedule = {"old": {"task": "old", "schedule": 5}}

    @app.task(name="say")
    def say(word, loud=False):
        return word

    @app.on_after_configure.connect
    def set_up(sender, **kwargs):
        sender.add_periodic_task(10.0, say.s("hello"), name="often")
        sender.add_periodic_task(
            schedules.crontab(hour=7), say.s("morning").set(priority=3), queue="early"
        )

    entries = app.conf.beat_schedule

    assert entries["old"] == {"task": "old", "schedule": 5}
    assert entries["often"] == {
        "schedule": 10.0,
        "task": "say",
        "args": ("hello",),
        "kwargs": {},
        "options": {},
    }
    assert entries["say('morning')"]["options"] == {"priority": 3, "queue": "early"}


def test_an_entry_that_is_added_before_the_settings_are_read_waits_for_them():
    app = umbel.Celery("early", set_as_current=False)

    key = app.add_periodic_task(5, app.signature("t", (1,)), kwargs={"a": 2})
    app.config_from_object({"beat_schedule": {"mine": {"task": "m", "schedule": 1}}})

    assert not app.configured
    assert set(app.conf.beat_schedule) == {"mine", key}
    assert app.conf.beat_schedule[key]["kwargs"] == {"a": 2}


def test_a_schedule_may_have_a_zone_of_its_own():
    # As django-celery-beat's crontab does.
    class Zoned(schedules.crontab):
        def __init__(self, *fields, tz=None, **more):
            self.tz = tz
            super().__init__(*fields, **more)

    app = umbel.Celery("zones", set_as_current=False)
    seven = Zoned(0, 7, tz=ZoneInfo("Asia/Tokyo"), app=app, nowfun=lambda: NOW)

    assert seven.remaining_estimate(datetime(2026, 2, 28, 22, 1)) == timedelta(
        hours=9, minutes=59, seconds=30
    )
