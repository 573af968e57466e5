"""Which app is meant where none is named: the current one of this thread, or the default.

The top of the house registers how a default app is made, so that the rooms below can ask for one
without importing it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_lock = threading.RLock()
_default_app: Any = None
_make_default: Callable[[], Any] | None = None
_thread = threading.local()


def set_default_factory(factory: Callable[[], Any]) -> None:
    """Say how the default app is made when nobody has made one."""
    global _make_default
    _make_default = factory


def set_default_app(app: Any) -> None:
    """Make an app the default of all threads."""
    global _default_app
    _default_app = app


def set_current_app(app: Any) -> None:
    """Make an app the current one of this thread."""
    _thread.app = app


def current_app() -> Any:
    """The current app of this thread, else the default one, which is made where there is none."""
    app = getattr(_thread, "app", None)
    if app is not None:
        return app
    return default_app()


def chosen() -> tuple[Any, Any]:
    """(the current app of this thread, the default one); None where there is none yet."""
    return getattr(_thread, "app", None), _default_app


def swap(app: Any, default: Any) -> tuple[Any, Any]:
    """Set both, None for none, and give what they were: for tests, which put them back."""
    before = chosen()
    set_current_app(app)
    set_default_app(default)
    return before


def default_app() -> Any:
    """The default app, made where there is none."""
    global _default_app
    with _lock:
        if _default_app is None:
            if _make_default is None:
                raise RuntimeError("no app exists: import umbel and create one: Celery('name')")
            _default_app = _make_default()
    return _default_app
