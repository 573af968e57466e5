"""From the words behind ``-A`` to an app, and from package names to modules with tasks.

A module that can't be found is our error, with what was looked for. A module that is found and
breaks while it is imported is the user's: its own traceback comes through as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from umbel.model.errors import ImproperlyConfigured


def find_app(name: str) -> Any:
    """The app that ``module``, ``package`` or ``module:attribute`` names.

    In a module: what ``app`` or ``celery`` is, else the only app in it. In a package also the
    same of its submodule ``celery``. Raises ``ImproperlyConfigured`` where there is none.
    """
    look_here_too()
    module_name, _, attribute = name.partition(":")
    module = _import(module_name)
    if attribute:
        return _attribute(module, attribute)
    if not isinstance(module, ModuleType):
        return module
    found = _app_in(module)
    if found is None and hasattr(module, "__path__"):
        submodule = f"{module.__name__}.celery"
        if importlib.util.find_spec(submodule) is not None:
            found = _app_in(importlib.import_module(submodule))
    if found is None:
        raise ImproperlyConfigured(
            f"module {module_name!r} has no app: looked for 'app', 'celery', and any Celery"
            f" instance. Name it: {module_name}:NAME"
        )
    return found


def look_here_too() -> None:
    """Let modules be found in the working directory, as Celery's programs rely on."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def import_named(names: Iterable[str]) -> None:
    """Import modules by name, each once. Raises ``ImproperlyConfigured`` where one is not there."""
    look_here_too()
    for name in dict.fromkeys(names):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not _is_itself_missing(name, error):
                raise
            raise ImproperlyConfigured(
                f"there is no module {error.name!r}, which include= (or the setting 'include' or"
                f" 'imports') names as {name!r} (looked in {os.getcwd()} and on sys.path)"
            ) from None


def _is_itself_missing(name: str, error: ModuleNotFoundError) -> bool:
    # Else the module is there; something that it imports is not.
    return error.name is not None and (name == error.name or name.startswith(error.name + "."))


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not _is_itself_missing(name, error):
            raise
        parent, _, last = name.rpartition(".")
        if parent and error.name == name:
            # 'proj.celery.app', as Celery reads it too: the last part is an attribute.
            holder = _import(parent)
            if hasattr(holder, last):
                return getattr(holder, last)
        raise ImproperlyConfigured(
            f"there is no module {error.name!r} (looked in {os.getcwd()} and on sys.path)"
        ) from None


def _attribute(module: Any, path: str) -> Any:
    found = module
    for part in path.split("."):
        if not hasattr(found, part):
            raise ImproperlyConfigured(
                f"module {module.__name__!r} has no attribute {part!r}; it has"
                f" {', '.join(_app_names(module)) or 'no app'}"
            )
        found = getattr(found, part)
    if isinstance(found, ModuleType):
        inner = _app_in(found)
        if inner is None:
            raise ImproperlyConfigured(f"module {found.__name__!r} has no app")
        return inner
    return found


def _is_app(value: Any) -> bool:
    # By its doings, not its class: this room is below the one that defines it.
    if not (hasattr(type(value), "send_task") and hasattr(type(value), "finalize")):
        return False
    if not hasattr(type(value), "import_modules"):
        raise ImproperlyConfigured(
            f"{value!r} is an app of Celery itself, not of umbel: import Celery from umbel, or call"
            " umbel.install_as_celery() before celery is imported, or uninstall celery and install"
            " umbel-as-celery"
        )
    return True


def _app_names(module: Any) -> list[str]:
    return [name for name, value in vars(module).items() if _is_app(value)]


def _app_in(module: ModuleType) -> Any | None:
    for name in ("app", "celery"):
        value = getattr(module, name, None)
        if _is_app(value):
            return value
        if isinstance(value, ModuleType) and value.__name__.startswith(module.__name__ + "."):
            inner = _app_in(value)
            if inner is not None:
                return inner
    names = _app_names(module)
    return getattr(module, names[0]) if names else None


def import_task_modules(packages: Iterable[str], related_name: str | None) -> list[ModuleType]:
    """Import ``package.related_name`` of each package that has it (autodiscovery)."""
    look_here_too()
    found = []
    for package in packages:
        module = _related(package, related_name)
        if module is not None:
            found.append(module)
    return found


def _related(package: str, related_name: str | None) -> ModuleType | None:
    if not related_name:
        return importlib.import_module(package)
    try:
        holder = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if not _is_itself_missing(package, error):
            raise
        # 'proj.apps.ShopConfig', as Django lists apps: look beside the class.
        parent = package.rpartition(".")[0]
        if not parent:
            raise
        package, holder = parent, importlib.import_module(parent)
    if not hasattr(holder, "__path__"):
        return None
    name = f"{package}.{related_name}"
    if importlib.util.find_spec(name) is None:
        return None
    return importlib.import_module(name)
