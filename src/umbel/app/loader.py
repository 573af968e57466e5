"""``app.loader``: what libraries ask of Celery's loader, answered by the app itself.

Settings and modules are the app's business here, so there is nothing to exchange or to override;
packages such as django-celery-beat call a few of its methods.
https://docs.celeryq.dev/en/stable/reference/celery.loaders.base.html
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from umbel.app.finding import import_task_modules, look_here_too
from umbel.model.refused import refusing

_OTHERS = """
    cmdline_config_parser default_modules find_module init_worker_process on_process_cleanup
    on_task_init on_worker_init on_worker_process_init on_worker_shutdown override_backends
    read_configuration shutdown_worker task_modules worker_initialized
"""


@refusing("signals tell when workers and tasks start; the app reads settings itself", _OTHERS)
class Loader:
    """One app's settings and modules, under the names of Celery's loader."""

    name = "app"

    def __init__(self, app: Any) -> None:
        self.app = app

    @property
    def conf(self) -> Any:
        """The app's settings."""
        return self.app.conf

    @property
    def configured(self) -> bool:
        """Whether the settings have been loaded."""
        return bool(self.app.configured)

    def now(self, utc: bool = True) -> datetime:
        """Now, in UTC; else as a local date without a time zone."""
        return datetime.now(UTC) if utc else datetime.now()

    def import_default_modules(self) -> None:
        """Import what a worker would: ``imports``, ``include``, what is to be discovered."""
        self.app.import_modules()

    def import_task_module(self, module: str) -> ModuleType:
        """Import one module, looking in the working directory as well."""
        look_here_too()
        return importlib.import_module(module)

    def import_module(self, module: str, package: str | None = None) -> ModuleType:
        """Import one module."""
        return importlib.import_module(module, package)

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> Any:
        """Import one module, looking in the working directory as well."""
        look_here_too()
        return importlib.import_module(module, package)

    def autodiscover_tasks(
        self, packages: Iterable[str], related_name: str | None = "tasks"
    ) -> None:
        """Import ``related_name`` of each package that has it, now."""
        import_task_modules(packages, related_name)

    def config_from_object(self, obj: Any, silent: bool = False) -> bool:
        """Read settings from a module (by name), an object or a dictionary."""
        self.app.config_from_object(obj, silent=silent)
        return True

    @property
    def builtin_modules(self) -> frozenset[str]:
        """Modules that every app imports; there are none."""
        return frozenset()

    def init_worker(self) -> None:
        """Import the default modules."""
        self.import_default_modules()
