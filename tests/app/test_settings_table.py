"""The table of settings against Celery's own, and against itself."""

from __future__ import annotations

import pytest
from celery.app.defaults import _TO_OLD_KEY, DEFAULTS

from umbel.app import settings
from umbel.app.settings import NEW_NAMES, SETTINGS, nearest

# Where umbel's default is another one, with the reason in the table.
OTHER_DEFAULTS = {"task_acks_late"}
# Their defaults belong to backends that umbel does not have.
ELSEWHERE = {name for name, row in SETTINGS.items() if row.support == settings.REFUSED}


def test_every_setting_of_celery_is_known() -> None:
    assert set(DEFAULTS) - set(SETTINGS) == set()


def test_defaults_are_those_of_celery() -> None:
    different = {
        name
        for name, default in DEFAULTS.items()
        if name not in ELSEWHERE and SETTINGS[name].default != default
    }

    assert different == OTHER_DEFAULTS


def test_old_names_are_those_of_celery() -> None:
    # Celery itself reads CELERYD_LOST_WAIT nowhere in its documentation.
    different = {
        new: old
        for new, old in _TO_OLD_KEY.items()
        if NEW_NAMES.get(old) != new and new != "worker_lost_wait"
    }

    assert different == {}


def test_settings_of_our_own_say_so() -> None:
    own = {name for name in SETTINGS if name not in DEFAULTS}

    assert own == {
        "task_max_deliveries",
        "worker_lease_heartbeat",
        "worker_lease_seconds",
        "worker_sweep_interval",
    }
    assert all("umbel's own" in SETTINGS[name].note for name in own)


def test_what_does_not_simply_work_says_what_it_does() -> None:
    silent = [row.name for row in SETTINGS.values() if row.support == "differs" and not row.note]

    assert silent == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("task_serialiser", "task_serializer"),
        ("result_backends", "result_backend"),
        ("brokerurl", "broker_url"),
        ("CELERY_RESULT_BACKENDS", "CELERY_RESULT_BACKEND"),
        ("my_own_setting", None),
        ("shop_currency", None),
    ],
)
def test_misspelt_names_are_recognised(written: str, meant: str | None) -> None:
    assert nearest(written, ()) == meant


def test_a_near_name_beside_the_real_one_is_the_users_own() -> None:
    assert nearest("task_queue", ["task_queue", "task_queues"]) is None
