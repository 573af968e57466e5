"""Commands that load an app and look at, or change, what its broker holds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Umbel = Callable[..., "subprocess.CompletedProcess[str]"]

TASKS = """
from umbel import Celery

app = Celery("shop")

@app.task
def add(x, y):
    return x + y
"""


@pytest.fixture
def umbel(tmp_path: Path) -> Umbel:
    """Run a command in a directory with tasks.py and the default SQLite file."""
    (tmp_path / "tasks.py").write_text(TASKS)
    steering = ("CELERY_", "UMBEL_", "PYTHON")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(steering)}

    def run(*words: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "umbel", *words],
            cwd=tmp_path,
            env=environment,
            input=answer,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_call_puts_a_message_into_the_queue_and_prints_its_id(umbel: Umbel) -> None:
    called = umbel("-A", "tasks", "call", "tasks.add", "-a", "[2, 2]")
    listed = umbel("-A", "tasks", "list", "queues")

    assert called.returncode == 0, called.stderr
    assert len(called.stdout.strip()) == 36
    assert listed.stdout.splitlines()[1].split() == ["celery", "1", "0", "0", "0"]


def test_call_with_a_countdown_waits_in_the_due_set(umbel: Umbel) -> None:
    umbel("-A", "tasks", "call", "tasks.add", "-a", "[2, 2]", "--countdown", "3600")

    listed = umbel("-A", "tasks", "list", "queues")

    assert listed.stdout.splitlines()[1].split() == ["celery", "0", "1", "0", "0"]


def test_call_of_a_name_that_is_nearly_a_task_says_so_and_sends(umbel: Umbel) -> None:
    called = umbel("-A", "tasks", "call", "tasks.ad", "-a", "[2, 2]")

    assert called.returncode == 0
    assert "the app shop has no task 'tasks.ad'. Did you mean tasks.add?" in called.stderr


def test_purge_asks_first(umbel: Umbel) -> None:
    umbel("-A", "tasks", "call", "tasks.add", "-a", "[2, 2]")

    declined = umbel("-A", "tasks", "purge", answer="n\n")
    accepted = umbel("-A", "tasks", "purge", answer="y\n")
    again = umbel("-A", "tasks", "purge", "-f")

    assert "this will remove all tasks from 1 queue: celery." in declined.stdout
    assert declined.returncode == 1
    assert "Purged 1 message from 1 known task queue." in accepted.stdout
    assert again.stdout == "No messages purged from 1 known task queue.\n"


def test_purge_of_named_queues_leaves_the_others(umbel: Umbel) -> None:
    umbel("-A", "tasks", "call", "tasks.add", "-a", "[2, 2]")

    purged = umbel("-A", "tasks", "purge", "-f", "-Q", "other")

    assert purged.stdout == "No messages purged from 1 known task queue.\n"


def test_result_of_a_task_that_no_worker_runs_gives_up_in_time(
    umbel: Umbel, tmp_path: Path
) -> None:
    called = umbel("-A", "tasks", "call", "tasks.add", "-a", "[2, 2]")

    waited = umbel("-A", "tasks", "result", called.stdout.strip(), "--timeout", "0.2")

    assert waited.returncode == 1
    assert waited.stdout == ""
    assert waited.stderr.startswith("Error: ")
    assert str(tmp_path / "umbel.db") in waited.stderr


def test_result_where_results_are_disabled_names_the_setting(umbel: Umbel) -> None:
    said = umbel("-A", "tasks", "-b", "sqlite:///only.db", "result", "an-id", "--timeout", "1")

    assert said.returncode == 1
    assert "result_backend" in said.stderr
    assert "Traceback" not in said.stderr


def test_list_tasks_leaves_out_what_every_app_has(umbel: Umbel) -> None:
    own = umbel("-A", "tasks", "list", "tasks")
    everything = umbel("-A", "tasks", "list", "tasks", "--builtin")

    assert own.stdout == "tasks.add\n"
    assert "celery.map" in everything.stdout


def test_list_bindings_has_a_line_for_each_queue(umbel: Umbel) -> None:
    listed = umbel("-A", "tasks", "list", "bindings")

    assert listed.stdout.splitlines()[-1].split() == ["celery", "celery", "celery"]


def test_report_names_the_file_and_no_password(umbel: Umbel, tmp_path: Path) -> None:
    plain = umbel("-A", "tasks", "report")
    secret = umbel("-A", "tasks", "-b", "redis://:hunter2@localhost:1/0", "report")
    relative = umbel("-A", "tasks", "-b", "sqlite:///near.db", "report")

    assert str(tmp_path / "umbel.db") in plain.stdout
    assert f"broker   -> sqlite:///{tmp_path}/near.db" in relative.stdout
    assert "umbel:" in plain.stdout
    assert secret.returncode == 0, secret.stderr
    assert "redis://" in secret.stdout
    assert "hunter2" not in secret.stdout


@pytest.mark.parametrize("command", [["list", "tasks"], ["worker"]])
def test_a_broken_module_shows_its_own_traceback_and_no_other(
    umbel: Umbel, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "broken.py").write_text("def boil():\n    return 1 / 0\n\nboil()\n")

    said = umbel("-A", "broken", *command)

    frames = [line for line in said.stderr.splitlines() if line.startswith("  File ")]
    assert said.returncode == 1
    assert "ZeroDivisionError: division by zero" in said.stderr
    assert len(frames) == 2
    assert all(str(tmp_path / "broken.py") in frame for frame in frames)


@pytest.mark.parametrize(
    ("app", "answer"),
    [
        ("taks", "there is no module 'taks'"),
        ("tasks:nothing", "module 'tasks' has no attribute 'nothing'"),
        ("empty", "module 'empty' has no app"),
    ],
)
@pytest.mark.parametrize("command", [["list", "tasks"], ["worker"]])
def test_an_app_that_is_not_there_is_named(
    umbel: Umbel, tmp_path: Path, app: str, answer: str, command: list[str]
) -> None:
    (tmp_path / "empty.py").write_text("")

    said = umbel("-A", app, *command)

    assert said.returncode == 1
    assert answer in said.stderr
    assert "Traceback" not in said.stderr


def test_an_unknown_scheme_names_the_nearest(umbel: Umbel) -> None:
    said = umbel("-A", "tasks", "-b", "rediss3://localhost", "call", "tasks.add", "-a", "[1, 2]")

    assert said.returncode == 1
    assert "rediss" in said.stderr
    assert "Traceback" not in said.stderr


def test_a_broker_that_is_down_is_named_without_its_password(umbel: Umbel) -> None:
    url = "redis://:hunter2@127.0.0.1:1/0"

    said = umbel("-A", "tasks", "-b", url, "call", "tasks.add", "-a", "[1, 2]")

    assert said.returncode == 1
    assert "127.0.0.1:1" in said.stderr
    assert "hunter2" not in said.stderr
    assert "Traceback" not in said.stderr
