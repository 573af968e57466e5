"""From the command line's words to an app that is ready to be forked from. Runs in the nursery.

The order is Celery's, because signal handlers depend on it: the app's modules are imported, then
``celeryd_init``, logging, ``worker_init``, ``celeryd_after_setup``, the purge, the banner.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from umbel.app import finding, logs, rates, signals
from umbel.app.routing import Binding
from umbel.app.settings import PROCESS_FORMAT
from umbel.app.task import FromSetting
from umbel.app.unheeded import needless, unheeded
from umbel.engines import opening
from umbel.engines.opening import address
from umbel.model.errors import ImproperlyConfigured, NotBuiltYet
from umbel.model.queues import direct_queue, is_own_queue, own_queue
from umbel.wire import json_forms, serializers
from umbel.worker import banner, reloading
from umbel.worker.app_panel import AppPanel
from umbel.worker.briefing import Briefing, ControlSettings, EventSettings, LogSettings
from umbel.worker.nodes import expand_for
from umbel.worker.options import ChildOptions, WorkerOptions
from umbel.worker.rearing import Prepared
from umbel.worker.slots import LANES, Slot

logger = logging.getLogger(__name__)

# The serializers that the supervisor has, which imports no app.
_SUPERVISORS = ("json", "yaml", "msgpack", "pickle")
_POOLS = {"prefork": "prefork", "processes": "prefork", "threads": "threads", "solo": "solo"}
_HEARTBEAT_S = 2.0  # Celery's, for who watches
_LATER_POOLS = ("gevent", "eventlet")


class WorkerFacade:
    """What handlers of worker-level signals get as ``sender`` or ``instance``."""

    def __init__(self, app: Any, node: str, options: WorkerOptions) -> None:
        self.app = app
        self.hostname = node
        self.loglevel = options.loglevel
        self.logfile = options.logfile
        self.concurrency = options.concurrency
        self.pool_cls = options.pool
        self.pid = os.getppid()

    def __repr__(self) -> str:
        return f"<Worker: {self.hostname}>"


def prepare(options: WorkerOptions, node: str, *, is_again: bool) -> Prepared:
    """Import the app and everything that it wants at the start of a worker."""
    app = _app_of(options)
    app.import_modules()
    facade = WorkerFacade(app, node, options)
    signals.user_preload_options.send(sender="worker", app=app, options=_preload_options(app))
    signals.celeryd_init.send(
        sender=node, instance=facade, conf=app.conf, options=options._asdict()
    )
    app.finalize()
    logfile = expand_for(options.logfile, node) if options.logfile else None
    colorize = None if options.no_color is None else not options.no_color
    app.log.setup(options.loglevel, logfile, colorize=colorize, hostname=node)
    signals.worker_init.send(sender=facade)
    log = LogSettings(
        logs.level_of(options.loglevel),
        logfile,
        app.conf.worker_log_format or PROCESS_FORMAT,
        app.conf.worker_log_datefmt,
        app.log.supports_color(colorize, logfile),
    )
    briefing = briefing_of(app, options, node, log)
    facade.concurrency = briefing.children * briefing.threads
    facade.pool_cls = briefing.pool
    signals.celeryd_after_setup.send(sender=node, instance=facade, conf=app.conf)
    briefing = _with_selected_queues(briefing, app, options, node)
    if not is_again:
        if options.purge:
            _purge(app, briefing.queues)
        if not options.quiet:
            _show(app, node, briefing)
        _say_what_differs(app)
        _say_what_is_unheeded(app)

    run_child = _loaded_for_children(briefing)

    # Slots count by number: 0 is whatever is registered later.
    numbers = {name: number for number, name in enumerate(briefing.tasks, start=1)}

    def start_child(child_options: ChildOptions, slot: Slot) -> int:
        slot.task_numbers = numbers
        return run_child(app, child_options, slot)

    def tell(what: str, facts: Mapping[str, Any]) -> None:
        getattr(signals, what).send(sender=node if facts else facade, **facts)

    return Prepared(briefing, start_child, tell, AppPanel(app, node).answer)


def _loaded_for_children(briefing: Briefing) -> Callable[[Any, ChildOptions, Slot], int]:
    """Import all that a child needs, so that the children share it and none waits for it.

    msgspec alone, imported at each child's first task, made that one 60 ms late. Gives the
    life of a child.
    """
    # Not at the top: the supervisor imports this room too, and needs none of it.
    from umbel.worker import child, inline, threads  # noqa: F401 - one of them is the loop

    json_forms.read_with_msgspec()
    for url in (briefing.broker_url, briefing.result_url):
        if url:
            opening.load(url)
    return child.run


def _preload_options(app: Any) -> dict[str, Any]:
    # The command line is read before the app is known, so options of its own have their defaults.
    return {
        option.name: option.default for option in app.user_options.get("preload", ()) if option.name
    }


def _app_of(options: WorkerOptions) -> Any:
    if options.app is None:
        from umbel.ports.current import current_app

        app = current_app()
    else:
        app = finding.find_app(options.app)
    app.set_current()
    app.set_default()
    conf = app.conf
    if options.config:
        app.config_from_object(options.config)
    if options.broker:
        conf.broker_url = options.broker
    if options.result_backend:
        conf.result_backend = options.result_backend
    if options.include:
        conf.include = [*(conf.include or ()), *options.include.split(",")]
    return app


def briefing_of(app: Any, options: WorkerOptions, node: str, log: LogSettings) -> Briefing:
    """What the app's settings and the command line ask of the supervisor."""
    conf = app.conf
    pool = _pool_of(options.pool or conf.worker_pool)
    width = _concurrency(options, conf, pool)
    autoscale = _autoscale(options, pool)
    broker_url = app.connections.broker_url(reading=True)
    result_url = app.connections.result_url()
    _refuse_memory(broker_url, result_url)
    broker_options, result_options = app.connections.engine_options()
    _check_rate_limits(app)
    names, queues, fanouts = _queues(app, options, node)
    return Briefing(
        pool=pool,
        children=autoscale[1] if autoscale else width if pool == "prefork" else 1,
        threads=width if pool == "threads" else 1,
        queues=tuple(queues),
        bindings=tuple(tuple(way) for way in app.routing.bindings(names)),
        fanouts=tuple((way.exchange, way.queue, way.routing_key) for way in fanouts),
        broker_url=broker_url,
        result_url=result_url,
        broker_options=broker_options,
        result_options=result_options,
        lease_s=float(conf.worker_lease_seconds),
        beat_s=float(conf.worker_lease_heartbeat),
        sweep_s=float(conf.worker_sweep_interval),
        max_deliveries=int(conf.task_max_deliveries),
        grace_s=float(conf.worker_soft_shutdown_timeout or 0.0),
        log=log,
        max_tasks=_either(options.max_tasks_per_child, conf.worker_max_tasks_per_child),
        max_memory_kib=_either(options.max_memory_per_child, conf.worker_max_memory_per_child),
        time_limit=_either(options.time_limit, conf.task_time_limit),
        soft_time_limit=_either(options.soft_time_limit, conf.task_soft_time_limit),
        prefetch_multiplier=_prefetch_multiplier(options, conf),
        autoscale=autoscale,
        files=reloading.own_files() if options.reload else (),
        start_limit_s=_start_limit_s(conf),
        is_ending_what_is_lost=bool(conf.worker_cancel_long_running_tasks_on_connection_loss),
        events=_event_settings(options, conf),
        tasks=tuple(sorted(app.tasks)),
        control=ControlSettings(
            bool(conf.worker_enable_remote_control),
            conf.control_exchange,
            # One of the app's own is not known where the answers are written.
            conf.task_serializer if conf.task_serializer in _SUPERVISORS else "json",
            tuple(sorted(serializers.content_types(conf.accept_content))),
            bool(conf.worker_pool_restarts),
        ),
    )


def _queues(
    app: Any, options: WorkerOptions, node: str
) -> tuple[list[str], list[str], list[Binding]]:
    """What is consumed: names, those of them that are stored at the broker, the fanouts."""
    names = app.routing.consumed_queues(options.queues, options.exclude_queues)
    if app.conf.worker_direct:
        direct = direct_queue(node)
        app.routing.queues[direct.name] = direct
        names.append(direct.name)
    fanouts = app.routing.fanouts(names)
    queues = app.routing.stored_queues(names)
    if fanouts:
        queues.append(own_queue(node))
    return names, queues, fanouts


def _with_selected_queues(
    briefing: Briefing, app: Any, options: WorkerOptions, node: str
) -> Briefing:
    """The briefing with the queues that receivers of ``celeryd_after_setup`` have chosen."""
    names, queues, fanouts = _queues(app, options, node)
    return briefing._replace(
        queues=tuple(queues),
        bindings=tuple(tuple(way) for way in app.routing.bindings(names)),
        fanouts=tuple((way.exchange, way.queue, way.routing_key) for way in fanouts),
    )


def _event_settings(options: WorkerOptions, conf: Any) -> EventSettings:
    if not serializers.is_known(conf.event_serializer):
        raise ImproperlyConfigured(
            f"event_serializer is {conf.event_serializer!r}, which is no serializer"
        )
    beat_s = float(options.heartbeat_interval or _HEARTBEAT_S)
    return EventSettings(
        of_tasks=options.events or bool(conf.worker_send_task_events),
        heartbeat_s=None if options.without_heartbeat else beat_s,
        exchange=conf.event_exchange,
        serializer=conf.event_serializer,
        is_beat_told=bool(signals.heartbeat_sent.receivers),
    )


def _either(said: Any, setting: Any) -> Any:
    """The command line's word, else the setting; 0 is none, as in Celery."""
    return (said if said is not None else setting) or None


def _start_limit_s(conf: Any) -> float | None:
    # Celery's default of 4 s would end the children of who loads a model at their start; a child
    # that is slow does no harm, because the others work meanwhile.
    if not conf.is_set("worker_proc_alive_timeout") or not conf.worker_proc_alive_timeout:
        return None
    return float(conf.worker_proc_alive_timeout)


def _prefetch_multiplier(options: WorkerOptions, conf: Any) -> int | None:
    if options.prefetch_multiplier is not None:
        return options.prefetch_multiplier or None
    if conf.worker_disable_prefetch:
        return 1
    is_set = conf.is_set("worker_prefetch_multiplier")
    return int(conf.worker_prefetch_multiplier) or None if is_set else None


def _pool_of(wanted: str) -> str:
    if wanted in _POOLS:
        return _POOLS[wanted]
    if wanted in _LATER_POOLS:
        raise NotBuiltYet(f"pool {wanted!r} is not built yet; use -P threads, or prefork")
    raise ImproperlyConfigured(f"pool {wanted!r} is unknown; there are prefork, threads and solo")


def _concurrency(options: WorkerOptions, conf: Any, pool: str) -> int:
    if pool == "solo":
        return 1
    width = options.concurrency or conf.worker_concurrency or os.cpu_count() or 1
    if int(width) < 1:
        raise ImproperlyConfigured(f"concurrency {width}; a worker runs at least one task")
    if int(width) > LANES:
        raise ImproperlyConfigured(
            f"concurrency {width}; one worker runs at most {LANES} tasks at a time: start more"
        )
    return int(width)


def _autoscale(options: WorkerOptions, pool: str) -> tuple[int, int] | None:
    if options.autoscale is None:
        return None
    most, least = options.autoscale
    if pool != "prefork":
        raise ImproperlyConfigured(
            f"--autoscale adds and removes processes, and the {pool} pool has one: use -P prefork, "
            "or a fixed -c"
        )
    if not 0 <= least <= most <= LANES or not most:
        raise ImproperlyConfigured(
            f"--autoscale={most},{least}: wanted max,min with 0 <= min <= max <= {LANES}"
        )
    return most, least


def _refuse_memory(broker_url: str, result_url: str | None) -> None:
    for setting, url in (("broker_url", broker_url), ("result_backend", result_url or "")):
        if url.startswith("memory:"):
            raise ImproperlyConfigured(
                f"{setting} is {url}, which lives inside one process; a worker has several. "
                "Use sqlite:// or redis://; for tests there is umbel.testing"
            )


def _check_rate_limits(app: Any) -> None:
    for name, task in app.tasks.items():
        try:
            rates.per_second(task.rate_limit)
        except ValueError as error:
            raise ImproperlyConfigured(f"task {name}: {error}") from error


def _purge(app: Any, queues: tuple[str, ...]) -> None:
    broker = app.open_pair().broker
    number = sum(broker.purge(queue) for queue in queues)
    broker.close()
    if number:
        _print(f"purge: Erased {number} {'message' if number == 1 else 'messages'}.\n")


def _show(app: Any, node: str, briefing: Briefing) -> None:
    level = briefing.log.level
    names = (name for name in app.tasks if level <= logging.DEBUG or not _is_builtin(name))
    result_url = briefing.result_url
    consumed = [name for name in briefing.queues if not is_own_queue(name)]
    consumed += [queue for _, queue, _ in briefing.fanouts if queue not in consumed]
    facts = banner.Facts(
        node=node,
        app=f"{app.main or '__main__'}:{id(app):#x}",
        transport=address(briefing.broker_url),
        results=address(result_url) if result_url else "disabled://",
        concurrency=_width(briefing),
        pool=briefing.pool,
        queues=tuple(_queue_line(app.routing.queue(name)) for name in consumed),
        tasks=tuple(names) if level <= logging.INFO else (),
        events=briefing.events.of_tasks,
    )
    _print(banner.text(facts, datetime.now()))


def _width(briefing: Briefing) -> str:
    if briefing.autoscale is not None:
        most, least = briefing.autoscale
        return f"{{min={least}, max={most}}}"
    return str(briefing.children * briefing.threads)


def _queue_line(queue: Any) -> str:
    exchange = queue.exchange
    return banner.queue_line(queue.name, exchange.name, exchange.type, queue.routing_key)


def _is_builtin(name: str) -> bool:
    return name.startswith(("celery.", "umbel."))


def _say_what_differs(app: Any) -> None:
    # Celery's default loses tasks; who relies on "at most once" must hear of ours.
    has_chosen = app.conf.is_set("task_acks_late") or any(
        not isinstance(inspect.getattr_static(task, "acks_late", None), FromSetting)
        for name, task in app.tasks.items()
        if not _is_builtin(name)
    )
    if not has_chosen:
        logger.info(
            "Tasks are acknowledged when they have ended, so that none is lost; a task whose "
            "process dies runs again. For Celery's default, at most once, set "
            "task_acks_late = False, or acks_late=False on a task."
        )


def _say_what_is_unheeded(app: Any) -> None:
    if asked := unheeded(app):
        logger.warning("Has no effect: %s", "; ".join(asked), extra={"event": "worker-unheeded"})
    if tuned := needless(app):
        logger.info("Needs no setting: %s", "; ".join(tuned), extra={"event": "worker-needless"})


def _print(text: str) -> None:
    # Not sys.stdout, which may write to the log by now.
    if sys.__stdout__ is not None:
        sys.__stdout__.write(text)
        sys.__stdout__.flush()
