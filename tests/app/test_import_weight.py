"""A producer that imports umbel pays for what producers need, and for nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "redis hiredis msgspec sqlite3 asyncio rich click dataclasses inspect multiprocessing"
    " concurrent.futures importlib.metadata unittest"
)


def loaded_by(program: str) -> set[str]:
    printed = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(printed.stdout.split())


@pytest.mark.parametrize(
    "program",
    [
        "import umbel",
        "from umbel import Celery, shared_task, group, chain, chord, signature",
        "import umbel; app = umbel.Celery('x'); app.task(len).s([1]); app.conf.humanize()",
    ],
)
def test_importing_umbel_loads_nothing_heavy(program: str) -> None:
    loaded = loaded_by(program)

    assert loaded.isdisjoint(HEAVY.split()), sorted(loaded & set(HEAVY.split()))
