"""Django beside an app: set up before its tasks are imported, its connections kept to one task.

Loaded for an app that is made while ``DJANGO_SETTINGS_MODULE`` is set. It promises what Celery's
documentation does (https://docs.celeryq.dev/en/stable/django/first-steps-with-django.html), and one
thing more: no database connection is open across a fork. The nursery closes its own before each
fork, and a child forgets, without a word on the wire, what it should find all the same.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import warnings
from typing import Any

from umbel.app import signals
from umbel.app.finding import look_here_too
from umbel.app.task import Task
from umbel.model.errors import FixupWarning, ImproperlyConfigured

logger = logging.getLogger(__name__)

# Connections that a parent process had opened: held, so that no destructor speaks on them here.
_inherited: list[Any] = []


class DjangoTask(Task):
    """The base of tasks in a Django project: they can wait for the transaction to commit."""

    abstract = True

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """``delay`` when the current transaction commits; at once where there is none.

        Gives nothing: until then there is no message, and so no id.
        """
        self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(self, *args: Any, **kwargs: Any) -> None:
        """``apply_async`` when the current transaction commits; at once where there is none."""
        transaction = importlib.import_module("django.db.transaction")
        transaction.on_commit(functools.partial(self.apply_async, *args, **kwargs))


def fixup(app: Any, env: str = "DJANGO_SETTINGS_MODULE") -> DjangoFixup | None:
    """Prepare ``app`` for Django, where the environment names its settings."""
    settings = os.environ.get(env)
    if not settings:
        return None
    try:
        importlib.import_module("django")
    except ImportError:
        warnings.warn(
            FixupWarning(f"{env} is {settings!r}, and Django is not installed: it is left out"),
            stacklevel=2,
        )
        return None
    found = DjangoFixup(app)
    found.install()
    return found


class DjangoFixup:
    """What an app does because it belongs to a Django project."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def install(self) -> None:
        """Connect to the app's life; harmless until a worker starts."""
        look_here_too()
        if self.app.task_cls is Task:
            self.app.task_cls = DjangoTask
        # The app holds this object, so that weak receivers live as long as it does.
        signals.import_modules.connect(self.on_import_modules, sender=self.app)
        signals.worker_init.connect(self.on_worker_init)

    def now(self, utc: bool = False) -> Any:
        """Now, as Django's ``timezone.now`` tells it."""
        return importlib.import_module("django.utils.timezone").now()

    def autodiscover_tasks(self) -> list[str]:
        """The packages of INSTALLED_APPS."""
        return installed_packages()

    def on_import_modules(self, **_signal: Any) -> None:
        """Set Django up, and say what its checks find, before the tasks are imported."""
        importlib.import_module("django").setup()
        if os.environ.get("CELERY_SKIP_CHECKS"):
            return
        checks = importlib.import_module("django.core.checks")
        for message in checks.run_checks():
            if not message.is_silenced():
                # As Django does, we go on: a check is no proof that a task would fail.
                logger.log(message.level, "Django's checks: %s", message)

    def on_worker_init(self, sender: Any = None, **_signal: Any) -> None:
        """A worker of this app starts: keep connections to one task."""
        if getattr(sender, "app", self.app) is not self.app:
            return
        signals.worker_before_create_process.connect(self.close_all)
        signals.worker_process_init.connect(self.on_worker_process_init)
        signals.task_prerun.connect(self.on_task_prerun)
        signals.task_postrun.connect(self.on_task_postrun)

    def close_all(self, **_signal: Any) -> None:
        """Close what this process has opened, for it is about to fork."""
        for connection in _connections().all(initialized_only=True):
            connection.close()
            if hasattr(connection, "close_pool"):
                # With OPTIONS["pool"] closing gives back only; the pool's threads do not fork.
                connection.close_pool()

    def on_worker_process_init(self, **_signal: Any) -> None:
        """Forget connections of the parent: to close them would speak in its name."""
        connections = _connections()
        for wrapper in connections.all(initialized_only=True):
            _inherited.append(wrapper)
            del connections[wrapper.alias]

    def on_task_prerun(self, sender: Any = None, **_signal: Any) -> None:
        """Close connections that are older than CONN_MAX_AGE, or broken."""
        if not sender.request.is_eager:
            importlib.import_module("django.db").close_old_connections()

    def on_task_postrun(self, sender: Any = None, **_signal: Any) -> None:
        """The same, and let caches go: what a request's end does in Django."""
        if not sender.request.is_eager:
            importlib.import_module("django.db").close_old_connections()
            importlib.import_module("django.core.cache").close_caches()


def installed_packages() -> list[str]:
    """The packages of INSTALLED_APPS. Raises ``ImproperlyConfigured`` without a project."""
    if "DJANGO_SETTINGS_MODULE" not in os.environ:
        raise ImproperlyConfigured(
            "autodiscover_tasks() without packages asks Django, and DJANGO_SETTINGS_MODULE is not"
            " set: name the packages"
        )
    apps = importlib.import_module("django.apps").apps
    return [config.name for config in apps.get_app_configs()]


def _connections() -> Any:
    return importlib.import_module("django.db").connections
