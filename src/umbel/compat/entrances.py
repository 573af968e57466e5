"""Ways to apps, tasks and nodes by which Celery's modules hand them out beside the front door."""

from __future__ import annotations

from typing import Any, NoReturn

from umbel.app import shared
from umbel.app.proxy import Proxy
from umbel.engines.opening import censored
from umbel.model.queues import Queue, direct_queue
from umbel.model.request import current_request
from umbel.ports.current import current_app
from umbel.wire.preview import preview
from umbel.worker.nodes import node_name

default_app: Any = Proxy(current_app, name="default_app")


def app_or_default(app: Any = None) -> Any:
    """The app that is given, else the current one."""
    return current_app() if app is None else app


def get_current_task() -> Any:
    """The task that runs here, or None."""
    request = current_request()
    return None if request is None else current_app().tasks.get(request.task or "")


def connect_on_app_finalize(callback: Any) -> Any:
    """Call a function of one argument with each app that is finalized; gives the function."""
    shared.at_finalization(callback)
    return callback


def worker_direct(hostname: str | Queue) -> Queue:
    """The queue that only the worker of this name consumes, where it has ``worker_direct``."""
    return direct_queue(hostname)


def default_nodename(hostname: str | None, default_name: str = "celery") -> str:
    """The name of a node: ``celery@host``, or what ``hostname`` says of it."""
    name = hostname or ""
    return node_name(name if name or default_name == "celery" else f"{default_name}@%h")


def saferepr(o: Any, maxlen: int | None = None, maxlevels: int = 3, seen: Any = None) -> str:
    """A value as text of bounded length, secrets hidden; how deep it goes is umbel's to choose."""
    return preview(o, maxlen or 1 << 20)


def appstr(app: Any) -> str:
    """An app's name and address."""
    return f"{app.main or '__main__'} at {id(app):#x}"


def sanitize_url(url: str, mask: str = "**") -> str:
    """A URL without its password."""
    return censored(url)


def reraise(tp: Any, value: BaseException, tb: Any = None) -> NoReturn:
    """Raise an exception with a traceback."""
    if value.__traceback__ is not tb:
        raise value.with_traceback(tb)
    raise value


def find_app(app: Any, symbol_by_name: Any = None, imp: Any = None) -> Any:
    """The app that ``module`` or ``module:name`` names, as ``-A`` does; an app is given back."""
    # Not at the top: hardly any program asks.
    from umbel.app import finding

    return finding.find_app(app) if isinstance(app, str) else app
