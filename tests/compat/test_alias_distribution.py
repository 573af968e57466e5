"""packages/umbel-as-celery: the alias at interpreter start, and the celery command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

Environment = dict[str, str]


def output(
    *command: object, environment: Environment, directory: Path | None = None
) -> tuple[str, str]:
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip(), done.stderr.strip()


def test_import_celery_gives_umbel_without_a_word(
    celery_free: Path, plain_environment: Environment
) -> None:
    program = "import celery, umbel; print(celery.Celery is umbel.Celery, celery.__version__)"

    printed, complaints = output(
        celery_free / "python", "-c", program, environment=plain_environment
    )

    assert printed.startswith("True 5.7.0+umbel.")
    assert complaints == ""


def test_the_celery_command_is_umbels(celery_free: Path, plain_environment: Environment) -> None:
    printed, complaints = output(
        celery_free / "celery", "worker", "--help", environment=plain_environment
    )

    assert printed.startswith("Usage: celery worker")
    assert complaints == ""


def test_an_interpreter_that_imports_no_celery_loads_one_small_module(
    celery_free: Path, plain_environment: Environment
) -> None:
    program = (
        "import sys; print(sorted(name for name in sys.modules"
        " if name.startswith(('umbel', 'celery', 'importlib.metadata'))))"
    )

    printed, _ = output(celery_free / "python", "-c", program, environment=plain_environment)

    assert printed == "['umbel_as_celery']"


def test_a_directory_called_celery_does_not_hide_umbel(
    celery_free: Path, plain_environment: Environment, tmp_path: Path
) -> None:
    (tmp_path / "celery").mkdir()

    printed, _ = output(
        celery_free / "python",
        "-c",
        "import celery; print(celery.__version__)",
        environment=plain_environment,
        directory=tmp_path,
    )

    assert "+umbel." in printed


@pytest.fixture
def beside_the_real_one(celery_free: Path, plain_environment: Environment) -> Environment:
    """The alias in an environment where the real Celery can be imported."""
    pytest.importorskip("celery")
    site_packages = Path(pytest.__file__).parents[1]
    alias = Path(__file__).parents[2] / "packages" / "umbel-as-celery"
    return plain_environment | {"PYTHONPATH": f"{alias}:{site_packages}"}


def test_the_real_celery_comes_first(beside_the_real_one: Environment) -> None:
    program = (
        "import umbel_as_celery; umbel_as_celery.register();"
        "import celery; print(celery.__version__)"
    )

    printed, complaints = output(sys.executable, "-c", program, environment=beside_the_real_one)

    assert "umbel" not in printed
    assert complaints == ""


def test_the_celery_command_yields_to_the_real_one_and_says_so(
    beside_the_real_one: Environment,
) -> None:
    program = "import sys, umbel_as_celery; sys.argv = ['celery', '--version'];"
    program += "umbel_as_celery.main()"

    printed, complaints = output(sys.executable, "-c", program, environment=beside_the_real_one)

    assert "umbel" not in printed
    assert complaints.count("the real Celery is installed here") == 1
