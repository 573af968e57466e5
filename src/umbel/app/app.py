"""The app: where settings, tasks, routing, publishing and results come together.

It wires rooms and hands on; what it hands on to has the reasons. An app is made before its
settings can be known, so nothing that reads a setting happens in the constructor: settings are
loaded when the first is read, and tasks are final (shared tasks and annotations included) when
somebody first looks at all of them.
https://docs.celeryq.dev/en/stable/reference/celery.html
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from types import TracebackType
from typing import Any, Self, TypeVar, cast, overload

from umbel.app import shared, signals
from umbel.app.access import BrokerAccess
from umbel.app.archive import TaskArchive
from umbel.app.config import Settings
from umbel.app.connections import Connections
from umbel.app.dead import DeadLetters
from umbel.app.decorating import TaskDecorator
from umbel.app.finding import import_named, import_task_modules
from umbel.app.fitting import Fitting
from umbel.app.loader import Loader
from umbel.app.logs import Logs
from umbel.app.making import annotate, named, refuse_attributes, registered
from umbel.app.periodic import PeriodicTasks
from umbel.app.publisher import Publisher
from umbel.app.refusals import is_refused, refusal, refuse_parts
from umbel.app.registry import TaskRegistry, task_name
from umbel.app.routing import Routing
from umbel.app.sending import call_of, sending_request, way_of
from umbel.app.settings import NEW_NAMES, SETTINGS
from umbel.app.signals import Signal
from umbel.app.spelling import refuse_near_misses
from umbel.app.task import Task
from umbel.model import ids
from umbel.model.call import Call
from umbel.model.errors import ImproperlyConfigured
from umbel.model.join import JoinOpening
from umbel.model.lamport import LamportClock
from umbel.ports import current
from umbel.ports.engine import Pair
from umbel.results import group as groups
from umbel.results import handle as handles

T = TypeVar("T")

logger = logging.getLogger(__name__)

# Of the constructor: a misspelt broker= must not end in the SQLite file that is used without one.
_ARGUMENTS = frozenset(
    {
        "autofinalize", "backend", "broker", "changes", "config_source", "include", "namespace",
        "set_as_current", "strict_typing", "task_cls",
    }
)  # fmt: skip


class App(BrokerAccess, Fitting):
    """An application: its settings, its tasks, and the way to its broker and results."""

    task_cls: Any = Task
    on_configure: Any = None  # a signal; a subclass may define a method of this name
    on_after_configure: Any = None
    on_after_finalize: Any = None
    on_after_fork: Any = None

    def __init__(
        self,
        main: str | None = None,
        loader: Any = None,
        backend: str | None = None,
        amqp: Any = None,
        events: Any = None,
        log: Any = None,
        control: Any = None,
        set_as_current: bool = True,
        tasks: TaskRegistry | None = None,
        broker: str | None = None,
        include: Iterable[str] | None = None,
        changes: Mapping[str, Any] | None = None,
        config_source: Any = None,
        fixups: Iterable[Any] | None = None,
        task_cls: Any = None,
        autofinalize: bool = True,
        namespace: str | None = None,
        strict_typing: bool = True,
        config_source_silent: bool = False,
        **kwargs: Any,
    ) -> None:
        refuse_parts(amqp=amqp, events=events, log=log, control=control, loader=loader)
        # What is no argument is a setting, which conf looks at.
        strangers = kwargs.keys() - SETTINGS.keys() - NEW_NAMES.keys()
        refuse_near_misses(strangers, _ARGUMENTS, "Celery()")
        self.main = main
        self.strict_typing = strict_typing
        self.autofinalize = autofinalize
        self.task_cls = task_cls or type(self).task_cls
        self.finalized = False
        given = {"broker_url": broker, "result_backend": backend, "include": include, **kwargs}
        said = {name: value for name, value in given.items() if value is not None}
        self._periodic = PeriodicTasks(self)
        self.conf = Settings({**(changes or {}), **said}, self._configure)
        self.namespace = namespace
        self._use_config(config_source, namespace, silent=config_source_silent)
        self._tasks = TaskRegistry() if tasks is None else tasks
        self._finalizing = threading.RLock()
        self._routing: tuple[int, Routing] | None = None
        self._task_base: Any = None
        self._oid: tuple[int, str] = (0, "")
        self._new_id: tuple[int, Callable[[], str]] | None = None
        self._discoveries: list[Any] = []  # receivers of import_modules, which hold them weakly
        self._make_signals()
        self.connections = Connections(self.conf)
        self.publisher = Publisher(self, self.conf, self._tasks, self.connections)
        self.archive = TaskArchive(self, self.conf, self.connections)
        self.dead = DeadLetters(self.connections, self.conf)  # messages that could not be run
        self._control: Any = None
        self.clock = LamportClock()  # of the events that this process sends and hears
        self.log = self.logs = Logs(self)
        self.loader = Loader(self)
        self.steps: Any = {"worker": set(), "consumer": set()}
        options = ("preload", "worker", "beat", "result", "flower")
        self.user_options: dict[str, set[Any]] = {name: set() for name in options}
        shared.announce(self)
        self._fixups = self._fixed_up(fixups)
        if set_as_current:
            self.set_current()
        self.on_init()

    def _make_signals(self) -> None:
        for name in ("on_configure", "on_after_configure", "on_after_finalize", "on_after_fork"):
            if getattr(type(self), name) is None:
                setattr(self, name, Signal(name=f"app.{name}"))

    def _use_config(self, source: Any, namespace: str | None, *, silent: bool) -> None:
        if source is not None:
            self.conf.use(source, namespace, silent=silent)
        elif "CELERY_CONFIG_MODULE" in os.environ:
            self.conf.use(os.environ["CELERY_CONFIG_MODULE"], namespace, silent=False)

    def _fixed_up(self, fixups: Iterable[Any] | None) -> list[Any]:
        """What was found to prepare this app for: by default Django, where there is a project."""
        if fixups is not None:
            return [named(fixup)(self) for fixup in fixups]
        if "DJANGO_SETTINGS_MODULE" not in os.environ:
            return []
        # Not at the top: most apps know no Django.
        from umbel.app.django import fixup

        return [fixup(self)]

    def on_init(self) -> None:
        """For subclasses: called at the end of the constructor."""

    # - Settings

    def _configure(self, load: Callable[[], None]) -> None:
        if isinstance(self.on_configure, Signal):
            self.on_configure.send(sender=self)
        else:
            self.on_configure()
        load()
        self._periodic.settle()
        self.on_after_configure.send(sender=self, source=self.conf)

    @property
    def configured(self) -> bool:
        """Whether the settings have been loaded."""
        return self.conf.is_loaded

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> None:
        """Read settings from a module (by name), an object or a dictionary.

        Read when the first setting is; ``force`` reads now. ``silent`` ignores a module that
        can't be imported.
        """
        self.conf.use(obj, namespace or self.namespace, silent=silent)
        if force:
            len(self.conf)

    def config_from_envvar(
        self, variable_name: str, silent: bool = False, force: bool = False
    ) -> None:
        """Read settings from the module that an environment variable names."""
        module = os.environ.get(variable_name)
        if not module:
            if silent:
                return
            raise ImproperlyConfigured(
                f"the environment variable {variable_name!r} is not set: it must name the module"
                " with the settings"
            )
        self.config_from_object(module, silent=silent, force=force)

    def add_defaults(self, fun: Any) -> None:
        """Add defaults: a dictionary, or a function that gives one when it is needed."""
        self.conf.add_defaults(fun)

    def either(self, default_key: str, *defaults: Any) -> Any:
        """The first of ``defaults`` that is not None, else the setting."""
        found = next((value for value in defaults if value is not None), None)
        return self.conf.get(default_key) if found is None else found

    @property
    def timezone(self) -> tzinfo:
        """The time zone of the app: ``timezone``, else UTC, else (``enable_utc`` off) the local."""
        given = self.conf.timezone
        if isinstance(given, tzinfo):
            return given
        if given and str(given).upper() != "UTC":
            # Not at the top: most apps are in UTC.
            from zoneinfo import ZoneInfo

            return ZoneInfo(str(given))
        if given or self.conf.enable_utc:
            return UTC
        local = datetime.now().astimezone().tzinfo
        assert local is not None
        return local

    def uses_utc_timezone(self) -> bool:
        """Whether the app's time zone is UTC."""
        return self.timezone is UTC

    def now(self) -> datetime:
        """Now, in the app's time zone."""
        return datetime.now(self.timezone)

    def setup_security(self, *args: Any, **kwargs: Any) -> None:
        """Sign messages and accept signed ones only: see ``securing.setup_security``."""
        # Not at the top: it wants cryptography.
        from umbel.app.securing import setup_security

        setup_security(*args, **{"app": self, **kwargs})

    # - Being the one that is meant

    def set_current(self) -> None:
        """Make this the current app: of this thread, and of threads that have set none."""
        current.set_current_app(self)
        # Celery leaves other threads with an app that has no settings; nobody wants that one.
        current.set_default_app(self)

    def set_default(self) -> None:
        """Make this the app of threads that have set none."""
        current.set_default_app(self)

    # - Tasks

    @property
    def tasks(self) -> TaskRegistry:
        """All tasks, by name; finalizes the app."""
        if not self.finalized:
            self.finalize(auto=True)
        return self._tasks

    def finalize(self, auto: bool = False) -> None:
        """Make the shared and built-in tasks, and apply ``task_annotations``."""
        with self._finalizing:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError("the app is not finalized: call app.finalize() first")
            self.finalized = True
            # Not at the top: they are made with the app's own decorator.
            from umbel.app import builtins

            builtins.register(self)
            shared.make_all(self)
            for task in self._tasks.values():
                annotate(task, self.conf.task_annotations)
            self.publisher.forget_templates()
            self.on_after_finalize.send(sender=self)

    @property
    def Task(self) -> Any:  # noqa: N802 - Celery's name
        """The base class of this app's tasks."""
        if self._task_base is None:
            base = named(self.task_cls)
            facts = {"_app": self, "abstract": True, "__module__": base.__module__}
            self._task_base = type("Task", (base,), facts)
        return self._task_base

    def _task(self, *args: Any, **options: Any) -> Any:
        """Make a task of a function: ``@app.task`` or ``@app.task(bind=True, ...)``."""
        if len(args) == 1 and callable(args[0]):
            return self.task_from(args[0], **options)
        if args:
            raise TypeError(f"@task() takes options by name, got {args!r}")

        def decorated(function: Callable[..., Any]) -> Any:
            return self.task_from(function, **options)

        return decorated

    task: TaskDecorator = cast(TaskDecorator, _task)  # a method, and known by what it promises

    def task_from(self, function: Callable[..., Any], **options: Any) -> Any:
        """The task of a function; the one that is registered already, if there is one."""
        return registered(self, self._tasks, function, options)

    @overload
    def register_task(self, task: type[T], **options: Any) -> T: ...
    @overload
    def register_task(self, task: T, **options: Any) -> T: ...

    def register_task(self, task: Any, **options: Any) -> Any:
        """Add a task object, such as an instance of a task class; gives it."""
        if isinstance(task, type):
            task = task()
        if not task.name:
            kind = type(task)
            task.name = self.gen_task_name(kind.__name__, kind.__module__)
        for name, value in options.items():
            setattr(task, name, value)
        refuse_attributes(task)
        task._app = self
        type(task).on_bound(self)
        self._tasks[task.name] = task
        if self.finalized:
            annotate(task, self.conf.task_annotations)
            self.publisher.forget_templates()
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """The automatic name of a task; for subclasses to override."""
        return task_name(self.main, name, module)

    def add_periodic_task(
        self,
        schedule: Any,
        sig: Any,
        args: Any = (),
        kwargs: Any = (),
        name: str | None = None,
        **opts: Any,
    ) -> str:
        """Add an entry to ``beat_schedule``: a schedule or seconds, and a signature or task."""
        return self._periodic.add(schedule, sig, args, dict(kwargs), name, opts)

    def import_modules(self) -> None:
        """Import what ``imports`` and ``include`` name, and what was to be discovered."""
        for receiver, answer in signals.import_modules.send(sender=self):
            if isinstance(answer, Exception):
                # A task module that breaks must not start a worker without its tasks.
                logger.error("discovering tasks: %r raised", receiver)
                raise answer
        import_named([*_listed(self.conf.imports), *_listed(self.conf.include)])

    def autodiscover_tasks(
        self,
        packages: Iterable[str] | Callable[[], Iterable[str]] | None = None,
        related_name: str | None = "tasks",
        force: bool = False,
    ) -> Any:
        """Import ``tasks`` of each package: when a worker starts, or now with ``force``.

        Without packages: those of the Django project, where there is one.
        """

        def discover(**_signal: Any) -> Any:
            found = packages() if callable(packages) else packages
            if found is None:
                from umbel.app.django import installed_packages

                found = installed_packages()
            return import_task_modules([found] if isinstance(found, str) else found, related_name)

        if force:
            return discover()
        self._discoveries.append(discover)
        signals.import_modules.connect(discover, sender=self)
        return None

    # - Sending

    def new_id(self) -> str:
        """An id for a task or a group, of the kind that the engine likes."""
        made = self._new_id
        if made is None or made[0] != self.conf.revision:
            urls = (self.connections.broker_url(), self.connections.result_url() or "")
            ordered = any(url.startswith("sqlite") for url in urls)
            make = ids.new_ordered_id if ordered else ids.new_id
            made = self._new_id = (self.conf.revision, make)
        return made[1]()

    def send(self, items: Iterable[Call | JoinOpening]) -> None:
        """Publish calls and open joins, in order, in batches."""
        if not self.finalized:
            self.finalize(auto=True)
        self.publisher.send(items)

    def send_task(
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: Any = None,
        eta: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        connection: Any = None,
        router: Any = None,
        result_cls: Any = None,
        expires: Any = None,
        **options: Any,
    ) -> handles.AsyncResult[Any]:
        """Send a call by name, to a task that need not be known here.

        The task's own options are not looked at, and neither is ``task_always_eager``.
        """
        if self.conf.task_always_eager:
            import warnings

            from umbel.model.errors import AlwaysEagerIgnored

            warnings.warn(
                AlwaysEagerIgnored("task_always_eager has no effect on send_task"), stacklevel=2
            )
        options.update(task_id=task_id, countdown=countdown, eta=eta, expires=expires)
        options.update(router=router)
        adds_to_parent = options.pop("add_to_parent", True)
        call = call_of(
            name,
            args if isinstance(args, list | tuple) else list(args or ()),
            kwargs or {},
            self.new_id,
            options,
            inherits_priority=self.conf.task_inherit_parent_priority,
        )
        self.publisher.send_one(call, None, connection or way_of(producer, self))
        result = (result_cls or handles.AsyncResult)(call.id, task_name=name, app=self)
        if adds_to_parent:
            self.add_to_trail(result)
        return result

    def add_to_trail(self, result: Any) -> None:
        """Note a result, as a tuple, as a child of the task that runs here, if one does."""
        request = sending_request()
        if request is not None:
            task = self._tasks.get(request.task or "")
            if task is None or task.trail:
                request.children.append(result.as_tuple())

    def signature(self, *args: Any, **kwargs: Any) -> Any:
        """A signature that belongs to this app."""
        from umbel.canvas.signature import signature

        kwargs["app"] = self
        return signature(*args, **kwargs)

    @property
    def control(self) -> Any:
        """Remote control of workers: ``umbel.control.client.Control``."""
        if self._control is None:
            # Not at the top: 4 ms, and hardly any program that sends tasks asks for it.
            from umbel.app.control import AppControl

            self._control = AppControl(self)
        return self._control

    @property
    def routing(self) -> Routing:
        """Queues and routes, worked out from the settings as they are now."""
        made = self._routing
        if made is None or made[0] != self.conf.revision:
            routing = Routing(self.conf, made[1] if made else None)
            # Reading may have loaded the settings, which counts as a revision.
            made = self._routing = (self.conf.revision, routing)
        return made[1]

    @property
    def oid(self) -> str:
        """An id of this process."""
        if self._oid[0] != os.getpid():
            self._oid = (os.getpid(), ids.new_id())
        return self._oid[1]

    thread_oid = oid

    # - Results

    @property
    def backend(self) -> TaskArchive:
        """Where results are kept."""
        return self.archive

    def AsyncResult(self, id: str, *args: Any, **kwargs: Any) -> handles.AsyncResult[Any]:  # noqa: A002, N802
        """The result of a task, by its id."""
        kwargs.setdefault("app", self)
        return handles.AsyncResult(id, *args, **kwargs)

    @property
    def GroupResult(self) -> Any:  # noqa: N802 - Celery's name
        """The class of group results, for this app."""
        return _OfApp(groups.GroupResult, self)

    def ResultSet(self, results: Iterable[Any], **kwargs: Any) -> groups.ResultSet[Any]:  # noqa: N802
        """Results that are waited for as one."""
        kwargs.setdefault("app", self)
        return groups.ResultSet(results, **kwargs)

    # - Servers

    @property
    def events(self) -> Any:
        """Sending and hearing events: ``Receiver``, ``State``, ``Dispatcher``."""
        # Not at the top: most programs neither send nor hear any.
        from umbel.events.entrance import Events

        return Events(self)

    def open_pair(self) -> Pair:
        """A fresh broker and store, which belong to the caller."""
        return self.connections.open_pair()

    def close(self) -> None:
        """Close connections. The app can be used again, and opens new ones then."""
        self.connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # - The rest

    @property
    def current_task(self) -> Any:
        """The task that runs here, or None."""
        from umbel.model.request import current_request

        request = current_request()
        return None if request is None else self.tasks.get(request.task or "")

    current_worker_task = current_task

    def bugreport(self) -> str:
        """What a bug report should say."""
        from umbel.app.reporting import bugreport

        return bugreport(self)

    def __getattr__(self, name: str) -> Any:
        if is_refused(name):
            raise refusal(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.main or '__main__'} at {id(self):#x}>"


class _OfApp:
    """A result class whose instances belong to one app."""

    def __init__(self, kind: Any, app: App) -> None:
        self._kind = kind
        self._app = app

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._kind(*args, **{"app": self._app, **kwargs})

    def restore(self, id: str, backend: Any = None) -> Any:  # noqa: A002 - Celery's name
        """The group that was saved under ``id``, or None."""
        return self._kind.restore(id, backend, app=self._app)


def _listed(names: Any) -> list[str]:
    if not names:
        return []
    return names.split(",") if isinstance(names, str) else list(names)
