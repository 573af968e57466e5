"""``make demo``, less the making of its environment."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.py"


@pytest.mark.slow
def test_the_demo_prints_what_it_should(
    celery_free: Path, plain_environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [celery_free / "python", DEMO],
        env=plain_environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "723.0" in done.stdout
    assert done.stdout.count("(the worker ended with exit code 0)") == 2
