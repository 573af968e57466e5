"""Names of modules, objects, nodes and bytes: functions of ``celery.utils`` and ``kombu.utils``.

umbel itself has no use for them; they are here so that an import line from a Celery program goes
on working. Each does what its namesake is documented to do, and nothing beyond.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from umbel.app.registry import task_name
from umbel.compat.texts import simple_format
from umbel.model.ids import hostname as hostname_here


def try_import(module: str, default: Any = None) -> Any:
    """A module, or ``default`` where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return default


def noop(*_args: Any, **_kwargs: Any) -> None:
    """Do nothing."""


def nodename(name: str, hostname: str) -> str:
    """``name@hostname``."""
    return f"{name}@{hostname}"


def nodesplit(name: str) -> tuple[str | None, str]:
    """The name and the host of a node."""
    before, at, host = name.partition("@")
    return (before, host) if at else (None, before)


def anon_nodename(hostname: str | None = None, prefix: str = "gen") -> str:
    """A name for a node that nobody has named: ``gen4711@host``."""
    return nodename(f"{prefix}{os.getpid()}", hostname or hostname_here())


def host_format(s: str, host: str | None = None, name: str | None = None, **extra: Any) -> str:
    """Text with ``%h`` (host), ``%n`` (name) and ``%d`` (domain) put in."""
    host = host or hostname_here()
    short, _, domain = host.partition(".")
    return simple_format(s, {"h": host, "n": name or short, "d": domain, **extra})


def node_format(s: str, name: str, **extra: Any) -> str:
    """Text with the parts of a node's name put in."""
    before, host = nodesplit(name)
    return host_format(s, host, before, p=name, **extra)


def symbol_by_name(
    name: Any,
    aliases: Mapping[str, str] | None = None,
    imp: Callable[..., Any] | None = None,
    package: str | None = None,
    sep: str = ".",
    default: Any = None,
    **kwargs: Any,
) -> Any:
    """The object behind ``module.name`` or ``module:name``; what is no text is given back.

    Raises ``ImportError`` or ``AttributeError`` where there is none and no ``default``.
    """
    if not isinstance(name, str):
        return name
    name = (aliases or {}).get(name, name)
    module, _, attribute = name.rpartition(":" if ":" in name else sep)
    if not module:
        module, attribute = (package or "", attribute) if package else (attribute, "")
    try:
        found = (imp or importlib.import_module)(module, package=package, **kwargs)
        return getattr(found, attribute) if attribute else found
    except (ImportError, AttributeError):
        if default is None:
            raise
        return default


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """An instance of the class behind a name."""
    return symbol_by_name(name)(*args, **kwargs)


def qualname(obj: Any) -> str:
    """``module.name`` of a class or an instance's class."""
    kind = obj if hasattr(obj, "__name__") else type(obj)
    return f"{kind.__module__}.{kind.__qualname__}"


def gen_task_name(app: Any, name: str, module_name: str) -> str:
    """The automatic name of a task."""
    return task_name(app.main, name, module_name or "__main__")


@contextmanager
def cwd_in_path() -> Iterator[None]:
    """Let the working directory be searched for modules."""
    directory = os.getcwd()
    if directory in sys.path:
        yield
        return
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        sys.path.remove(directory)


def import_from_cwd(module: str, imp: Any = None, package: str | None = None) -> Any:
    """Import a module, looking in the working directory as well."""
    with cwd_in_path():
        return (imp or importlib.import_module)(module, package=package)


def reload_from_cwd(module: Any, reloader: Callable[[Any], Any] | None = None) -> Any:
    """Import a module anew, looking in the working directory as well."""
    with cwd_in_path():
        return (reloader or importlib.reload)(module)


def module_file(module: Any) -> str:
    """The source file of a module."""
    name: str = module.__file__
    return name.removesuffix("c") if name.endswith(".pyc") else name


def safe_str(value: object, _errors: str = "replace") -> str:
    """Text from text or bytes, never an error."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def safe_repr(value: object, _errors: str = "replace") -> str:
    """The ``repr`` of a value, never an error."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - anybody's __repr__
        return f"<Unrepresentable {type(value).__name__!r}: {error!r}>"


def bytes_to_str(value: Any) -> Any:
    """Text from UTF-8; other values are given back."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def str_to_bytes(value: Any) -> Any:
    """UTF-8 from text; other values are given back."""
    return value.encode() if isinstance(value, str) else value
