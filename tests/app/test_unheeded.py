"""What an app asks for in vain is named; what it gets anyway is not."""

from __future__ import annotations

from typing import Any

import pytest

from umbel import Celery
from umbel.app.unheeded import unheeded


def test_an_app_that_asks_for_nothing_special_hears_nothing() -> None:
    app = Celery("shop", broker="memory://")

    app.task(name="shop.work", acks_late=True, time_limit=3)(lambda: None)
    app.finalize()

    assert unheeded(app) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("worker_agent", "a.b:C"),
        ("beat_schedule", {"each": {"task": "shop.work", "schedule": 3}}),
        ("worker_pool_start_method", "spawn"),
        ("result_persistent", True),
    ],
)
def test_a_setting_without_effect_is_named(setting: str, value: Any) -> None:
    app = Celery("shop", broker="memory://")

    app.conf[setting] = value

    [said] = unheeded(app)
    assert said.startswith(setting)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("worker_autoscaler", None),
        ("worker_enable_remote_control", False),
        ("beat_schedule", {}),
    ],
)
def test_a_setting_that_asks_for_what_happens_anyway_is_not_named(setting: str, value: Any) -> None:
    app = Celery("shop", broker="memory://")

    app.conf[setting] = value

    assert unheeded(app) == []


def test_options_and_steps_of_an_app_of_its_own_are_named() -> None:
    app = Celery("shop", broker="memory://")

    app.user_options["preload"].add("an option")
    app.steps["worker"].add("a step")

    assert unheeded(app) == [
        "app.steps['worker'] (there are no bootsteps; use signals)",
        "app.user_options['preload'] (read environment variables instead)",
    ]
