"""Logging in Celery's forms: lines, task names, redirected prints, and who may take it over."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from umbel import Celery
from umbel.app import logs, signals
from umbel.app.execution import Plan, execute
from umbel.model.request import Request

STAMP = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: "


@pytest.fixture(autouse=True)
def _logging_is_put_back() -> Iterator[None]:
    root = logging.getLogger()
    kept = root.handlers[:], root.level, sys.stdout, sys.stderr
    tasks = logs.task_logger
    kept_tasks = tasks.handlers[:], tasks.level, tasks.propagate
    yield
    root.handlers[:], root.level, sys.stdout, sys.stderr = kept
    tasks.handlers[:], tasks.level, tasks.propagate = kept_tasks
    logs.set_process_name("MainProcess")


def test_a_print_of_a_task_is_a_line_of_its_process(app: Celery) -> None:
    written = io.StringIO()
    logs.set_process_name("ForkPoolWorker-16")

    app.log.setup("INFO", written)  # type: ignore[arg-type]  # a stream, as Celery takes it
    print("hello", "mishana")
    print()
    sys.stderr.write("two\nlines\n")

    first, second, *_ = written.getvalue().splitlines()
    assert re.fullmatch(STAMP + r"WARNING/ForkPoolWorker-16\] hello mishana", first)
    assert re.fullmatch(STAMP + r"WARNING/ForkPoolWorker-16\] two", second)


def test_a_line_without_an_end_is_written_when_it_is_flushed(app: Celery) -> None:
    written = io.StringIO()
    app.log.setup("INFO", written)  # type: ignore[arg-type]

    print("half", end="")
    before = written.getvalue()
    sys.stdout.flush()

    assert before == ""
    assert written.getvalue().endswith("WARNING/MainProcess] half\n")


def test_lines_of_a_task_logger_carry_name_and_id(app: Celery) -> None:
    written = io.StringIO()
    app.log.setup("INFO", written, redirect_stdouts=False)  # type: ignore[arg-type]
    logger = logs.get_task_logger("shop.orders")
    task = app.task(lambda: logger.info("working"), name="shop.work")

    execute(Plan(task), Request(id="id-7", task="shop.work", called_directly=False), (), {})

    line = written.getvalue().strip()
    assert re.fullmatch(STAMP + r"INFO/MainProcess\] shop\.work\[id-7\]: working", line)


def test_formats_are_settings(app: Celery) -> None:
    written = io.StringIO()
    app.conf.update(worker_log_format="<%(message)s>", worker_task_log_format="task:%(message)s")

    app.log.setup("INFO", written, redirect_stdouts=False)  # type: ignore[arg-type]
    logging.getLogger("anything").info("one")
    logs.get_task_logger("shop.other").info("two")

    assert written.getvalue().splitlines() == ["<one>", "task:two"]


def test_the_root_logger_may_be_left_alone(app: Celery) -> None:
    app.conf.worker_hijack_root_logger = False
    root = logging.getLogger()
    before = root.handlers[:]

    app.log.setup("INFO", io.StringIO(), redirect_stdouts=False)  # type: ignore[arg-type]

    assert root.handlers == before


def test_a_receiver_may_set_logging_up_itself(app: Celery) -> None:
    seen: list[Any] = []

    def mine(loglevel, logfile, format, colorize, **_):
        seen.append(loglevel)

    signals.setup_logging.connect(mine)
    handled = app.log.setup("DEBUG")
    signals.setup_logging.disconnect(mine)

    assert handled
    assert seen == [logging.DEBUG]


def test_handlers_may_be_changed_after_the_setup(app: Celery) -> None:
    seen: list[Any] = []

    def note(logger, **_):
        seen.append(logger.name)

    signals.after_setup_logger.connect(note)
    signals.after_setup_task_logger.connect(note)
    app.log.setup("INFO", io.StringIO(), redirect_stdouts=False)  # type: ignore[arg-type]

    assert seen == ["root", "celery.task"]


def test_a_log_file_is_written(app: Celery, tmp_path: Path) -> None:
    path = tmp_path / "worker.log"

    app.log.setup("INFO", str(path), redirect_stdouts=False)
    logging.getLogger("anything").info("said")
    for handler in logging.getLogger().handlers:
        handler.close()

    assert "INFO/MainProcess] said" in path.read_text()


def test_colours_are_for_terminals(app: Celery) -> None:
    plain = logs.ProcessFormatter("%(message)s", use_color=False)
    coloured = logs.ProcessFormatter("%(message)s", use_color=True)
    record = logging.LogRecord("x", logging.ERROR, "", 0, "bad", None, None)

    assert plain.format(record) == "bad"
    assert coloured.format(record) == "\033[1;31mbad\033[0m"
    assert not app.log.supports_color(None, "some.log")


def test_reserved_names_and_unknown_levels_are_refused() -> None:
    with pytest.raises(RuntimeError, match="reserved"):
        logs.get_task_logger("celery.task")
    with pytest.raises(ValueError, match="'LOUD' is no log level; wanted"):
        logs.level_of("LOUD")
    assert logs.level_of("fatal") == logging.CRITICAL
    assert logs.level_of(None) == logging.WARNING


def test_a_handler_that_prints_does_not_run_in_circles() -> None:
    logger = logging.getLogger("umbel.test.circle")
    logger.propagate = False
    proxy = logs.LoggingProxy(logger, "ERROR")

    class Printing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            proxy.write("trouble")

    logger.addHandler(Printing())

    assert proxy.write("once\n") == 5
