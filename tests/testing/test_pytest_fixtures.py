"""The pytest plugin, in a pytest of its own: under umbel's name and under Celery's."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.slow

UNDER_OUR_NAME = 'pytest_plugins = ("umbel.testing.plugin",)\n'
UNDER_CELERYS_NAME = """
import umbel
umbel.install_as_celery()
pytest_plugins = ("celery.contrib.pytest",)
"""


@pytest.fixture
def outcomes(tmp_path):
    """Run tests in a directory; gives what pytest says, and how many passed and failed."""

    def run(conftest, tests, **modules):
        (tmp_path / "conftest.py").write_text(textwrap.dedent(conftest))
        (tmp_path / "test_it.py").write_text(textwrap.dedent(tests))
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.stdout.strip().splitlines()[-1].split(" in ")[0], done.stdout

    return run


def test_the_guides_examples_run_under_celerys_names(outcomes):
    said, text = outcomes(
        UNDER_CELERYS_NAME
        + """
import pytest

@pytest.fixture(scope="session")
def celery_config():
    return {"result_backend": "cache+memory://", "broker_url": "memory://"}

@pytest.fixture(scope="session")
def celery_includes():
    return ["included"]

@pytest.fixture(scope="session")
def celery_worker_parameters():
    return {"queues": ("high-prio", "celery"), "exclude_queues": ("low-prio",)}
""",
        """
        import celery
        import pytest
        from celery import shared_task
        from celery.contrib.testing.worker import start_worker

        def test_create_task(celery_app, celery_worker):
            @celery_app.task
            def mul(x, y):
                return x * y

            celery_worker.ensure_started()
            assert mul.delay(4, 4).get(timeout=10) == 16
            assert mul.apply_async((2, 2), queue="high-prio").get(timeout=10) == 4

        def test_shared_tasks_belong_to_the_app_of_the_worker(celery_app, celery_worker):
            import included
            assert included.xsum.delay([1, 2, 3]).get(timeout=10) == 6

        @pytest.mark.celery(result_extended=True, task_default_queue="other")
        def test_a_marker_overrides_settings(celery_app):
            assert celery_app.conf.result_extended
            assert celery_app.conf.task_default_queue == "other"

        def test_the_marker_held_for_one_test(celery_app):
            assert celery_app.conf.task_default_queue == "celery"

        def test_start_worker_by_hand(celery_app):
            with start_worker(celery_app, perform_ping_check=False, pool="threads", concurrency=2):
                assert celery_app.send_task("included.xsum", ([4],)).get(timeout=10) == 4
        """,
        included="""
        from celery import shared_task

        @shared_task
        def xsum(values):
            return sum(values)
        """,
    )

    assert said == "5 passed", text


def test_session_fixtures_are_shared_and_the_apps_are_apart(outcomes):
    said, text = outcomes(
        UNDER_OUR_NAME
        + """
import pytest
from umbel import Task

class Greeting(Task):
    name = "greeting"

    def run(self, who):
        return f"hello {who}"

@pytest.fixture(scope="session")
def celery_class_tasks():
    return [Greeting]

@pytest.fixture(scope="session")
def celery_parameters():
    return {"task_cls": Task, "strict_typing": False}
""",
        """
        import umbel

        def test_a_session_worker_knows_class_tasks(celery_session_app, celery_session_worker):
            assert umbel.current_app.main == celery_session_app.main
            result = celery_session_app.send_task("greeting", ("you",))
            assert result.get(timeout=10) == "hello you"

        def test_what_a_test_leaves_behind(celery_app):
            celery_app.send_task("nobody.knows.it")
            assert not celery_app.strict_typing

        def test_is_not_met_by_the_next(celery_app, celery_worker):
            assert celery_app.open_pair().broker.depth("celery").ready == 0

        def test_the_current_app_is_the_sessions_unless_asked_for(celery_session_app, celery_app):
            assert umbel.current_app._get_current_object() is celery_session_app

        def test_depends_on_current_app(celery_app, depends_on_current_app):
            assert umbel.current_app._get_current_object() is celery_app
        """,
    )

    assert said == "5 passed", text


def test_the_trap_catches_who_uses_the_current_app(outcomes):
    said, text = outcomes(
        UNDER_OUR_NAME
        + """
import pytest

@pytest.fixture(scope="session")
def use_celery_app_trap():
    return True
""",
        """
        import pytest
        import umbel

        def test_falls_into_it(celery_app):
            with pytest.raises(RuntimeError, match="depends on current_app"):
                umbel.current_app.send_task("t")
        """,
    )

    assert said == "1 passed", text


def test_a_pool_of_processes_is_refused_by_name(outcomes):
    said, text = outcomes(
        UNDER_OUR_NAME
        + """
import pytest

@pytest.fixture(scope="session")
def celery_worker_pool():
    return "prefork"
""",
        "def test_it(celery_app, celery_worker): pass\n",
    )

    assert said == "1 error", text
    assert "pool 'prefork': a worker inside a test's process is 'solo' or 'threads'" in text
