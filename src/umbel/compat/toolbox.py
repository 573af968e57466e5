"""Small functions of ``celery.utils`` and ``kombu.utils`` that programs import.

umbel itself has no use for them; they are here so that an import line from a Celery program goes
on working. Each does what its namesake is documented to do, and nothing beyond.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import islice
from typing import Any, TypeVar

from umbel.app.rates import per_second
from umbel.model.clock import parse_iso8601

T = TypeVar("T")


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


def chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """Lists of up to ``size`` items of an iterator."""
    while part := list(islice(items, size)):
        yield part


def is_list(value: object) -> bool:
    """Whether a value is iterable and neither a mapping nor text."""
    return isinstance(value, Iterable) and not isinstance(value, Mapping | str | bytes)


def maybe_list(value: Any) -> Any:
    """The value itself where it is a list or None, else a list of it."""
    return value if value is None or is_list(value) else [value]


def first(predicate: Callable[[T], object] | None, items: Iterable[T]) -> T | None:
    """The first item for which the predicate holds (without one: the first that is not None)."""
    for item in items:
        if predicate(item) if predicate else item is not None:
            return item
    return None


def uniq(items: Iterable[T]) -> Iterator[T]:
    """The items in order, each once."""
    return iter(dict.fromkeys(items))


def dictfilter(mapping: Mapping[Any, Any] | None = None, **more: Any) -> dict[Any, Any]:
    """A dictionary less the values that are None."""
    return {key: value for key, value in {**(mapping or {}), **more}.items() if value is not None}


def symbol_by_name(name: Any, aliases: Mapping[str, str] | None = None, **_options: Any) -> Any:
    """The object behind ``module.name`` or ``module:name``; what is no text is given back."""
    if not isinstance(name, str):
        return name
    name = (aliases or {}).get(name, name)
    module, _, attribute = name.replace(":", ".").rpartition(".")
    return getattr(importlib.import_module(module), attribute) if module else sys.modules[attribute]


def instantiate(name: Any, *args: Any, **kwargs: Any) -> Any:
    """An instance of the class behind a name."""
    return symbol_by_name(name)(*args, **kwargs)


def qualname(value: Any) -> str:
    """``module.name`` of a class or an instance's class."""
    kind = value if hasattr(value, "__name__") else type(value)
    return f"{kind.__module__}.{kind.__name__}"


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


def import_from_cwd(module: str, _imp: Any = None, package: str | None = None) -> Any:
    """Import a module, looking in the working directory as well."""
    with cwd_in_path():
        return importlib.import_module(module, package)


def strtobool(term: Any) -> Any:
    """True or False for ``yes``, ``on``, ``1``, ``no``...; what is no text is given back."""
    if not isinstance(term, str):
        return term
    word = term.lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise TypeError(f"cannot coerce {term!r} to type bool")


def truncate(text: str, maxlen: int = 128, suffix: str = "...") -> str:
    """Text of at most ``maxlen`` characters, cut at a word."""
    if maxlen and len(text) >= maxlen:
        return text[:maxlen].rsplit(" ", 1)[0] + suffix
    return text


def indent(text: str, indent: int = 0, sep: str = "\n") -> str:
    """Each line moved to the right."""
    return sep.join(" " * indent + line for line in text.split(sep))


def pluralize(number: float, text: str, suffix: str = "s") -> str:
    """``text``, with ``suffix`` unless there is one of it."""
    return text if number == 1 else text + suffix


def str_to_list(text: Any) -> Any:
    """The parts of a text between commas."""
    return text.split(",") if isinstance(text, str) else text


def dedent(text: str, sep: str = "\n") -> str:
    """Text less its common indentation."""
    return textwrap.dedent(text.strip(sep))


def maybe_iso8601(value: datetime | str | None) -> datetime | None:
    """A date from its ISO 8601 text; a date or None is given back."""
    if isinstance(value, str):
        return parse_iso8601(value) if value else None
    return value


def maybe_timedelta(value: float | timedelta) -> timedelta:
    """A duration from a number of seconds."""
    return value if isinstance(value, timedelta) else timedelta(seconds=value)


def is_naive(value: datetime) -> bool:
    """Whether a date has no time zone."""
    return value.tzinfo is None or value.tzinfo.utcoffset(value) is None


def make_aware(value: datetime, zone: tzinfo) -> datetime:
    """A naive date, in a zone."""
    return value.replace(tzinfo=zone)


def maybe_make_aware(
    value: datetime, zone: tzinfo | None = None, naive_as_utc: bool = True
) -> datetime:
    """A date with a time zone: its own, else ``zone``, else UTC."""
    if not is_naive(value):
        return value
    if zone is None and not naive_as_utc:
        return value.astimezone()
    return value.replace(tzinfo=zone or UTC)


def localize(value: datetime, zone: tzinfo) -> datetime:
    """An aware date, told in another zone."""
    return value.astimezone(zone)


def to_utc(value: datetime) -> datetime:
    """A naive date, as UTC."""
    return value.replace(tzinfo=UTC)


def rate(text: Any) -> float:
    """Tasks per second from ``10/s``, ``100/m``, ``1000/h`` or a number."""
    return per_second(text)


def get_exponential_backoff_interval(
    factor: int, retries: int, maximum: int, full_jitter: bool = False
) -> int:
    """Seconds to wait before retry number ``retries``."""
    wait = min(maximum, factor * (1 << max(0, retries)))
    if full_jitter:
        wait = random.randrange(wait + 1)
    return max(0, wait)


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
