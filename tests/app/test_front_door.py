"""``Celery`` as a program starts it, and the names at the top."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import umbel
from umbel import Celery


def test_every_name_is_there() -> None:
    import celery

    public = {name for name in celery.__all__ if not name.startswith("_")}
    elsewhere = {
        # Modules and helpers of Celery's own loading; version facts are the alias's.
        "execute", "local", "log", "maybe_patch_concurrency", "messaging", "registry",
        "version_info", "version_info_t", "VERSION", "VERSION_BANNER", "SERIES",
    }  # fmt: skip

    assert public - elsewhere <= set(umbel.__all__)
    assert all(hasattr(umbel, name) for name in umbel.__all__)


def test_an_app_starts_the_command_line_for_itself(tmp_path: Path) -> None:
    program = """
        from umbel import Celery
        app = Celery("orders", broker="memory://")

        @app.task
        def add(x, y): return x + y

        if __name__ == "__main__":
            app.start(["report"])
    """
    (tmp_path / "orders.py").write_text(textwrap.dedent(program))

    ran = subprocess.run(
        [sys.executable, "orders.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert "broker   -> memory://" in ran.stdout


def test_worker_main_wants_its_command() -> None:
    with pytest.raises(ValueError, match=r"\['worker', \.\.\.\]"):
        Celery("orders").worker_main(["-l", "INFO"])


def test_current_task_is_the_one_that_runs() -> None:
    app = Celery("orders")

    @app.task
    def whoami():
        return umbel.current_task.name, app.current_task.name

    assert whoami() == (whoami.name, whoami.name)
    assert not umbel.current_task
    assert whoami.apply().get() == (whoami.name, whoami.name)


def test_a_config_module_of_the_environment_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "front_door_config.py").write_text("result_expires = 11\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "front_door_config")

    assert Celery("orders").conf.result_expires == 11
