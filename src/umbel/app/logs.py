"""Logging in Celery's forms, so that existing configuration and log parsers go on working.

The names of loggers (``celery``, ``celery.task``, ``celery.redirected``), the format settings and
the three logging signals are Celery's. The name of the process in each line is ours to set, so
that nobody has to import multiprocessing for it.
https://docs.celeryq.dev/en/stable/userguide/tasks.html#logging
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterable
from typing import IO, Any

from umbel.app import signals
from umbel.app.settings import PROCESS_FORMAT, TASK_FORMAT
from umbel.model.refused import refusing
from umbel.model.request import current_request

task_logger = logging.getLogger("celery.task")
redirected_logger = logging.getLogger("celery.redirected")
RESERVED_NAMES = ("celery", "celery.task")

LOG_LEVELS = {**logging.getLevelNamesMapping(), "FATAL": logging.CRITICAL}

_process_name = "MainProcess"

_RESET = "\033[0m"
_COLOURS = {
    logging.DEBUG: "\033[1;34m",
    logging.WARNING: "\033[1;33m",
    logging.ERROR: "\033[1;31m",
    logging.CRITICAL: "\033[1;35m",
}


def set_process_name(name: str) -> None:
    """Name this process in the log: ``MainProcess``, ``ForkPoolWorker-3``."""
    global _process_name
    _process_name = name
    loaded = sys.modules.get("multiprocessing")
    if loaded is not None:
        loaded.current_process().name = name


def process_name() -> str:
    """The name of this process in the log."""
    return _process_name


def level_of(level: int | str | None, default: int = logging.WARNING) -> int:
    """A level by number or name."""
    if level is None or level == "":
        return default
    if isinstance(level, int):
        return level
    if level.isdecimal():
        return int(level)
    try:
        return LOG_LEVELS[level.upper()]
    except KeyError:
        raise ValueError(f"{level!r} is no log level; wanted {', '.join(LOG_LEVELS)}") from None


def get_logger(name: str) -> logging.Logger:
    """A logger that is handled with Celery's root."""
    return logging.getLogger(name)


def get_task_logger(name: str) -> logging.Logger:
    """A logger for the code of tasks: its lines carry the task's name and id."""
    if name in RESERVED_NAMES:
        raise RuntimeError(f"logger name {name!r} is reserved")
    logger = logging.getLogger(name)
    ancestor: logging.Logger | None = logger
    while ancestor is not None and ancestor is not task_logger:
        ancestor = ancestor.parent
    if ancestor is None:
        logger.parent = task_logger
    return logger


class ProcessFormatter(logging.Formatter):
    """Sets the name of the process, and colours lines where asked."""

    def __init__(
        self, fmt: str | None = None, use_color: bool = True, datefmt: str | None = None
    ) -> None:
        super().__init__(fmt, datefmt)
        self.use_color = use_color

    def format(self, record: logging.LogRecord) -> str:
        record.processName = _process_name
        line = super().format(record)
        colour = _COLOURS.get(record.levelno) if self.use_color else None
        return f"{colour}{line}{_RESET}" if colour else line


class TaskFormatter(ProcessFormatter):
    """Adds ``task_id`` and ``task_name``."""

    def format(self, record: logging.LogRecord) -> str:
        request = current_request()
        fields = record.__dict__
        fields.setdefault("task_id", request.id if request else "???")
        fields.setdefault("task_name", request.task if request else "???")
        return super().format(record)


class _Writing(threading.local):
    """What one thread is about to write."""

    begun = ""  # has no line end yet
    # A handler that prints its own trouble to stderr would come back here for ever.
    is_logging = False


class LoggingProxy:
    """A file that writes lines to a logger: stdout and stderr of tasks.

    ``print("a", "b")`` writes four times; it is one line here, as on a terminal.
    """

    mode = "w"
    name = None
    closed = False
    encoding = "utf-8"
    errors = "strict"

    def __init__(self, logger: logging.Logger, loglevel: int | str | None = None) -> None:
        self.logger = logger
        self.loglevel = level_of(loglevel, logger.level or logging.WARNING)
        self._thread = _Writing()

    def write(self, data: Any) -> int:
        """Log what is complete up to its last line end, and keep the rest for the next write."""
        mine = self._thread
        if mine.is_logging or self.closed:
            return 0
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
        complete, line_end, rest = text.rpartition("\n")
        if line_end:
            complete, mine.begun = mine.begun + complete, rest
            self._log(complete)
        else:
            mine.begun += rest
        return len(data)

    def _log(self, text: str) -> None:
        line = text.rstrip()
        if line:
            self._thread.is_logging = True
            try:
                self.logger.log(self.loglevel, "%s", line)
            finally:
                self._thread.is_logging = False

    def writelines(self, sequence: Iterable[Any]) -> None:
        """Write each."""
        for line in sequence:
            self.write(line)

    def flush(self) -> None:
        """Log what has no line end yet."""
        mine = self._thread
        if mine.begun and not mine.is_logging:
            text, mine.begun = mine.begun, ""
            self._log(text)

    def close(self) -> None:
        """Drop what is written from now on."""
        self.closed = True

    def isatty(self) -> bool:
        """Never a terminal."""
        return False

    def readable(self) -> bool:
        """For writing only."""
        return False

    def writable(self) -> bool:
        """Yes."""
        return True

    def fileno(self) -> int:
        """The file descriptor of the stream that this one stands for."""
        stream = sys.__stderr__
        if stream is None:
            raise OSError("this process has no stderr")
        return stream.fileno()


_OTHERS = """
    already_setup colored colorize datefmt format loglevel redirect_stdouts_to_logger
    setup_handlers setup_task_loggers task_datefmt task_format
"""


@refusing("use app.log.setup, and the signals setup_logging and after_setup_logger", _OTHERS)
class Logs:
    """``app.log``: sets logging up for the commands of one app."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.already_setup = False

    def setup(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        redirect_stdouts: bool | None = None,
        redirect_level: int | str | None = None,
        colorize: bool | None = None,
        hostname: str | None = None,
    ) -> bool:
        """Set up logging, and let print in tasks reach the log. Gives whether a receiver of
        ``setup_logging`` did it instead."""
        conf = self._app.conf
        handled = self.setup_logging_subsystem(loglevel, logfile, colorize=colorize)
        if not handled:
            redirects = conf.worker_redirect_stdouts
            if redirect_stdouts if redirect_stdouts is not None else redirects:
                self.redirect_stdouts(redirect_level or conf.worker_redirect_stdouts_level)
        return handled

    def setup_logging_subsystem(
        self,
        loglevel: int | str | None = None,
        logfile: str | None = None,
        format: str | None = None,  # noqa: A002 - Celery's name
        colorize: bool | None = None,
        **_options: Any,
    ) -> bool:
        """Handlers of the root and task loggers. A second call does nothing."""
        if self.already_setup:
            return False
        self.already_setup = True
        conf = self._app.conf
        level = level_of(loglevel, logging.WARNING)
        line_format = format or conf.worker_log_format or PROCESS_FORMAT
        use_color = self.supports_color(colorize, logfile)
        facts = {"loglevel": level, "logfile": logfile, "format": line_format}
        if signals.setup_logging.send(sender=None, colorize=use_color, **facts):
            return True
        root = logging.getLogger()
        if conf.worker_hijack_root_logger:
            for handler in root.handlers[:]:
                root.removeHandler(handler)
        handler = _handler(logfile)
        handler.setFormatter(ProcessFormatter(line_format, use_color, conf.worker_log_datefmt))
        if conf.worker_hijack_root_logger or not root.handlers:
            root.addHandler(handler)
            root.setLevel(level)
        signals.after_setup_logger.send(sender=None, logger=root, colorize=use_color, **facts)
        self._setup_task_logger(handler, level, logfile, use_color)
        return False

    def _setup_task_logger(
        self, beside: logging.Handler, level: int, logfile: str | None, use_color: bool
    ) -> None:
        conf = self._app.conf
        line_format = conf.worker_task_log_format or TASK_FORMAT
        # The same stream as the root's handler: two handles on one file would mix lines.
        handler = logging.StreamHandler(beside.stream) if hasattr(beside, "stream") else beside
        handler.setFormatter(TaskFormatter(line_format, use_color, conf.worker_task_log_datefmt))
        for old in task_logger.handlers[:]:
            task_logger.removeHandler(old)
        task_logger.addHandler(handler)
        task_logger.setLevel(level)
        task_logger.propagate = False
        signals.after_setup_task_logger.send(
            sender=None,
            logger=task_logger,
            loglevel=level,
            logfile=logfile,
            format=line_format,
            colorize=use_color,
        )

    def supports_color(self, colorize: bool | None = None, logfile: Any = None) -> bool:
        """Whether lines are to be coloured: asked for, or a terminal."""
        if colorize is None:
            colorize = self._app.conf.worker_log_color
        if colorize is not None:
            return bool(colorize) and not logfile
        stream = sys.__stderr__
        return not logfile and stream is not None and stream.isatty()

    def redirect_stdouts(self, loglevel: int | str | None = None) -> None:
        """Let what is printed reach the log."""
        proxy: Any = LoggingProxy(redirected_logger, loglevel or "WARNING")
        sys.stdout = sys.stderr = proxy

    def get_default_logger(self, name: str = "celery", **_options: Any) -> logging.Logger:
        """A logger."""
        return get_logger(name)


def _handler(logfile: Any) -> logging.Handler:
    if logfile is None:
        return logging.StreamHandler(_real_stderr())
    if hasattr(logfile, "write"):
        return logging.StreamHandler(logfile)
    # Not at the top: imports socket, queue and more.
    from logging.handlers import WatchedFileHandler

    # %p and %i were expanded by the caller; a directory that is missing is named by the error.
    return WatchedFileHandler(os.fspath(logfile), encoding="utf-8")


def _real_stderr() -> IO[str]:
    # Not sys.stderr, which may be a LoggingProxy already.
    stream = sys.stderr if not isinstance(sys.stderr, LoggingProxy) else sys.__stderr__
    assert stream is not None
    return stream
