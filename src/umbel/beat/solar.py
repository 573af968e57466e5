"""``solar``: at sunrise, sunset and the like, at a place on earth. Needs ephem (umbel[solar]).

https://docs.celeryq.dev/en/stable/userguide/periodic-tasks.html#solar-schedules
"""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

from umbel.beat.schedules import BaseSchedule, schedstate
from umbel.model.errors import ImproperlyConfigured

# event: (method of ephem's observer, degrees of the sun's centre or rim over the horizon)
_EVENTS = {
    "dawn_astronomical": ("next_rising", "-18", True),
    "dawn_nautical": ("next_rising", "-12", True),
    "dawn_civil": ("next_rising", "-6", True),
    "sunrise": ("next_rising", "-0:34", False),
    "solar_noon": ("next_transit", "0", False),
    "sunset": ("next_setting", "-0:34", False),
    "dusk_civil": ("next_setting", "-6", True),
    "dusk_nautical": ("next_setting", "-12", True),
    "dusk_astronomical": ("next_setting", "-18", True),
}


class solar(BaseSchedule):  # noqa: N801 - Celery's name
    """At an event of the sun: ``solar("sunset", -37.81, 144.96)``, degrees north and east.

    Raises ``ValueError`` for an event or a place that is none. Where the sun does not rise for
    weeks, the next event is that many weeks away.
    """

    max_search_days = 365

    def __init__(self, event: str, lat: float, lon: float, **kwargs: Any) -> None:
        if event not in _EVENTS:
            raise ValueError(
                f'Argument event "{event}" is invalid, must be one of {", ".join(sorted(_EVENTS))}.'
            )
        if not -90 <= lat <= 90:
            raise ValueError(f"Argument latitude {lat} is invalid, must be between -90 and 90.")
        if not -180 <= lon <= 180:
            raise ValueError(f"Argument longitude {lon} is invalid, must be between -180 and 180.")
        self.event = event
        self.lat = lat
        self.lon = lon
        self._ephem = _ephem()
        super().__init__(**kwargs)

    def remaining_estimate(self, last_run_at: datetime) -> timedelta:
        """How long it is till the next event after the last run; zero or less: it is due."""
        last = self.maybe_make_aware(last_run_at).astimezone(UTC)
        return self._next_after(last) - self.maybe_make_aware(self.now()).astimezone(UTC)

    def is_due(self, last_run_at: datetime) -> schedstate:
        """(whether it is due, seconds till the next look)."""
        remaining = max(self.remaining_estimate(last_run_at).total_seconds(), 0)
        if remaining == 0:
            return schedstate(True, self.remaining_estimate(self.now()).total_seconds())
        return schedstate(False, remaining)

    def _next_after(self, moment: datetime) -> datetime:
        method, horizon, uses_center = _EVENTS[self.event]
        for days in range(self.max_search_days):
            observer = self._ephem.Observer()
            observer.lat, observer.lon = str(self.lat), str(self.lon)
            # The refraction at the horizon is in the degrees of the events already.
            observer.elevation, observer.pressure = 0, 0
            observer.horizon = horizon
            observer.date = (moment + timedelta(days=days)).replace(tzinfo=None)
            options = {} if method == "next_transit" else {"use_center": uses_center}
            try:
                found = getattr(observer, method)(self._ephem.Sun(), **options)
            except self._ephem.CircumpolarError:
                continue  # no such event on that day
            at: datetime = found.datetime()
            return at.replace(tzinfo=UTC)
        raise ValueError(f"{self!r}: there is no such event within {self.max_search_days} days")

    def __eq__(self, other: object) -> bool:
        if isinstance(other, solar):
            return (self.event, self.lat, self.lon) == (other.event, other.lat, other.lon)
        return NotImplemented

    __hash__ = None  # as in Celery

    def __repr__(self) -> str:
        return f"<solar: {self.event} at latitude {self.lat}, longitude: {self.lon}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.event, self.lat, self.lon)


def _ephem() -> Any:
    try:
        return importlib.import_module("ephem")
    except ImportError:
        raise ImproperlyConfigured(
            "solar schedules need ephem: pip install 'umbel[solar]'"
        ) from None
