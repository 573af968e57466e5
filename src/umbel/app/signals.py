"""The documented signals: where users hook in to what senders and workers do.

Receivers are held weakly unless they ask for ``weak=False``; what they raise is logged and never
reaches the sender. A signal without receivers costs its sender one look at an empty list.
https://docs.celeryq.dev/en/stable/userguide/signals.html
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Any

logger = logging.getLogger(__name__)

Receiver = Callable[..., Any]
_RETRY_PAUSE_MAX_S = 1.0


def _identity(target: Any) -> Any:
    # Task names are compared as text: whoever connects by name may hold another, equal, string.
    if target is None or isinstance(target, str | bytes):
        return target
    function = getattr(target, "__func__", None)
    if function is not None:
        return (id(target.__self__), id(function))
    return id(target)


class Signal:
    """Something that happens, and who wants to know."""

    def __init__(
        self,
        providing_args: Iterable[str] | None = None,
        use_caching: bool = False,
        name: str | None = None,
    ) -> None:
        self.providing_args = set(providing_args or ())
        self.name = name
        # (key, strong or weak reference, is weak). Replaced as a whole, so that a sender that
        # iterates never sees a half-made change. Truth of this list is the senders' fast path.
        self.receivers: list[tuple[tuple[Any, Any], Any, bool]] = []
        self._lock = threading.Lock()

    def connect(self, *args: Any, **options: Any) -> Any:
        """Connect a receiver; also a decorator, with and without arguments.

        ``sender``, ``weak`` (True), ``dispatch_uid``, ``retry``: call the receiver again, with
        growing pauses, until it returns.
        """
        if args and callable(args[0]):
            receiver: Receiver = args[0]
            sender = args[1] if len(args) > 1 else options.pop("sender", None)
            self._add(receiver, sender, **options)
            return receiver

        def connected(receiver: Receiver) -> Receiver:
            sender = args[0] if args else options.get("sender")
            rest = {name: value for name, value in options.items() if name != "sender"}
            self._add(receiver, sender, **rest)
            return receiver

        return connected

    def _add(
        self,
        receiver: Receiver,
        sender: Any,
        *,
        weak: bool = True,
        dispatch_uid: Any = None,
        retry: bool = False,
    ) -> None:
        key = (dispatch_uid or _identity(receiver), _identity(sender))
        held: Any = receiver
        if retry:
            held, weak = _retrying(receiver), False
        elif weak:
            is_method = hasattr(receiver, "__self__") and hasattr(receiver, "__func__")
            held = (weakref.WeakMethod if is_method else weakref.ref)(receiver, self._drop)
        with self._lock:
            if all(known != key for known, _, _ in self.receivers):
                self.receivers = [*self.receivers, (key, held, weak)]

    def _drop(self, dead: Any) -> None:
        # No lock: a garbage collection may come while this thread holds it.
        self.receivers = [entry for entry in self.receivers if entry[1] is not dead]

    def disconnect(
        self,
        receiver: Receiver | None = None,
        sender: Any = None,
        weak: bool | None = None,
        dispatch_uid: Any = None,
    ) -> None:
        """Disconnect what was connected with the same receiver (or uid) and sender."""
        key = (dispatch_uid or _identity(receiver), _identity(sender))
        with self._lock:
            self.receivers = [entry for entry in self.receivers if entry[0] != key]

    def has_listeners(self, sender: Any = None) -> bool:
        """Whether anybody listens to this sender."""
        return bool(self._live(sender))

    def _live(self, sender: Any) -> list[Receiver]:
        wanted = _identity(sender)
        live = []
        for (_, of_sender), held, is_weak in self.receivers:
            if of_sender is None or of_sender == wanted:
                receiver = held() if is_weak else held
                if receiver is not None:
                    live.append(receiver)
        return live

    def send(self, sender: Any, **named: Any) -> list[tuple[Receiver, Any]]:
        """Call the receivers; gives (receiver, what it returned or raised) for each."""
        responses: list[tuple[Receiver, Any]] = []
        if not self.receivers:
            return responses
        for receiver in self._live(sender):
            try:
                response = receiver(signal=self, sender=sender, **named)
            except Exception as error:  # user code: it must not disturb the sender
                logger.exception("receiver %r of signal %s raised", receiver, self.name)
                response = error
            responses.append((receiver, response))
        return responses

    send_robust = send

    def __repr__(self) -> str:
        return f"<Signal: {self.name} providing_args={self.providing_args!r}>"


def _retrying(receiver: Receiver) -> Receiver:
    def until_it_returns(**named: Any) -> Any:
        pause_s = 0.0
        while True:
            try:
                return receiver(**named)
            except Exception as error:  # noqa: BLE001 - user code, which asked to be called again
                pause_s = min(pause_s + 0.2, _RETRY_PAUSE_MAX_S)
                logger.warning("receiver %r raised %r, again in %.1f s", receiver, error, pause_s)
                threading.Event().wait(pause_s)

    return until_it_returns


def _signal(name: str, *providing: str) -> Signal:
    return Signal(providing, name=name)


# - Sending
before_task_publish = _signal(
    "before_task_publish",
    "body", "exchange", "routing_key", "headers", "properties", "declare", "retry_policy",
)  # fmt: skip
after_task_publish = _signal("after_task_publish", "body", "exchange", "routing_key", "headers")
task_sent = _signal("task_sent", "task_id", "task", "args", "kwargs", "eta", "taskset")

# - Running
task_received = _signal("task_received", "request")
task_prerun = _signal("task_prerun", "task_id", "task", "args", "kwargs")
task_postrun = _signal("task_postrun", "task_id", "task", "args", "kwargs", "retval", "state")
task_success = _signal("task_success", "result", "runtime")
task_retry = _signal("task_retry", "request", "reason", "einfo")
task_failure = _signal(
    "task_failure", "task_id", "exception", "args", "kwargs", "traceback", "einfo"
)
task_internal_error = _signal(
    "task_internal_error",
    "task_id", "args", "kwargs", "request", "exception", "traceback", "einfo",
)  # fmt: skip
task_revoked = _signal("task_revoked", "request", "terminated", "signum", "expired")
task_rejected = _signal("task_rejected", "message", "exc")
task_unknown = _signal("task_unknown", "message", "exc", "name", "id")

# - The worker
celeryd_init = _signal("celeryd_init", "instance", "conf", "options")
celeryd_after_setup = _signal("celeryd_after_setup", "instance", "conf")
import_modules = _signal("import_modules")
worker_init = _signal("worker_init")
worker_before_create_process = _signal("worker_before_create_process")
worker_process_init = _signal("worker_process_init")
worker_process_shutdown = _signal("worker_process_shutdown", "pid", "exitcode")
worker_ready = _signal("worker_ready")
worker_shutdown = _signal("worker_shutdown")
worker_shutting_down = _signal("worker_shutting_down", "sig", "how", "exitcode")
heartbeat_sent = _signal("heartbeat_sent")

# - Logging
setup_logging = _signal("setup_logging", "loglevel", "logfile", "format", "colorize")
after_setup_logger = _signal(
    "after_setup_logger", "logger", "loglevel", "logfile", "format", "colorize"
)
after_setup_task_logger = _signal(
    "after_setup_task_logger", "logger", "loglevel", "logfile", "format", "colorize"
)

# - Schedules, pools and the command line
beat_init = _signal("beat_init")
beat_embedded_init = _signal("beat_embedded_init")
eventlet_pool_started = _signal("eventlet_pool_started")
eventlet_pool_preshutdown = _signal("eventlet_pool_preshutdown")
eventlet_pool_postshutdown = _signal("eventlet_pool_postshutdown")
eventlet_pool_apply = _signal("eventlet_pool_apply", "target", "args", "kwargs")
user_preload_options = _signal("user_preload_options", "app", "options")
