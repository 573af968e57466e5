"""The example that moves a fleet from Celery to umbel and back, in a short version."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.redis, pytest.mark.slow]

SCRIPT = Path(__file__).parents[2] / "examples" / "rolling_migration" / "migrate.py"
PATIENCE_S = 600  # eleven changes; each has its own limit in the script


def test_a_fleet_moves_to_umbel_and_back_under_load(redis_url, tmp_path, capsys):
    command = [sys.executable, SCRIPT, "--redis", redis_url, "--hold", "2", "--rate", "8"]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "UMBEL_"))}

    done = subprocess.run(
        [*command, "--keep", tmp_path],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    with capsys.disabled():
        print(f"\n{done.stdout}")
    assert done.returncode == 0, done.stdout + done.stderr
    # Columns of the last line: in all, sent, tasks, done, by Celery, by umbel, and the faults.
    [in_all] = re.findall(r"^in all +(.*)$", done.stdout, re.MULTILINE)
    sent, tasks, finished, by_celery, by_umbel, *faults = map(int, in_all.split())
    assert faults == [0, 0, 0, 0, 0]
    assert finished == tasks == by_celery + by_umbel
    assert tasks > sent > 100
    assert min(by_celery, by_umbel) > 100
    assert "left at the broker: nothing" in done.stdout
    assert "umbel drain: " in done.stdout
