"""Which name of Celery, kombu and billiard is which name of umbel: one table, read when needed.

Each entry reads ``module: name name alias=name``. ``NOT_BUILT`` holds the modules that can be
imported but not used, with what to use meanwhile; they answer for all that is below them.
``MISSING`` holds those that can't even be imported, because what imports them is a part of Celery
itself or of a test suite. Everything else under these roots does not exist.
"""

from __future__ import annotations

from functools import cache

MODULES = {
    "celery": """
        umbel: Celery Signature Task bugreport chain chord chunks current_app current_task
            group maybe_signature shared_task signature subtask uuid xmap xstarmap
        umbel.compat.versions: VERSION VERSION_BANNER SERIES __version__ version_info
            version_info_t
    """,
    "celery.__main__": "umbel.cli.main: main",
    "celery._state": """
        umbel: current_app current_task
        umbel.compat.entrances: connect_on_app_finalize get_current_task
            get_current_worker_task=get_current_task
        umbel.ports.current: get_current_app=current_app set_default_app
            _set_current_app=set_current_app
    """,
    "celery.app": """
        umbel: Celery bugreport shared_task
        umbel.compat.entrances: app_or_default default_app
    """,
    "celery.app.amqp": "umbel.app.amqp: AMQP",
    "celery.app.base": "umbel: Celery",
    "celery.app.builtins": "",
    "celery.app.events": "umbel.events.entrance: Events",
    "celery.app.log": "umbel.app.logs: Logging=Logs TaskFormatter",
    "celery.app.registry": "umbel.app.registry: TaskRegistry",
    "celery.app.task": """
        umbel: Task
        umbel.model.request: Context=Request
    """,
    "celery.app.trace": "umbel.app.wrapping: build_tracer task_has_custom trace_ok_t",
    "celery.app.utils": """
        umbel: bugreport
        umbel.app.config: Settings
        umbel.compat.entrances: appstr find_app sanitize_url
    """,
    "celery.beat": "umbel.compat.seams: Scheduler",
    "celery.canvas": """
        umbel: Signature chain chord chunks group maybe_signature signature subtask xmap
            xstarmap
        umbel.canvas.stamping: StampingVisitor
    """,
    "celery.contrib": "",
    "celery.contrib.abortable": """
        umbel.compat.abortable: ABORTED AbortableAsyncResult AbortableTask
    """,
    "celery.contrib.django": "",
    "celery.contrib.django.task": "umbel.app.django: DjangoTask",
    "celery.contrib.pytest": """
        umbel.testing.plugin: celery_app celery_class_tasks celery_config celery_enable_logging
            celery_includes celery_parameters celery_session_app celery_session_worker
            celery_worker celery_worker_parameters celery_worker_pool depends_on_current_app
            pytest_configure use_celery_app_trap
    """,
    "celery.contrib.testing": "",
    "celery.contrib.testing.app": """
        umbel.testing.apps: DEFAULT_TEST_CONFIG TestApp Trap UnitLogging set_trap
            setup_default_app
    """,
    "celery.contrib.testing.manager": "umbel.testing.manager: Manager ManagerMixin Sentinel",
    "celery.contrib.testing.tasks": "umbel.testing.tasks: ping",
    "celery.contrib.testing.worker": """
        umbel.testing.worker: TestWorkController=TestWorker setup_app_for_worker start_worker
            test_worker_started test_worker_starting test_worker_stopped
    """,
    "celery.fixups": "",
    "celery.fixups.django": "umbel.app.django: DjangoFixup fixup",
    "celery.events": """
        umbel.events.dispatcher: Event=event EventDispatcher group_from
        umbel.events.receiver: EventReceiver
    """,
    "celery.events.dispatcher": "umbel.events.dispatcher: EventDispatcher",
    "celery.events.event": "umbel.events.dispatcher: Event=event group_from",
    "celery.events.receiver": "umbel.events.receiver: EventReceiver",
    "celery.events.snapshot": "umbel.events.camera: Polaroid",
    "celery.events.state": """
        umbel.events.picture: State
        umbel.events.sightings: HEARTBEAT_DRIFT_MAX HEARTBEAT_EXPIRE_WINDOW TASK_EVENT_TO_STATE
            Task Worker heartbeat_expires
    """,
    "celery.exceptions": """
        umbel.model.errors: AlreadyRegistered AlwaysEagerIgnored BackendError
            BackendGetMetaError BackendStoreError CDeprecationWarning
            CPendingDeprecationWarning CeleryError CeleryWarning ChordError
            DuplicateNodenameWarning DuplicateTaskNameWarning FixupWarning Ignore
            ImproperlyConfigured
            IncompleteStream InvalidTaskError MaxRetriesExceededError NotConfigured
            NotRegistered OperationalError QueueNotFound Reject Retry RetryTaskError
            SecurityError SecurityWarning SoftTimeLimitExceeded TaskError TaskPredicate
            TaskRevokedError
            Terminated TimeLimitExceeded TimeoutError WorkerLostError WorkerShutdown
            WorkerTerminate
        umbel.compat.entrances: reraise
    """,
    "celery.local": """
        umbel.app.proxy: Proxy
        umbel.compat.toolbox: try_import
    """,
    "celery.registry": "umbel.compat.seams: tasks",
    "celery.result": """
        umbel.results.base: ResultBase
        umbel.results.handle: AsyncResult
        umbel.results.eager: EagerResult
        umbel.results.group: GroupResult ResultSet
        umbel.results.tuples: result_from_tuple
        umbel.results.blocking: allow_join_result assert_will_not_block denied_join_result
            task_join_will_block
    """,
    "celery.schedules": """
        umbel.schedules: BaseSchedule ParseException crontab crontab_parser maybe_schedule
            schedstate schedule solar
    """,
    "celery.security": "umbel.app.securing: setup_security",
    "celery.signals": """
        umbel.app.signals: after_setup_logger after_setup_task_logger after_task_publish
            beat_embedded_init beat_init before_task_publish celeryd_after_setup
            celeryd_init heartbeat_sent import_modules setup_logging task_failure
            task_internal_error task_postrun task_prerun task_received task_rejected
            task_retry task_revoked task_sent task_success task_unknown user_preload_options
            worker_before_create_process worker_init worker_process_init
            worker_process_shutdown worker_ready worker_shutdown worker_shutting_down
            eventlet_pool_apply eventlet_pool_postshutdown eventlet_pool_preshutdown
            eventlet_pool_started
    """,
    "celery.states": """
        umbel.model.states: ALL_STATES EXCEPTION_STATES FAILURE IGNORED NONE_PRECEDENCE PENDING
            PRECEDENCE PROPAGATE_STATES READY_STATES RECEIVED REJECTED RETRY REVOKED STARTED
            SUCCESS UNREADY_STATES precedence state
    """,
    "celery.utils": """
        functools: cached_property
        umbel: uuid gen_unique_id=uuid
        umbel.app.logs: LOG_LEVELS
        umbel.compat.entrances: worker_direct
        umbel.compat.functions: chunks memoize
        umbel.compat.toolbox: gen_task_name get_cls_by_name=symbol_by_name
            get_full_cls_name=qualname import_from_cwd instantiate nodename nodesplit noop
    """,
    "celery.utils.collections": """
        collections: OrderedDict
        umbel.compat.containers: AttributeDict AttributeDictMixin ChainMap DictAttribute
            force_mapping lpmerge
    """,
    "celery.utils.dispatch": "umbel.app.signals: Signal",
    "celery.utils.dispatch.signal": "umbel.app.signals: Signal",
    "celery.utils.iso8601": "umbel.model.clock: parse_iso8601",
    "celery.utils.objects": "umbel.compat.containers: Bunch mro_lookup",
    "celery.utils.functional": """
        umbel.compat.functions: LRUCache chunks dictfilter first firstmethod fun_accepts_kwargs
            is_list lazy mattrgetter maybe maybe_evaluate maybe_list memoize mlazy padlist
            regen uniq
        umbel.compat.toolbox: noop
    """,
    "celery.utils.graph": "umbel.results.graph: CycleError DependencyGraph GraphFormatter",
    "celery.utils.imports": """
        umbel.compat.toolbox: cwd_in_path gen_task_name import_from_cwd instantiate
            module_file qualname reload_from_cwd symbol_by_name
    """,
    "celery.app.control": """
        umbel.app.control: Control=AppControl Inspect=AppInspect
        umbel.control.mailbox: flatten_reply=by_node
    """,
    "celery.worker.control": """
        umbel.control.commands: Panel control_command inspect_command
    """,
    "celery.utils.log": """
        umbel.app.logs: ColorFormatter=ProcessFormatter LOG_LEVELS LoggingProxy get_logger
            get_task_logger mlevel=level_of task_logger
    """,
    "celery.utils.nodenames": """
        umbel.compat.toolbox: anon_nodename host_format node_format nodename nodesplit
        umbel.model.ids: gethostname=hostname
        umbel.compat.entrances: default_nodename worker_direct
    """,
    "celery.utils.saferepr": "umbel.compat.entrances: saferepr",
    "celery.utils.serialization": "umbel.compat.functions: strtobool",
    "celery.utils.text": """
        umbel.compat.texts: abbr abbrtask dedent dedent_initial ensure_newlines ensure_sep
            fill_paragraphs indent join pluralize pretty simple_format str_to_list truncate
    """,
    "celery.utils.time": """
        umbel.compat.times: add_seconds_to_datetime adjust_timestamp delta_resolution ffwd
            get_exponential_backoff_interval humanize_seconds is_naive localize make_aware
            maybe_iso8601 maybe_make_aware maybe_timedelta rate remaining subtract_datetimes
            timezone to_utc utcoffset weekday
    """,
    "kombu": """
        umbel: Exchange Queue uuid
        umbel.model.queues: binding=Binding
        umbel.app.wrapping: Producer
        umbel.compat.versions: VERSION=KOMBU_VERSION __version__=KOMBU_VERSION_TEXT
    """,
    "kombu.common": "umbel: Broadcast uuid",
    "kombu.entity": """
        umbel: Exchange Queue
        umbel.model.queues: binding=Binding
    """,
    "kombu.exceptions": """
        umbel.model.errors: ConnectionError=OperationalError ContentDisallowed DecodeError
            EncodeError KombuError=UmbelError OperationalError SerializationError
            TimeoutError
    """,
    "kombu.serialization": "umbel.wire.serializers: dumps loads register unregister",
    "kombu.utils": """
        functools: cached_property
        umbel: uuid
        umbel.compat.functions: maybe_list
        umbel.compat.toolbox: symbol_by_name
    """,
    "kombu.utils.encoding": "umbel.compat.toolbox: bytes_to_str safe_repr safe_str str_to_bytes",
    "kombu.utils.functional": "umbel.compat.functions: dictfilter is_list maybe_list",
    "kombu.utils.imports": "umbel.compat.toolbox: symbol_by_name",
    "kombu.utils.json": "umbel.wire.json_forms: dumps loads register_type",
    "kombu.utils.objects": "functools: cached_property",
    "kombu.utils.url": "urllib.parse: safequote=quote",
    "kombu.utils.uuid": "umbel: uuid",
    "billiard": """
        umbel.compat.versions: VERSION=BILLIARD_VERSION __version__=BILLIARD_VERSION_TEXT
    """,
    "billiard.einfo": """
        umbel.app.execution: ExceptionInfo
        umbel.compat.seams: ExceptionWithTraceback
    """,
    "billiard.pool": "umbel.worker.workloop: Worker",
    "billiard.exceptions": """
        umbel.model.errors: SoftTimeLimitExceeded Terminated TimeLimitExceeded
            WorkerLostError
    """,
}

_BEAT = (
    "there is no beat yet; let cron or a systemd timer run `umbel -A APP call TASK`, or let"
    " Celery's own beat send to the same Redis"
)
_CONTROL = "commands go through app.control.broadcast and app.control.inspect()"
_POOLS = "use -P prefork, -P threads or -P solo"
_BACKENDS = "use sqlite://, redis:// or memory:// as the result backend"
_TRANSPORT = "umbel has no kombu connections; send tasks, or talk to the broker's own client"
_WORKER = (
    "the worker is built otherwise and has no such parts; signals tell when it starts and stops"
)

_MONITORS = "watch with `umbel events` and `umbel events --dump`"
_SECURITY = "app.setup_security signs and checks messages"
_OWN = "it serves Celery's own parts"

NOT_BUILT = {
    "celery.app.annotations": "set task_annotations",
    "celery.app.autoretry": "autoretry_for is an option of tasks",
    "celery.app.backends": _BACKENDS,
    "celery.app.defaults": "docs/settings.md has the settings; app.conf their values",
    "celery.app.routes": "set task_routes; app.amqp.router says where calls go",
    "celery.apps": _WORKER,
    "celery.backends": _BACKENDS,
    "celery.bootsteps": _WORKER,
    "celery.concurrency": _POOLS,
    "celery.contrib.migrate": "umbel and Celery may share one Redis; no message needs to move",
    "celery.contrib.rdb": "use a debugger that attaches, or run the task with task.apply()",
    "celery.loaders": "name the settings with --config or app.config_from_object",
    "celery.events.cursesmon": _MONITORS,
    "celery.events.dumper": _MONITORS,
    "celery.security.certificate": _SECURITY,
    "celery.security.key": _SECURITY,
    "celery.security.serialization": _SECURITY,
    "celery.security.utils": _SECURITY,
    "celery.utils.abstract": "umbel.Task and umbel.Signature are the classes",
    "celery.utils.annotations": "typing.get_type_hints reads annotations",
    "celery.utils.debug": "use tracemalloc, or py-spy from outside",
    "celery.utils.deprecated": _OWN,
    "celery.utils.quorum_queues": "there are no quorum queues on Redis and SQLite",
    "celery.utils.static": _OWN,
    "celery.utils.sysinfo": "use os.getloadavg, os.cpu_count and shutil.disk_usage",
    "celery.utils.term": "colour text with click.style or rich",
    "celery.utils.threads": "use threading.local and threading.Thread",
    "celery.utils.timer2": "use threading.Timer",
    "celery.platforms": "let the service manager (systemd, a container) do it",
    "celery.worker": _WORKER,
    "kombu.connection": _TRANSPORT,
    "kombu.messaging": _TRANSPORT,
    "kombu.mixins": _TRANSPORT,
    "kombu.pools": _TRANSPORT,
    "kombu.simple": _TRANSPORT,
    "kombu.transport": _TRANSPORT,
}

# Names in modules that are there, without an object of ours behind them.
NOT_BUILT_NAMES = {
    "celery.app": "tasks and apps are pickled by name, and traced by signals",
    "celery.app.amqp": _TRANSPORT,
    "celery.app.trace": "signals tell what becomes of tasks",
    "celery.app.utils": "app.conf.table() shows settings, their secrets hidden",
    "celery.beat": _BEAT,
    "celery.events": "app.events sends and hears events",
    "celery.events.event": "app.events sends and hears events",
    "celery.events.snapshot": "`umbel events --camera` runs a camera",
    "celery.exceptions": "commands of your own are not built yet",
    "celery.local": "functools.cache makes a value once",
    "celery.utils.collections": "collections.deque and functools.lru_cache bound what is kept",
    "celery.utils.functional": "functools.wraps and inspect.signature keep signatures",
    "celery.utils.graph": "result.graph and DependencyGraph.to_dot draw graphs",
    "celery.utils.imports": "importlib.util.find_spec finds modules",
    "celery.utils.log": "logging.getLogger('celery') is the root of the worker's log",
    "celery.utils.objects": _OWN,
    "celery.utils.saferepr": _OWN,
    "celery.utils.serialization": "errors are written as JSON; register_type is for your own",
    "celery.utils.time": "zoneinfo has the zones; timezone.local the machine's",
    "kombu": _TRANSPORT,
    "kombu.common": _TRANSPORT,
}

MISSING = {
    "celery.bin": "commands of your own are not built yet; use a console script of your package",
    "celery.contrib.sphinx": "Sphinx documents tasks as what they are, functions",
    "celery.contrib.testing.mocks": "use memory:// and `start_worker` instead of mocks",
    "kombu.asynchronous": _TRANSPORT,
    "kombu.pidbox": _CONTROL,
}


# Modules whose functions others replace: what is set on them is set where umbel looks.
WRITTEN_THROUGH = frozenset({"celery.app.trace"})


def has_module(name: str) -> bool:
    """Whether ``name`` can be imported."""
    return name in MODULES or _not_built(name) is not None


def is_package(name: str) -> bool:
    """Whether modules may be below ``name``."""
    return name in _children() or _not_built(name) is not None


def children_of(name: str) -> frozenset[str]:
    """The submodules of a module that are named in the tables."""
    return _children().get(name, frozenset())


def instead_of(name: str) -> str | None:
    """What to use for the names that a module does not have; None where they do not exist."""
    return _not_built(name) or NOT_BUILT_NAMES.get(name)


@cache
def targets_of(name: str) -> dict[str, str]:
    """The names of a module, each with ``module:attribute`` of what it stands for."""
    targets = {}
    module = ""
    for word in MODULES.get(name, "").split():
        if word.endswith(":"):
            module = word[:-1]
            continue
        alias, _, original = word.partition("=")
        targets[alias] = f"{module}:{original or alias}"
    return targets


@cache
def _children() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for name in (*MODULES, *NOT_BUILT, *MISSING):
        parent, _, child = name.rpartition(".")
        found.setdefault(parent, set()).add(child)
    return {parent: frozenset(names) for parent, names in found.items()}


def _not_built(name: str) -> str | None:
    while name:
        if name in NOT_BUILT:
            return NOT_BUILT[name]
        name = name.rpartition(".")[0]
    return None
