"""When tasks are to be sent by the clock, where Celery's users look for it."""

from umbel.beat.crontab import ParseException, crontab_parser
from umbel.beat.schedules import BaseSchedule, crontab, maybe_schedule, schedstate, schedule
from umbel.beat.solar import solar

__all__ = [
    "BaseSchedule",
    "ParseException",
    "crontab",
    "crontab_parser",
    "maybe_schedule",
    "schedstate",
    "schedule",
    "solar",
]
