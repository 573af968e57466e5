"""``app.conf``: the settings of one app, from wherever they were given.

Layers, the first that has a name wins: what was set on ``conf`` itself or given to the constructor,
the configuration source (module, object, dictionary), ``add_defaults``, and the defaults of
``settings.py``. The source is read when the first setting is, so that an app can be made before
its configuration can be imported. Then all layers lie merged in ``__dict__``: reading a setting is
reading an attribute. ``revision`` grows with each change; what is worked out from settings
compares it.

``CELERY_BROKER_URL`` and ``CELERY_RESULT_BACKEND`` win over every layer, as in Celery.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from types import ModuleType
from typing import Any

from umbel.app.finding import look_here_too
from umbel.app.settings import DEFAULTS, NEW_NAMES, SETTINGS, is_secret, nearest
from umbel.model.errors import ImproperlyConfigured

HIDDEN = "********"
# Django's own time zone is that of an app without one, as in Celery.
DJANGO_ZONE = "TIME_ZONE"
_PLAIN = (str, bytes, int, float, list, tuple, dict, set, frozenset, type(None))


def new_name(name: str) -> str:
    """The lowercase name of a setting; names that nobody knows stay as they are."""
    return NEW_NAMES.get(name) or name


class Settings:
    """The settings; attributes and items are the same thing, under old and new names."""

    # All but the merged settings themselves, which lie in __dict__.
    __slots__ = (
        "__dict__", "_changes", "_defaults", "_is_loading", "_on_load", "_source", "_source_names",
        "revision",
    )  # fmt: skip

    _changes: dict[str, Any]
    _defaults: list[Mapping[str, Any] | Callable[[], Mapping[str, Any]]]
    _on_load: Callable[[Callable[[], None]], None]
    revision: int

    def __init__(
        self,
        changes: Mapping[str, Any],
        on_load: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        hold = object.__setattr__
        hold(self, "_changes", {})
        hold(self, "_defaults", [])
        hold(self, "_source", None)
        hold(self, "_source_names", {})
        hold(self, "_is_loading", False)
        # Called with a function that loads: the app sends its signals around it.
        hold(self, "_on_load", on_load or (lambda load: load()))
        hold(self, "revision", 0)
        self._changes.update((new_name(name), value) for name, value in changes.items())

    # - Reading

    def __getattr__(self, name: str) -> Any:
        # Only reached for what is not in __dict__: before loading, old names, unknown names.
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._find(name)
        except KeyError:
            raise AttributeError(f"no setting {name!r}{_did_you_mean(name, ())}") from None

    def __getitem__(self, name: str) -> Any:
        if name in _FROM_ENVIRONMENT:
            return getattr(self, name)
        return self._find(name)

    def _find(self, name: str) -> Any:
        self._ensure_loaded()
        settings = self.__dict__
        if name in settings:
            return settings[name]
        return settings[new_name(name)]

    def get(self, key: str, default: Any = None) -> Any:
        """The setting, or the default."""
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, name: object) -> bool:
        self._ensure_loaded()
        return isinstance(name, str) and new_name(name) in self.__dict__

    def __iter__(self) -> Iterator[str]:
        self._ensure_loaded()
        return iter(list(self.__dict__))

    def __len__(self) -> int:
        self._ensure_loaded()
        return len(self.__dict__)

    def keys(self) -> KeysView[str]:
        """Names of all settings."""
        self._ensure_loaded()
        return self.__dict__.keys()

    def values(self) -> ValuesView[Any]:
        """Values of all settings."""
        self._ensure_loaded()
        return self.__dict__.values()

    def items(self) -> ItemsView[str, Any]:
        """(name, value) of all settings."""
        self._ensure_loaded()
        return self.__dict__.items()

    def is_set(self, name: str) -> bool:
        """Whether the user has given this setting, wherever."""
        self._ensure_loaded()
        if name in self._changes or name in self._source_names:
            return True
        return any(name in _evaluated(layer) for layer in self._defaults)

    def first(self, *names: str) -> Any:
        """The first of these settings that is not None."""
        return next((value for name in names if (value := self.get(name)) is not None), None)

    @property
    def broker_url(self) -> Any:
        """Where messages go; None where nothing was said."""
        return os.environ.get("CELERY_BROKER_URL") or self._find("broker_url")

    @property
    def broker_read_url(self) -> Any:
        """Where workers read, if elsewhere."""
        return os.environ.get("CELERY_BROKER_READ_URL") or self._find("broker_read_url")

    @property
    def broker_write_url(self) -> Any:
        """Where producers write, if elsewhere."""
        return os.environ.get("CELERY_BROKER_WRITE_URL") or self._find("broker_write_url")

    @property
    def result_backend(self) -> Any:
        """Where results are kept; None where nothing was said."""
        return os.environ.get("CELERY_RESULT_BACKEND") or self._find("result_backend")

    # - Writing

    def __setattr__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        del self._changes[new_name(name)]
        self._refresh()

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The setting; set to ``default`` where nobody has given it."""
        if not self.is_set(new_name(key)):
            self[key] = default
        return self[key]

    def pop(self, key: str, *default: Any) -> Any:
        """Take back what was set here, and give it. Raises ``KeyError`` without a default."""
        found = self._changes.pop(new_name(key), *default)
        self._refresh()
        return found

    def copy(self) -> dict[str, Any]:
        """All settings, as a dictionary."""
        return dict(self.items())

    def without_defaults(self) -> dict[str, Any]:
        """What was given, as a dictionary."""
        return {name: value for name, value in self.items() if self.is_set(name)}

    def get_by_parts(self, *parts: str) -> Any:
        """The setting whose name is made of these: ``get_by_parts("task", "serializer")``."""
        return self["_".join(part for part in parts if part)]

    def update(self, *mappings: Any, **named: Any) -> None:
        """Set several. A name that looks misspelt raises ``ImproperlyConfigured``."""
        given = {**dict(*mappings), **named}
        _refuse_misspelt(given)
        changed = {new_name(name): value for name, value in given.items()}
        self._changes.update(changed)
        if self.is_loaded:
            self.__dict__.update(changed)
        object.__setattr__(self, "revision", self.revision + 1)

    def add_defaults(self, layer: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Set what holds where nothing else was given; a function is called when needed."""
        self._defaults.append(layer)
        self._refresh()

    def use(self, source: Any, namespace: str | None, *, silent: bool) -> None:
        """Read from a module name, an object or a dictionary, in place of the last one.

        What was set on ``conf`` after it was first read is forgotten, as Celery documents.
        """
        object.__setattr__(self, "_source", (source, namespace, silent))
        self._refresh()

    # - Loading

    @property
    def is_loaded(self) -> bool:
        """Whether the source has been read."""
        return bool(self.__dict__)

    def _refresh(self) -> None:
        self.__dict__.clear()
        object.__setattr__(self, "revision", self.revision + 1)

    def _ensure_loaded(self) -> None:
        # While the app's own receivers run they may read what there is: no second load.
        if not self.__dict__ and not self._is_loading:
            object.__setattr__(self, "_is_loading", True)
            try:
                self._on_load(self._load)
            finally:
                object.__setattr__(self, "_is_loading", False)
        elif not self.__dict__:
            self._load()

    def _load(self) -> None:
        given: dict[str, Any] = {}
        if self._source is not None:
            source, namespace, silent = self._source
            given = read_source(source, namespace, silent=silent)
            _refuse_misspelt(given)
        _refuse_misspelt(self._changes)
        names = {new_name(name): value for name, value in given.items()}
        object.__setattr__(self, "_source_names", names)
        merged = dict(DEFAULTS)
        for layer in self._defaults:
            merged.update((new_name(name), value) for name, value in _evaluated(layer).items())
        zone = names.pop(DJANGO_ZONE, None)
        merged.update(names)
        merged.update(self._changes)
        if merged["timezone"] is None:
            merged["timezone"] = zone
        self.__dict__.clear()
        self.__dict__.update(merged)
        object.__setattr__(self, "revision", self.revision + 1)

    # - Showing

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """The settings as a dictionary; secrets are hidden unless told otherwise."""
        shown = {
            name: value
            for name, value in sorted(self.items())
            if with_defaults or self.is_set(name)
        }
        for name in _FROM_ENVIRONMENT:
            if (value := getattr(self, name)) is not None:
                shown[name] = value
        if not censored:
            return shown
        return {name: _censored(name, value) for name, value in shown.items()}

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """The settings as text, a line each."""
        table = self.table(with_defaults, censored)
        return "\n".join(f"{name}: {value!r}" for name, value in table.items())

    def __repr__(self) -> str:
        return f"<Settings: {self.table()!r}>"


_FROM_ENVIRONMENT = ("broker_url", "broker_read_url", "broker_write_url", "result_backend")


def _evaluated(layer: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    return layer() if callable(layer) else layer


def _censored(name: str, value: Any) -> Any:
    if value is not None and is_secret(name):
        return HIDDEN
    if isinstance(value, Mapping):
        return {key: _censored(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)([_censored(name, inner) for inner in value])
    if isinstance(value, str) and "://" in value:
        # Not at the top: only reports need it.
        from umbel.engines.opening import censored

        return censored(value)
    return value


# - Sources


def read_source(source: Any, namespace: str | None, *, silent: bool = False) -> dict[str, Any]:
    """The settings that an object, a dictionary or a module (by name) holds, by their own names."""
    if isinstance(source, str):
        try:
            source = _named_object(source)
        except ImportError as error:
            if silent:
                return {}
            raise ImportError(
                f"the configuration {source!r} can't be imported: {error}. Give a module, or"
                " 'module:attribute'"
            ) from error
    if isinstance(source, Mapping):
        given = {str(name): source[name] for name in source}
    else:
        names = [name for name in dir(source) if not name.startswith("_")]
        if namespace:
            # Reading the others may cost something: Django warns of some of its own.
            prefix = namespace.upper() + "_"
            names = [name for name in names if name.upper().startswith(prefix)]
            names += [DJANGO_ZONE] if hasattr(source, DJANGO_ZONE) else []
        given = {
            name: value
            for name in names
            if _could_be_setting(name, value := getattr(source, name, None))
        }
    return _without_prefix(given, namespace) if namespace else given


def _named_object(name: str) -> Any:
    look_here_too()
    module, _, attribute = name.partition(":")
    if attribute:
        return getattr(importlib.import_module(module), attribute)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        parent, _, last = module.rpartition(".")
        # 'proj.config.Production' names a class; a module that is there but broken does not.
        if not parent or error.name not in (module, parent):
            raise
        holder = importlib.import_module(parent)
        if not hasattr(holder, last):
            raise
        return getattr(holder, last)


def _could_be_setting(name: str, value: Any) -> bool:
    # A configuration module has imports and functions too, which are nobody's settings.
    if new_name(name) in SETTINGS or name.upper().startswith("CELERY_"):
        return not isinstance(value, ModuleType)
    return isinstance(value, _PLAIN)


def _without_prefix(given: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    prefix = namespace.upper() + "_"
    found = {name: given[name] for name in (DJANGO_ZONE,) if name in given}
    for name, value in given.items():
        if not name.upper().startswith(prefix):
            continue
        short = name[len(prefix) :].lower()
        # CELERY_ACKS_LATE is an old name and no setting of the namespace: read it all the same.
        if short not in SETTINGS and NEW_NAMES.get(name):
            short = NEW_NAMES[name]
        found[short] = value
    return found


def _refuse_misspelt(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in SETTINGS or name in NEW_NAMES or callable(value):
            continue
        if name != name.lower() and not name.startswith(("CELERY", "BROKER_")):
            continue
        if hint := _did_you_mean(name, given):
            raise ImproperlyConfigured(f"there is no setting {name!r}{hint}")


def _did_you_mean(name: str, given: Mapping[str, Any] | tuple[str, ...]) -> str:
    match = nearest(name, given)
    return f"; did you mean {match!r}?" if match else ""
