"""``@shared_task``: tasks of libraries, which belong to whatever apps there are.

The decorator leaves word here; each app makes its own task of it when it is finalized. What the
decorator gives is a stand-in for the current app's task.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from umbel.app.decorating import TaskDecorator
from umbel.app.proxy import Proxy
from umbel.app.registry import task_name
from umbel.ports.current import current_app

# With whether the task is a function's local one, which does not outlive a test.
_makers: list[tuple[Callable[[Any], Any], bool]] = []
_apps: weakref.WeakSet[Any] = weakref.WeakSet()


def _shared_task(*args: Any, **options: Any) -> Any:
    """Make a task for every app, with the options of ``app.task``."""

    def decorated(function: Callable[..., Any]) -> Any:
        def make(app: Any) -> Any:
            return app.task_from(function, **options)

        make.__qualname__ = getattr(function, "__qualname__", "")
        at_finalization(make)

        def of_current_app() -> Any:
            app = current_app()
            name = options.get("name")
            if name is None:
                name = task_name(app.main, function.__name__, function.__module__)
            return app.tasks[name]

        return Proxy(of_current_app, name=function.__name__, __doc__=function.__doc__)

    if len(args) == 1 and callable(args[0]) and not options:
        return decorated(args[0])
    if args:
        raise TypeError(f"@shared_task() takes options by name, got {args!r}")
    return decorated


# The checks of the decorator's use are in its type.
shared_task: TaskDecorator = _shared_task


def at_finalization(make: Callable[[Any], Any]) -> None:
    """Call a function with each app that is finalized, and with those that are."""
    _makers.append((make, "<locals>" in getattr(make, "__qualname__", "")))
    for app in list(_apps):
        if app.finalized:
            make(app)


@contextmanager
def forgotten_after() -> Iterator[None]:
    """Forget at the end what local shared tasks were defined in the block: for tests.

    Those of modules stay, for a module that one test has imported is not read again for the next.
    """
    before = len(_makers)
    try:
        yield
    finally:
        _makers[before:] = [maker for maker in _makers[before:] if not maker[1]]


def announce(app: Any) -> None:
    """Let an app know of shared tasks that are still to come."""
    _apps.add(app)


def make_all(app: Any) -> None:
    """Make the shared tasks of an app that is being finalized."""
    for make, _ in list(_makers):
        make(app)
