"""``app.conf``: where settings come from, which of them wins, and how they are shown."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from umbel import Celery
from umbel.model.errors import ImproperlyConfigured


def test_attributes_and_items_are_the_same(app: Celery) -> None:
    app.conf.task_serializer = "yaml"
    app.conf["result_expires"] = 60

    assert app.conf["task_serializer"] == "yaml"
    assert app.conf.result_expires == 60
    assert app.conf.get("nothing_of_the_kind", 7) == 7


def test_old_names_mean_the_same_setting(app: Celery) -> None:
    app.conf.CELERY_TASK_SERIALIZER = "yaml"
    app.conf.update(CELERYD_CONCURRENCY=3)

    assert app.conf.task_serializer == "yaml"
    assert app.conf["worker_concurrency"] == 3
    assert app.conf.CELERYD_CONCURRENCY == 3


def test_a_source_is_read_when_the_first_setting_is() -> None:
    app = Celery("lazy")

    app.config_from_object("no_such_module_anywhere")

    with pytest.raises(ImportError, match="no_such_module_anywhere"):
        _ = app.conf.task_serializer


def test_a_missing_source_may_be_silent() -> None:
    app = Celery("lazy")

    app.config_from_object("no_such_module_anywhere", silent=True)

    assert app.conf.task_serializer == "json"


def test_a_module_is_read_and_its_other_names_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shopconfig.py").write_text(
        "import os\nfrom datetime import timedelta\nresult_expires = timedelta(hours=1)\n"
        "task_queue = 'x'\ntask_queues = {'x': {}}\ndef task_router(): ...\nCURRENCY = 'EUR'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    app = Celery("shop")

    app.config_from_object("shopconfig")

    assert app.conf.result_expires.total_seconds() == 3600
    assert app.conf.CURRENCY == "EUR"
    assert "os" not in app.conf
    monkeypatch.delitem(sys.modules, "shopconfig")


@pytest.mark.parametrize("name", ["DJANGO", "django"])
def test_a_namespace_is_taken_off(name: str) -> None:
    source = SimpleNamespace(
        DJANGO_TASK_SERIALIZER="yaml", DJANGO_BROKER_URL="memory://", OTHER_THING=1
    )
    app = Celery("shop")

    app.config_from_object(source, namespace=name)

    assert app.conf.task_serializer == "yaml"
    assert app.conf.broker_url == "memory://"
    assert "OTHER_THING" not in app.conf


def test_old_names_in_the_namespace_celery_are_read_too() -> None:
    app = Celery("shop")

    app.config_from_object({"CELERY_ALWAYS_EAGER": True}, namespace="CELERY")

    assert app.conf.task_always_eager is True


def test_what_was_set_by_hand_wins_over_the_source_and_that_over_defaults() -> None:
    app = Celery("shop", task_serializer="msgpack")

    app.config_from_object({"task_serializer": "yaml", "result_serializer": "yaml"})
    app.add_defaults({"result_serializer": "pickle", "result_extended": True})

    assert app.conf.task_serializer == "msgpack"
    assert app.conf.result_serializer == "yaml"
    assert app.conf.result_extended is True


def test_defaults_may_be_a_function() -> None:
    app = Celery("shop")

    app.add_defaults(lambda: {"worker_concurrency": 2})

    assert app.conf.worker_concurrency == 2


def test_the_environment_wins_over_the_constructor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://elsewhere:1/0")
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://elsewhere:1/1")
    app = Celery("shop", broker="memory://", backend="memory://")

    assert app.conf.broker_url == "redis://elsewhere:1/0"
    assert app.conf["result_backend"] == "redis://elsewhere:1/1"


def test_an_environment_variable_names_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_CONFIG", "umbel_test_no_such")
    app = Celery("shop")

    app.config_from_envvar("SHOP_CONFIG", silent=True)
    with pytest.raises(ImproperlyConfigured, match="OTHER_CONFIG"):
        app.config_from_envvar("OTHER_CONFIG")

    assert app.conf.task_serializer == "json"


def test_a_misspelt_setting_is_named_with_the_nearest(app: Celery) -> None:
    with pytest.raises(ImproperlyConfigured, match="task_serialiser.*task_serializer"):
        app.conf.task_serialiser = "json"
    with pytest.raises(ImproperlyConfigured, match="'result_expire'.*'result_expires'"):
        Celery("other", result_expire=3).conf.get("timezone")


def test_reading_an_unknown_setting_names_the_nearest(app: Celery) -> None:
    with pytest.raises(AttributeError, match="did you mean 'task_routes'"):
        _ = app.conf.task_route


def test_settings_of_the_users_own_are_kept(app: Celery) -> None:
    app.conf.update(shop_currency="EUR")

    assert app.conf.shop_currency == "EUR"
    assert app.conf.is_set("shop_currency")
    assert not app.conf.is_set("task_serializer")


def test_secrets_are_not_shown() -> None:
    app = Celery(
        "shop",
        broker="redis://user:hunter2@localhost/0",
        redis_password="hunter2",
        broker_transport_options={"sentinel_kwargs": {"password": "hunter2"}},
    )

    shown = app.conf.humanize()

    assert "hunter2" not in shown
    assert "hunter2" not in repr(app.conf)
    assert "localhost" in shown
    assert "hunter2" in app.conf.humanize(censored=False)
    assert "result_serializer" not in shown
    assert "result_serializer" in app.conf.humanize(with_defaults=True)


def test_signals_come_around_the_loading() -> None:
    app = Celery("shop")
    seen = []

    @app.on_configure.connect
    def before(sender, **_):
        seen.append("before")
        sender.conf.timezone = "Europe/Berlin"

    @app.on_after_configure.connect
    def after(sender, source, **_):
        seen.append(("after", source.timezone))

    assert app.conf.task_serializer == "json"
    assert seen == ["before", ("after", "Europe/Berlin")]
    assert str(app.timezone) == "Europe/Berlin"


def test_without_broker_and_backend_one_file_serves_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Celery("shop")

    urls = app.connections.broker_url(), app.connections.result_url()
    monkeypatch.chdir("/")

    assert urls[0] == urls[1] == f"sqlite:///{tmp_path}/umbel.db"
    assert app.connections.broker_url() == urls[0]


def test_the_file_may_be_named_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UMBEL_DB", "/var/lib/shop/tasks.db")

    assert Celery("shop").connections.broker_url() == "sqlite:////var/lib/shop/tasks.db"


def test_a_broker_without_a_backend_disables_results() -> None:
    app = Celery("shop", broker="memory://")

    assert app.connections.result_url() is None
    with pytest.raises(NotImplementedError, match="result_backend"):
        app.AsyncResult("some-id").state


def test_the_old_parts_of_a_broker_make_a_url() -> None:
    app = Celery(
        "shop",
        changes={"BROKER_TRANSPORT": "redis", "BROKER_HOST": "far", "BROKER_PASSWORD": "p@ss"},
    )

    assert app.connections.broker_url() == "redis://:p%40ss@far/"
