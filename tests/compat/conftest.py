"""An environment with umbel and umbel-as-celery and without the real Celery.

The developers' environment has the real one. This one is a fresh venv with links to what umbel
needs, so that no package index is asked, and with the alias installed as its wheel would be.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALIAS = ROOT / "packages" / "umbel-as-celery"
# async_timeout: redis wants it on Pythons before 3.11.3.
NEEDED = ("umbel", "click", "msgspec", "redis", "hiredis", "async_timeout")


@pytest.fixture(scope="session")
def celery_free(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of the environment."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = home / "lib" / version / "site-packages"
    for name in NEEDED:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            (packages / name).symlink_to(spec.submodule_search_locations[0])
    for name in ("umbel_as_celery.py", "umbel_as_celery.pth"):
        shutil.copy(ALIAS / name, packages)
    _write_scripts(home / "bin")
    return home / "bin"


def _write_scripts(directory: Path) -> None:
    for project in (ROOT, ALIAS):
        scripts = tomllib.loads((project / "pyproject.toml").read_text())["project"]["scripts"]
        for name, entry in scripts.items():
            module, _, function = entry.partition(":")
            script = directory / name
            script.write_text(
                f"#!{directory / 'python'}\n"
                f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n"
            )
            script.chmod(0o755)


@pytest.fixture
def tutorial(tmp_path: Path) -> Path:
    """A directory with the tutorial's programs, unedited."""
    return Path(shutil.copytree(ROOT / "examples" / "tutorial", tmp_path / "tutorial"))


@pytest.fixture
def plain_environment() -> dict[str, str]:
    """The process's environment, less what would steer Python or Celery."""
    steering = ("CELERY_", "UMBEL_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(steering)}
