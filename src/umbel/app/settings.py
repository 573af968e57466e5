"""Every setting that Celery documents, and ours: names, default, and what umbel makes of it.

One table, so that ``app.conf``, the check for misspelt names and ``docs/settings.md`` can't tell
different stories. Reading and merging what users give is ``config.py``'s business.
https://docs.celeryq.dev/en/stable/userguide/configuration.html
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

from umbel.app.support import ACCEPTED, DIFFERS, LATER, REFUSED, WORKS


class Setting(NamedTuple):
    """One row."""

    name: str
    old: str
    default: Any
    support: str
    note: str = ""
    granted: tuple[Any, ...] = ()  # values that ask for what umbel does anyway


PROCESS_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s"
TASK_FORMAT = "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s"
PUBLISH_RETRY_POLICY = {
    "max_retries": 3,
    "interval_start": 0,
    "interval_max": 1,
    "interval_step": 0.2,
}

# (name, default) or (name, default, support, note, granted...); WORKS where nothing is said.
_ROWS: tuple[tuple[Any, ...], ...] = (
    # general
    ("accept_content", ("json",)),
    ("result_accept_content", None),
    ("enable_utc", True),
    ("timezone", None),
    ("imports", ()),
    ("include", ()),
    # tasks
    (
        "task_acks_late",
        True,
        DIFFERS,
        "results are settled late by default; an explicit False means at most once",
    ),
    (
        "task_acks_on_failure_or_timeout",
        True,
        DIFFERS,
        "off: as task_acks_on_failure and task_acks_on_timeout",
    ),
    ("task_acks_on_failure", None, DIFFERS, "off: the message is kept in the dead letters"),
    (
        "task_acks_on_timeout",
        None,
        DIFFERS,
        "off: it runs again, up to task_max_deliveries times in all",
    ),
    ("task_allow_error_cb_on_chord_header", False),
    ("task_always_eager", False),
    ("task_annotations", None),
    ("task_compression", None),
    ("task_create_missing_queue_exchange_type", None),
    ("task_create_missing_queue_type", "classic", REFUSED, "belongs to amqp://"),
    ("task_create_missing_queues", True),
    ("task_default_delivery_mode", 2, DIFFERS, "it is written, and every message is stored"),
    ("task_default_exchange", None),
    ("task_default_exchange_type", "direct"),
    ("task_default_priority", None),
    ("task_default_queue", "celery"),
    ("task_default_queue_type", "classic", REFUSED, "belongs to amqp://"),
    ("task_default_rate_limit", None),
    ("task_default_routing_key", None),
    ("task_eager_propagates", False),
    ("task_ignore_result", False),
    ("task_inherit_parent_priority", False),
    ("task_max_deliveries", 5, WORKS, "umbel's own: runs that may end with their process's death"),
    ("task_protocol", 2, DIFFERS, "2 is written, 1 is read; asking for 1 is refused"),
    ("task_publish_retry", True),
    ("task_publish_retry_policy", PUBLISH_RETRY_POLICY),
    ("task_queue_max_priority", None, ACCEPTED, "every queue has priorities 0 to 9", 9, 10),
    ("task_queues", None),
    (
        "task_reject_on_worker_lost",
        None,
        DIFFERS,
        "a lost task runs again, up to task_max_deliveries times; an explicit False fails it",
    ),
    ("task_remote_tracebacks", False, REFUSED, "tracebacks are text: result.traceback"),
    ("task_repr_maxlevels", 3, ACCEPTED, "arguments are shown by their length"),
    ("task_retry_on_worker_lost", False, DIFFERS, "see task_reject_on_worker_lost"),
    ("task_routes", None),
    ("task_send_sent_event", False),
    ("task_serializer", "json"),
    ("task_soft_time_limit", None),
    ("task_store_eager_result", False),
    ("task_store_errors_even_if_ignored", False),
    ("task_time_limit", None),
    ("task_track_started", False),
    # results
    ("result_backend", None),
    ("result_backend_always_retry", False, ACCEPTED, "a lost connection is always retried", True),
    ("result_backend_base_sleep_between_retries_ms", 10, ACCEPTED, "umbel backs off by itself"),
    ("result_backend_max_retries", float("inf"), ACCEPTED, "until the timeout of the caller"),
    ("result_backend_max_sleep_between_retries_ms", 10_000, ACCEPTED, "umbel backs off by itself"),
    ("result_backend_transport_options", {}),
    ("result_cache_max", -1, ACCEPTED, "nothing is cached beyond its AsyncResult"),
    ("result_chord_expires", None, ACCEPTED, "chord keys live at least 30 days"),
    ("result_chord_join_timeout", 3.0, ACCEPTED, "a chord's body is sent by a settlement"),
    ("result_chord_retry_interval", 1.0, ACCEPTED, "chords are counted, not polled"),
    ("result_compression", None),
    ("result_exchange", "celeryresults", REFUSED, "belongs to rpc://"),
    ("result_exchange_type", "direct", REFUSED, "belongs to rpc://"),
    ("result_expires", timedelta(days=1)),
    ("result_extended", False),
    ("result_failure_expires", None),
    ("result_persistent", None, REFUSED, "belongs to rpc://"),
    ("result_serializer", "json"),
    ("redis_backend_use_ssl", None),
    ("redis_db", None),
    ("redis_host", None),
    ("redis_max_connections", None, ACCEPTED, "one connection a thread"),
    ("redis_password", None),
    ("redis_port", None),
    ("redis_retry_on_timeout", False, ACCEPTED, "always", True),
    ("redis_socket_connect_timeout", None),
    ("redis_socket_keepalive", False, ACCEPTED, "always on", True),
    ("redis_socket_timeout", 120.0),
    ("redis_username", None),
    # broker
    ("broker_url", None),
    ("broker_read_url", None, DIFFERS, "workers read from it; wins over broker_url"),
    ("broker_write_url", None, DIFFERS, "producers write to it; wins over broker_url"),
    ("broker_transport", None),
    ("broker_transport_options", {}),
    ("broker_connection_timeout", 4.0),
    ("broker_connection_retry", True, ACCEPTED, "always"),
    ("broker_connection_retry_on_startup", None, ACCEPTED, "always", True),
    ("broker_connection_max_retries", 100, ACCEPTED, "a worker tries for ever", 0, None),
    ("broker_channel_error_retry", False, ACCEPTED, "always", True),
    (
        "broker_failover_strategy",
        None,
        REFUSED,
        "servers are tried in the order that they are listed in",
        "round-robin",
    ),
    ("broker_heartbeat", 120, ACCEPTED, "belongs to amqp://", 0, None),
    ("broker_heartbeat_checkrate", 3.0, ACCEPTED, "belongs to amqp://"),
    ("broker_host", None),
    ("broker_login_method", None, REFUSED, "belongs to amqp://"),
    (
        "broker_native_delayed_delivery_queue_type",
        "quorum",
        ACCEPTED,
        "tasks with an eta wait at the broker",
    ),
    ("broker_password", None),
    ("broker_pool_acquire_timeout", None, ACCEPTED, "one connection a thread"),
    ("broker_pool_limit", 10, ACCEPTED, "one connection a thread"),
    ("broker_port", None),
    ("broker_use_ssl", False),
    ("broker_user", None),
    ("broker_vhost", None),
    # worker
    ("worker_agent", None, REFUSED, "there are no agents"),
    (
        "worker_autoscaler",
        "celery.worker.autoscale:Autoscaler",
        REFUSED,
        "there is one autoscaler, which --autoscale starts",
    ),
    (
        "worker_cancel_long_running_tasks_on_connection_loss",
        False,
        DIFFERS,
        "on: children that lost their lease are killed; what they ran can't settle anyway",
    ),
    ("worker_concurrency", None),
    ("worker_consumer", "celery.worker.consumer:Consumer", REFUSED, "there are no bootsteps"),
    ("worker_deduplicate_successful_tasks", False, ACCEPTED, "a SUCCESS is final", True),
    ("worker_detect_quorum_queues", True, ACCEPTED, "belongs to amqp://", False),
    ("worker_direct", False),
    ("worker_disable_prefetch", False, DIFFERS, "on: a child claims one message at a time"),
    ("worker_disable_rate_limits", False),
    ("worker_enable_prefetch_count_reduction", True, ACCEPTED, "there is no prefetch count"),
    ("worker_enable_remote_control", True),
    ("worker_enable_soft_shutdown_on_idle", False, ACCEPTED, "an idle worker holds nothing", True),
    ("worker_eta_task_limit", None, ACCEPTED, "tasks with an eta wait at the broker"),
    ("worker_hijack_root_logger", True),
    ("worker_lease_heartbeat", 2.0, WORKS, "umbel's own: seconds between renewals of leases"),
    ("worker_lease_seconds", 6.0, WORKS, "umbel's own: how long a silent worker keeps its tasks"),
    ("worker_log_color", None),
    ("worker_log_datefmt", None),
    ("worker_log_format", PROCESS_FORMAT),
    ("worker_lost_wait", 10.0, ACCEPTED, "a death is seen within milliseconds"),
    ("worker_max_memory_per_child", None),
    ("worker_max_tasks_per_child", None),
    ("worker_pool", "prefork"),
    ("worker_pool_putlocks", True, ACCEPTED, "there are no locks between processes"),
    ("worker_pool_restarts", False, DIFFERS, "everything is imported anew, always"),
    ("worker_pool_start_method", "fork", DIFFERS, "fork only"),
    ("worker_prefetch_multiplier", 4, DIFFERS, "bounds a child's batch only when set"),
    ("worker_proc_alive_timeout", 4.0, DIFFERS, "heeded only when set"),
    ("worker_redirect_stdouts", True),
    ("worker_redirect_stdouts_level", "WARNING"),
    ("worker_send_task_events", False),
    ("worker_soft_shutdown_timeout", 0.0),
    ("worker_state_db", None, ACCEPTED, "revocations are kept at the broker"),
    ("worker_sweep_interval", 1.0, WORKS, "umbel's own: seconds between looks for lost workers"),
    ("worker_task_log_datefmt", None),
    ("worker_task_log_format", TASK_FORMAT),
    ("worker_timer", None, REFUSED, "there is no timer"),
    ("worker_timer_precision", 1.0, REFUSED, "there is no timer"),
    # remote control
    ("control_queue_ttl", 300.0, ACCEPTED, "commands wait nowhere"),
    ("control_queue_expires", 10.0, ACCEPTED, "commands wait nowhere"),
    ("control_queue_exclusive", True, ACCEPTED, "commands wait nowhere"),
    ("control_queue_durable", False, ACCEPTED, "commands wait nowhere"),
    ("control_exchange", "celery"),
    # parts that are not built yet
    ("beat_enable_remote_control", False, LATER),
    ("beat_remote_control_max_tick_age", None, LATER),
    ("beat_max_loop_interval", 0, LATER),
    ("beat_schedule", {}, LATER),
    ("beat_scheduler", "celery.beat:PersistentScheduler", LATER),
    ("beat_schedule_filename", "celerybeat-schedule", LATER),
    ("beat_sync_every", 0, LATER),
    ("beat_cron_starting_deadline", None, LATER),
    ("event_queue_expires", 60.0, ACCEPTED, "who hears events has no queue"),
    ("event_queue_ttl", 5.0, ACCEPTED, "who hears events has no queue"),
    ("event_queue_prefix", "celeryev", ACCEPTED, "who hears events has no queue"),
    ("event_queue_exclusive", True, ACCEPTED, "who hears events has no queue"),
    ("event_queue_durable", False, ACCEPTED, "who hears events has no queue"),
    ("event_serializer", "json"),
    ("event_exchange", "celeryev"),
    ("security_certificate", None),
    ("security_cert_store", None),
    ("security_key", None),
    ("security_key_password", None),
    ("security_digest", "sha256"),
)

# Result backends of Celery that umbel does not have: their settings are known, so that a shared
# configuration loads, and that a misspelt name is not taken for one of them.
_ELSEWHERE = """
cache_backend cache_backend_options
cassandra_entry_ttl cassandra_keyspace cassandra_port cassandra_read_consistency cassandra_servers
cassandra_bundle_path cassandra_table cassandra_write_consistency cassandra_auth_provider
cassandra_auth_kwargs cassandra_options
s3_access_key_id s3_secret_access_key s3_bucket s3_base_path s3_endpoint_url s3_region
azureblockblob_container_name azureblockblob_retry_initial_backoff_sec
azureblockblob_retry_increment_base azureblockblob_retry_max_attempts azureblockblob_base_path
azureblockblob_connection_timeout azureblockblob_read_timeout
gcs_bucket gcs_project gcs_base_path gcs_ttl
couchbase_backend_settings arangodb_backend_settings mongodb_backend_settings
cosmosdbsql_database_name cosmosdbsql_collection_name cosmosdbsql_consistency_level
cosmosdbsql_max_retry_attempts cosmosdbsql_max_retry_wait_time
elasticsearch_retry_on_timeout elasticsearch_max_retries elasticsearch_timeout
elasticsearch_save_meta_as_text
database_url database_engine_options database_engine_callback database_short_lived_sessions
database_table_schemas database_table_names database_create_tables_at_setup
"""

# Old names that do not follow from the new one by its prefix.
_ODD_OLD_NAMES = {
    "database_engine_options": "CELERY_RESULT_ENGINE_OPTIONS",
    "database_short_lived_sessions": "CELERY_RESULT_DB_SHORT_LIVED_SESSIONS",
    "database_table_names": "CELERY_RESULT_DB_TABLENAMES",
    "database_url": "CELERY_RESULT_DBURI",
    "result_cache_max": "CELERY_MAX_CACHED_RESULTS",
    "result_expires": "CELERY_TASK_RESULT_EXPIRES",
    "task_compression": "CELERY_MESSAGE_COMPRESSION",
    "task_eager_propagates": "CELERY_EAGER_PROPAGATES_EXCEPTIONS",
    "task_protocol": "CELERY_TASK_PROTOCOL",
    "task_publish_retry": "CELERY_TASK_PUBLISH_RETRY",
    "task_publish_retry_policy": "CELERY_TASK_PUBLISH_RETRY_POLICY",
    "task_send_sent_event": "CELERY_SEND_TASK_SENT_EVENT",
    "task_serializer": "CELERY_TASK_SERIALIZER",
    "task_soft_time_limit": "CELERYD_TASK_SOFT_TIME_LIMIT",
    "task_time_limit": "CELERYD_TASK_TIME_LIMIT",
    "worker_direct": "CELERY_WORKER_DIRECT",
    "worker_disable_rate_limits": "CELERY_DISABLE_RATE_LIMITS",
    "worker_enable_remote_control": "CELERY_ENABLE_REMOTE_CONTROL",
    "worker_redirect_stdouts": "CELERY_REDIRECT_STDOUTS",
    "worker_redirect_stdouts_level": "CELERY_REDIRECT_STDOUTS_LEVEL",
    "worker_send_task_events": "CELERY_SEND_EVENTS",
}
_OLD_PREFIXES = {"task_": "CELERY_", "worker_": "CELERYD_", "beat_": "CELERYBEAT_"}
_SAME_IN_CAPITALS = (
    "broker_", "cassandra_", "s3_", "azureblockblob_", "gcs_", "control_", "cosmosdbsql_",
    "database_",
)  # fmt: skip

# Further spellings that Celery reads.
_ALIASES = {
    "BROKER_BACKEND": "broker_transport",
    "BROKER_TRANSPORT": "broker_transport",
    "CELERY_ENABLE_UTC": "enable_utc",
    "ENABLE_UTC": "enable_utc",
    "CELERY_RESULT_ACCEPT_CONTENT": "result_accept_content",
    "RESULT_ACCEPT_CONTENT": "result_accept_content",
    "CELERY_BROKER_URL": "broker_url",
    "CELERY_SEND_TASK_ERROR_EMAILS": "",
    "CELERYD_LOG_LEVEL": "",
    "CELERYD_LOG_FILE": "",
}


def _old_name(name: str) -> str:
    if name in _ODD_OLD_NAMES:
        return _ODD_OLD_NAMES[name]
    for prefix, old in _OLD_PREFIXES.items():
        if name.startswith(prefix):
            return old + name[len(prefix) :].upper()
    if name.startswith(_SAME_IN_CAPITALS):
        return name.upper()
    return "CELERY_" + name.upper()


def _table() -> dict[str, Setting]:
    table = {}
    for name, default, *rest in _ROWS:
        support, note, *granted = (*rest, "") if len(rest) == 1 else rest or (WORKS, "")
        table[name] = Setting(name, _old_name(name), default, support, note, tuple(granted))
    for name in _ELSEWHERE.split():
        note = "belongs to a result backend that umbel does not have"
        table[name] = Setting(name, _old_name(name), None, REFUSED, note)
    return table


SETTINGS: dict[str, Setting] = _table()
DEFAULTS: dict[str, Any] = {name: setting.default for name, setting in SETTINGS.items()}
NEW_NAMES: dict[str, str] = {setting.old: name for name, setting in SETTINGS.items()} | _ALIASES

# Words in a name whose value is not to be shown.
SECRET_WORDS = ("API", "TOKEN", "KEY", "SECRET", "PASS", "SIGNATURE", "DATABASE")


def is_secret(name: str) -> bool:
    """Whether the value of a setting is hidden in reports."""
    capital = name.upper()
    return capital != "TASK_DEFAULT_ROUTING_KEY" and any(word in capital for word in SECRET_WORDS)


def nearest(name: str, given: Iterable[str]) -> str | None:
    """The setting that ``name`` was probably meant to be, or None.

    Not one that is given itself: ``task_queue`` beside ``task_queues`` is a name of the user's own.
    """
    # Not at the top: only a name that nobody knows pays for it.
    from difflib import get_close_matches

    known: Iterable[str] = SETTINGS if name == name.lower() else NEW_NAMES
    taken = set(given)
    for match in get_close_matches(name, known, n=1, cutoff=0.88):
        if match not in taken and NEW_NAMES.get(match, match) not in taken:
            return match
    return None
