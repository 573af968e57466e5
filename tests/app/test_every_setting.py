"""Every setting: what is to be seen of it where it is set, or the line that names it.

Here: in what is sent, in how a task is run, in how servers are reached, in what a worker is asked
to do, in its log. What can only be seen in other parts is in the tests that ``ELSEWHERE`` names;
``test_every_setting_was_tried`` holds the tables against the table of settings.
"""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from elsewhere import missing

from umbel import Celery
from umbel.app import logs
from umbel.app.execution import Plan
from umbel.app.settings import SETTINGS
from umbel.app.support import ACCEPTED, DIFFERS, LATER, REFUSED, WORKS
from umbel.app.unheeded import needless, unheeded
from umbel.model.errors import ImproperlyConfigured, NotBuiltYet
from umbel.model.queues import Exchange, Queue
from umbel.testing.running import running_worker
from umbel.wire import envelope
from umbel.worker.briefing import Briefing, LogSettings
from umbel.worker.options import WorkerOptions
from umbel.worker.preparing import briefing_of

Table = dict[str, tuple[Any, Callable[[Any], Any], Any]]


def named(*supports: str) -> list[str]:
    return [name for name, row in SETTINGS.items() if row.support in supports]


def an_app(**settings: Any) -> Celery:
    app = Celery("seen", set_as_current=False)
    app.conf.update(settings)

    @app.task(name="seen.work")
    def work(*_args: Any) -> None:
        """A task."""

    return app


# - In what is sent


def sent(app: Celery, **options: Any) -> Any:
    """The message of a call, as it is composed."""
    made: Any = []
    app.publisher._publish = lambda messages, *_: made.extend(messages)  # type: ignore[method-assign]
    app.tasks["seen.work"].apply_async((1,), **options)
    return made[0]


def opened(app: Celery, **options: Any) -> envelope.Envelope:
    return envelope.decode(sent(app, **options).raw)


def way(app: Celery, **options: Any) -> Any:
    return opened(app, **options).properties["delivery_info"]


TOPIC = [Queue("t", Exchange("post", "topic"), "letter.#")]
IN_THE_MESSAGE: Table = {
    "task_compression": (
        "gzip",
        lambda app: opened(app).headers.get("compression"),
        "application/x-gzip",
    ),
    "task_default_delivery_mode": (1, lambda app: opened(app).properties["delivery_mode"], 1),
    "task_default_exchange": ("x", lambda app: app.routing.queue("celery").exchange.name, "x"),
    "task_default_exchange_type": (
        "topic",
        lambda app: app.routing.queue("celery").exchange.type,
        "topic",
    ),
    "task_default_priority": (7, lambda app: sent(app).priority, 7),
    "task_default_queue": ("mail", lambda app: sent(app).queue, "mail"),
    "task_default_routing_key": (
        "k",
        lambda app: way(app, exchange="x", exchange_type="topic")["routing_key"],
        "k",
    ),
    "task_ignore_result": (True, lambda app: opened(app).headers["ignore_result"], True),
    "task_create_missing_queue_exchange_type": (
        "topic",
        lambda app: app.routing.queue("new").exchange.type,
        "topic",
    ),
    "task_queues": (TOPIC, lambda app: way(app, queue="t")["exchange"], "post"),
    "task_routes": ({"seen.*": "far"}, lambda app: sent(app).queue, "far"),
    "task_serializer": ("yaml", lambda app: opened(app).content_type, "application/x-yaml"),
    "task_soft_time_limit": (3, lambda app: opened(app).headers["timelimit"][1], 3),
    "task_time_limit": (5, lambda app: opened(app).headers["timelimit"][0], 5),
    "timezone": ("Asia/Tokyo", lambda app: opened(app, countdown=9).headers["eta"][-6:], "+09:00"),
}

# - In how a task is run: what the plan says is carried out in ``test_every_task_option``


def plan(app: Celery) -> Plan:
    return Plan(app.tasks["seen.work"])


IN_THE_PLAN: Table = {
    "task_acks_late": (False, lambda app: plan(app).is_at_most_once, True),
    "task_acks_on_failure": (False, lambda app: plan(app).is_failure_settled, False),
    "task_acks_on_failure_or_timeout": (False, lambda app: plan(app).is_failure_settled, False),
    "task_acks_on_timeout": (False, lambda app: plan(app).manners > 0, True),
    "task_annotations": ({"*": {"throws": (KeyError,)}}, lambda app: plan(app).throws, (KeyError,)),
    "task_reject_on_worker_lost": (False, lambda app: plan(app).manners > 0, True),
    "task_store_errors_even_if_ignored": (
        True,
        lambda app: plan(app).store_errors_even_if_ignored,
        True,
    ),
    "task_store_eager_result": (True, lambda app: app.tasks["seen.work"].store_eager_result, True),
    "task_track_started": (True, lambda app: plan(app).track_started, True),
    "task_default_rate_limit": ("2/s", lambda app: app.tasks["seen.work"].rate_limit, "2/s"),
}

# - In how servers are reached


def broker(app: Celery) -> Any:
    return app.connections.engine_options()[0]


def results(app: Celery) -> Any:
    return app.connections.engine_options()[1]


IN_THE_CONNECTIONS: Table = {
    "broker_connection_timeout": (2.5, lambda app: broker(app).connect_timeout_s, 2.5),
    "broker_host": ("far", lambda app: app.connections.broker_url(), "redis://far/"),
    "broker_password": ("p", lambda app: app.connections.broker_url(), "redis://:p@localhost/"),
    "broker_port": (7, lambda app: app.connections.broker_url(), "redis://localhost:7/"),
    "broker_read_url": (
        "redis://r/",
        lambda app: app.connections.broker_url(reading=True),
        "redis://r/",
    ),
    "broker_transport": ("valkey", lambda app: app.connections.broker_url(), "valkey://localhost/"),
    "broker_transport_options": ({"sep": ":"}, lambda app: broker(app).transport, {"sep": ":"}),
    "broker_url": ("redis://b/", lambda app: app.connections.broker_url(), "redis://b/"),
    "broker_use_ssl": ({"ca_certs": "c"}, lambda app: broker(app).tls, {"ca_certs": "c"}),
    "broker_user": ("u", lambda app: app.connections.broker_url(), "redis://u:@localhost/"),
    "broker_vhost": ("3", lambda app: app.connections.broker_url(), "redis://localhost/3"),
    "broker_write_url": ("redis://w/", lambda app: app.connections.broker_url(), "redis://w/"),
    "redis_backend_use_ssl": ({"ca_certs": "c"}, lambda app: results(app).tls, {"ca_certs": "c"}),
    "redis_db": (3, lambda app: app.connections.result_url(), "redis://localhost:6379/3"),
    "redis_host": ("far", lambda app: app.connections.result_url(), "redis://far:6379/0"),
    "redis_password": (
        "p",
        lambda app: app.connections.result_url(),
        "redis://:p@localhost:6379/0",
    ),
    "redis_port": (7, lambda app: app.connections.result_url(), "redis://localhost:7/0"),
    "redis_socket_connect_timeout": (1.5, lambda app: results(app).connect_timeout_s, 1.5),
    "redis_socket_timeout": (9, lambda app: results(app).reply_timeout_s, 9),
    "redis_username": (
        "u",
        lambda app: app.connections.result_url(),
        "redis://u:@localhost:6379/0",
    ),
    "result_backend": ("redis://r/", lambda app: app.connections.result_url(), "redis://r/"),
    "result_backend_transport_options": (
        {"global_keyprefix": "x"},
        lambda app: results(app).transport,
        {"global_keyprefix": "x"},
    ),
}

# - In what the supervisor of a worker is asked to do


def briefing(app: Celery) -> Briefing:
    log = LogSettings(20, None, "", None, False)
    return briefing_of(app, WorkerOptions(), "w1@host", log)


IN_THE_BRIEFING: Table = {
    "accept_content": (
        ["yaml"],
        lambda app: briefing(app).control.accept,
        ("application/x-yaml",),
    ),
    "control_exchange": ("mine", lambda app: briefing(app).control.namespace, "mine"),
    "event_exchange": ("mine", lambda app: briefing(app).events.exchange, "mine"),
    "event_serializer": ("yaml", lambda app: briefing(app).events.serializer, "yaml"),
    "task_max_deliveries": (2, lambda app: briefing(app).max_deliveries, 2),
    "worker_cancel_long_running_tasks_on_connection_loss": (
        True,
        lambda app: briefing(app).is_ending_what_is_lost,
        True,
    ),
    "worker_concurrency": (3, lambda app: briefing(app).children, 3),
    "worker_direct": (True, lambda app: briefing(app).queues[1:], ("w1@host.dq2",)),
    "worker_disable_prefetch": (True, lambda app: briefing(app).prefetch_multiplier, 1),
    "worker_enable_remote_control": (False, lambda app: briefing(app).control.is_on, False),
    "worker_lease_heartbeat": (1.5, lambda app: briefing(app).beat_s, 1.5),
    "worker_lease_seconds": (9.0, lambda app: briefing(app).lease_s, 9.0),
    "worker_max_memory_per_child": (9000, lambda app: briefing(app).max_memory_kib, 9000),
    "worker_max_tasks_per_child": (7, lambda app: briefing(app).max_tasks, 7),
    "worker_pool": ("threads", lambda app: briefing(app).pool, "threads"),
    "worker_pool_restarts": (True, lambda app: briefing(app).control.may_restart, True),
    "worker_prefetch_multiplier": (6, lambda app: briefing(app).prefetch_multiplier, 6),
    "worker_proc_alive_timeout": (30.0, lambda app: briefing(app).start_limit_s, 30.0),
    "worker_send_task_events": (True, lambda app: briefing(app).events.of_tasks, True),
    "worker_soft_shutdown_timeout": (2.0, lambda app: briefing(app).grace_s, 2.0),
    "worker_sweep_interval": (0.5, lambda app: briefing(app).sweep_s, 0.5),
}

SEEN = {**IN_THE_MESSAGE, **IN_THE_PLAN, **IN_THE_CONNECTIONS, **IN_THE_BRIEFING}
# What must be set beside it for it to mean anything.
REDIS = {"result_backend": "redis"}
BESIDE: dict[str, dict[str, Any]] = {
    **{name: REDIS for name in IN_THE_CONNECTIONS if re.match("redis_[^bs]", name)},
    **{
        name: {"broker_transport": "redis"}
        for name in ("broker_host", "broker_password", "broker_port", "broker_user", "broker_vhost")
    },
    "timezone": {"enable_utc": False},
}


@pytest.mark.parametrize("setting", SEEN)
def test_a_setting_is_to_be_seen(setting: str) -> None:
    value, look, expected = SEEN[setting]
    beside = BESIDE.get(setting, {})
    without, having = an_app(**beside), an_app(**beside, **{setting: value})
    having.finalize()

    assert look(without) != expected
    assert look(having) == expected


# - In the log of a worker


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """What is written to the log under settings."""
    root, tasks = logging.getLogger(), logs.task_logger
    kept = root.handlers[:], root.level, tasks.handlers[:], tasks.level, tasks.propagate

    def write(**settings: Any) -> str:
        stream = io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(logs, "_real_stderr", lambda: stream)
            patch.setattr(sys, "stdout", io.StringIO())
            patch.setattr(sys, "stderr", sys.stdout)
            an_app(**settings).log.setup("INFO")
            print("printed")
            logging.getLogger("anything").error("an error")
            logs.get_task_logger("seen.other").info("of a task")
        return stream.getvalue()

    yield write
    root.handlers[:], root.level, tasks.handlers[:], tasks.level, tasks.propagate = kept


IN_THE_LOG: dict[str, tuple[Any, str]] = {
    "worker_log_color": (True, "\033\\[1;31m.*an error"),
    "worker_log_datefmt": ("day %j", r"\[day \d+: .*an error"),
    "worker_log_format": ("<%(message)s>", "<an error>"),
    "worker_redirect_stdouts_level": ("ERROR", "ERROR/.* printed"),
    "worker_task_log_datefmt": ("day %j", r"\[day \d+: .*of a task"),
    "worker_task_log_format": ("<%(message)s>", "<of a task>"),
}


@pytest.mark.parametrize("setting", IN_THE_LOG)
def test_a_setting_is_to_be_seen_in_the_log(setting: str, written: Callable[..., str]) -> None:
    value, pattern = IN_THE_LOG[setting]

    assert not re.search(pattern, written())
    assert re.search(pattern, written(**{setting: value}))


def test_prints_stay_where_they_are_if_they_are_not_redirected(
    written: Callable[..., str],
) -> None:
    assert "printed" in written()
    assert "printed" not in written(worker_redirect_stdouts=False)


# - In a worker's own loop


def test_a_result_is_kept_with_what_was_called_and_compressed() -> None:
    url = "memory://every-setting"
    settings = {"broker_url": url, "result_backend": url, "result_extended": True}
    app = an_app(**settings, result_compression="gzip")
    app.tasks["seen.work"].run = lambda *args: "done"

    with running_worker(app):
        result = app.tasks["seen.work"].delay(1)
        assert result.get(timeout=10) == "done"

    assert (result.name, result.args, result.queue) == ("seen.work", [1], "celery")
    [stored] = app.open_pair().store.get([result.id])
    assert b"done" not in stored


def test_the_old_protocol_is_refused_where_it_is_written() -> None:
    with pytest.raises(ImproperlyConfigured, match="reads protocol 1 and writes 2"):
        sent(an_app(task_protocol=1))


# - Settings without effect: a worker names them


def other_than(setting: str) -> Any:
    """A value that asks for something."""
    default = SETTINGS[setting].default
    match default:
        case bool():
            return not default
        case int() | float():
            return 7 if default == float("inf") else default + 7
        case str():
            return f"other-{default}"
        case _:
            return {"an": "entry"} if default == {} else "something"


@pytest.mark.parametrize("setting", named(LATER, REFUSED))
def test_a_setting_of_what_is_not_there_is_named_in_a_warning(setting: str) -> None:
    app = an_app(**{setting: other_than(setting)})

    [said] = unheeded(app)

    assert re.fullmatch(rf"{setting} \(\S.*\)", said)
    assert needless(app) == []


@pytest.mark.parametrize("setting", named(ACCEPTED))
def test_a_setting_that_has_nothing_to_tune_is_named(setting: str) -> None:
    app = an_app(**{setting: other_than(setting)})
    row = SETTINGS[setting]
    if app.conf[setting] in row.granted:
        app.conf[setting] = "something else"

    [said] = needless(app)

    assert said == f"{setting} ({row.note})"
    assert row.note
    assert unheeded(app) == []
    for value in (row.default, *row.granted):
        app.conf[setting] = value
        assert needless(app) == []


def test_other_ways_to_start_a_process_are_refused_by_name() -> None:
    [said] = unheeded(an_app(worker_pool_start_method="spawn"))
    assert said.startswith("worker_pool_start_method 'spawn'")

    with pytest.raises(NotBuiltYet, match="gevent"):
        briefing(an_app(worker_pool="gevent"))


# - Those that are tried in other tests

SIGNED = "integration/test_signed_messages.py"
ELSEWHERE = {
    "enable_utc": "integration/test_settings_seen.py::"
    "test_times_on_the_wire_mean_the_same_moment_as_celerys",
    "event_exchange": "events/test_sending_and_hearing.py::"
    "test_another_exchange_and_serializer_are_kept_to",
    "event_serializer": "events/test_sending_and_hearing.py::"
    "test_another_exchange_and_serializer_are_kept_to",
    "imports": "app/test_finding_apps.py::test_imports_and_include_are_imported",
    "include": "app/test_finding_apps.py::test_imports_and_include_are_imported",
    "result_accept_content": "integration/test_settings_seen.py::"
    "test_results_are_read_as_accepted_for_results",
    "result_expires": "app/test_records_of_an_app.py::test_results_expire_as_the_settings_say",
    "result_failure_expires": "app/test_records_of_an_app.py::"
    "test_results_expire_as_the_settings_say",
    "result_serializer": "app/test_records_of_an_app.py::test_what_is_not_accepted_is_not_read",
    "security_cert_store": SIGNED,
    "security_certificate": SIGNED,
    "security_digest": SIGNED,
    "security_key": SIGNED,
    "security_key_password": SIGNED,
    "task_allow_error_cb_on_chord_header": "parity/programs/parity_scenarios.py",
    "task_always_eager": "app/test_eager_calls.py::test_an_eager_app_sends_nothing",
    "task_create_missing_queues": "app/test_routes.py::"
    "test_missing_queues_are_refused_where_they_are_not_to_be_made",
    "task_eager_propagates": "app/test_eager_calls.py::"
    "test_a_failure_is_kept_unless_it_is_to_be_thrown",
    "task_inherit_parent_priority": "integration/test_priority_is_handed_on.py::"
    "test_the_next_step_of_a_chain_has_the_priority_of_the_one_before",
    "task_publish_retry": "app/test_publishing.py::test_a_call_has_its_own_policy",
    "task_publish_retry_policy": "app/test_publishing.py::"
    "test_retries_end_with_the_brokers_own_error",
    "task_send_sent_event": "events/test_sending_and_hearing.py::"
    "test_sent_tasks_are_told_of_where_it_is_asked_for",
    "worker_disable_rate_limits": "integration/test_rate_limits.py",
    "worker_hijack_root_logger": "app/test_log_setup.py::test_the_root_logger_may_be_left_alone",
    # What is in the briefing is carried out in processes there.
    "worker_enable_remote_control": "integration/programs/commanded_tasks.py",
    "worker_pool_restarts": "integration/programs/commanded_tasks.py",
    "worker_proc_alive_timeout": "integration/test_ends_of_tasks.py::"
    "test_a_child_that_hangs_in_its_start_is_replaced",
    "worker_soft_shutdown_timeout": "reliability/test_stopping.py::"
    "test_a_soft_shutdown_lets_end_what_can_and_hands_back_the_rest_uncounted",
    "task_max_deliveries": "integration/programs/ending_tasks.py",
}
HERE = {
    "result_compression", "result_extended", "task_protocol", "task_retry_on_worker_lost",
    "worker_pool_start_method", "worker_redirect_stdouts",
}  # fmt: skip


@pytest.mark.parametrize("setting", ELSEWHERE)
def test_what_is_said_to_be_tried_elsewhere_is(setting: str) -> None:
    assert missing(ELSEWHERE[setting], setting) == []


def test_a_task_that_is_to_run_again_is_not_failed_when_it_is_lost() -> None:
    failing = an_app(task_reject_on_worker_lost=False)
    retried = an_app(task_reject_on_worker_lost=False, task_retry_on_worker_lost=True)

    assert plan(failing).manners != plan(retried).manners == plan(an_app()).manners


def test_every_setting_was_tried() -> None:
    tried = {*SEEN, *IN_THE_LOG, *ELSEWHERE, *HERE}

    assert set(named(WORKS, DIFFERS)) - tried == set()
    assert tried - set(named(WORKS, DIFFERS)) == set()
