"""``import celery`` in a process of its own, because an alias can't be taken back."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from umbel.compat.names import MISSING, MODULES, NOT_BUILT, targets_of
from umbel.compat.standins import Refusal
from umbel.model.errors import NotBuiltYet


def run(program: str) -> str:
    """What a program prints that begins by calling install_as_celery()."""
    start = "import umbel; umbel.install_as_celery()\n"
    done = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", MODULES)
def test_every_name_in_the_table_stands_for_something(module: str) -> None:
    for alias, target in targets_of(module).items():
        source, _, attribute = target.partition(":")

        __import__(source)

        assert hasattr(sys.modules[source], attribute), f"{module}.{alias} -> {target}"


def test_the_names_are_umbels_own_objects() -> None:
    printed = run("""
        import celery, umbel
        from celery import Celery, chain, chord, group, shared_task
        from celery.result import AsyncResult
        from celery.exceptions import Retry
        from kombu import Exchange, Queue
        from umbel.model.errors import Retry as OurRetry
        print(Celery is umbel.Celery, group is umbel.group, Retry is OurRetry, Queue is umbel.Queue)
        print(celery.VERSION >= (5, 0))
    """)

    assert printed.split() == ["True"] * 5


def test_submodules_are_there_without_being_imported_by_name() -> None:
    printed = run("import celery; print(celery.states.SUCCESS, celery.utils.log.get_task_logger)")

    assert printed.startswith("SUCCESS <function")


def test_importing_celery_loads_no_broker_library() -> None:
    printed = run("""
        import sys
        import celery
        from celery import Celery, group
        heavy = {"redis", "hiredis", "msgspec", "sqlite3", "asyncio", "rich", "click", "inspect"}
        print(sorted(heavy & set(sys.modules)))
    """)

    assert printed == "[]"


def test_what_is_not_built_can_be_imported_and_says_so_when_used() -> None:
    printed = run("""
        from celery.beat import Service
        from celery.events.state import State
        from celery import bootsteps
        def describe(when: Service | None) -> None: ...
        print(isinstance(3, Service))
        try:
            Service(app=None)
        except NotImplementedError as error:
            print(error)
        try:
            class Step(bootsteps.StartStopStep): ...
        except NotImplementedError as error:
            print(error)
    """).splitlines()

    assert printed[0] == "False"
    assert printed[1].startswith("celery.beat.Service is not built yet: there is no beat yet")
    assert printed[2].startswith("celery.bootsteps.StartStopStep is not built yet")


def test_what_can_not_be_imported_is_an_import_error_that_says_what_to_use() -> None:
    printed = run("""
        try:
            from celery.contrib.testing.mocks import TaskMessage
        except ImportError as error:
            print(error)
        try:
            import celery.nonsense
        except ModuleNotFoundError as error:
            print(error)
    """).splitlines()

    assert "celery.contrib.testing.mocks is not part of umbel yet: use memory://" in printed[0]
    assert printed[1] == "No module named 'celery.nonsense'"


def test_installing_after_celery_was_imported_is_refused() -> None:
    program = """
        import sys, types, umbel
        from umbel.model.errors import ImproperlyConfigured
        sys.modules["celery"] = types.ModuleType("celery")
        try:
            umbel.install_as_celery()
        except ImproperlyConfigured as error:
            print(error)
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert "celery was imported before install_as_celery()" in done.stdout


def test_python_dash_m_celery_is_the_command_line() -> None:
    printed = run("""
        import runpy, sys
        sys.argv = ["celery", "--version"]
        runpy.run_module("celery", run_name="__main__")
    """)

    assert printed.startswith("umbel ")


def test_a_refusal_names_itself_and_the_way_out() -> None:
    refusal = Refusal("celery.beat.Scheduler", "use cron")

    with pytest.raises(NotBuiltYet, match=r"celery\.beat\.Scheduler is not built yet: use cron"):
        refusal(app=None)

    assert repr(refusal) == "<celery.beat.Scheduler: not built yet>"
    assert not hasattr(refusal, "__wrapped__")


def test_no_module_is_in_two_tables() -> None:
    tables = [set(MODULES), set(NOT_BUILT), set(MISSING)]

    assert sum(len(table) for table in tables) == len(set.union(*tables))
