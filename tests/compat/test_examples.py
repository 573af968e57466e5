"""The programs of ``examples/``, with the real Celery and with umbel under its name.

They import from ``celery`` alone. Each is run with Celery's own worker on Redis, then with umbel's
on Redis and on the file that is used where nothing is said. All three print the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from side_by_side import Environment, printed_by

pytestmark = [pytest.mark.slow, pytest.mark.redis]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
WORKER = {
    "image_pipeline": ["-c", "2"],
    "web_crawler": ["-c", "2", "-Q", "network,crawler"],
    "nightly_report": [],
}
# A line of each that says that the interesting part was reached.
TELLING = {
    "image_pipeline": "broken: ChordError: Dependency <id> raised CorruptPicture("
    "'broken-1.pgm has no header')",
    "web_crawler": "levels: [1, 4, 14, 11, 12], 42 pages in all",
    "nightly_report": "printed by priority: alarm, invoice, leaflet, archive, archive-2",
}


@pytest.mark.parametrize("name", sorted(WORKER))
def test_an_example_prints_the_same_with_celery_and_with_umbel(
    name: str,
    celery_free: Path,
    plain_environment: Environment,
    redis_url: str,
    tmp_path: Path,
) -> None:
    on_redis = plain_environment | {
        "CELERY_BROKER_URL": redis_url,
        "CELERY_RESULT_BACKEND": redis_url,
        "C_FORCE_ROOT": "1",
    }
    server = redis_url.rpartition("/")[0]
    elsewhere = {"CELERY_BROKER_URL": f"{server}/1", "CELERY_RESULT_BACKEND": f"{server}/1"}
    python = celery_free / "python"
    program, options = EXAMPLES / name, WORKER[name]

    of_celery = printed_by(program, Path(sys.executable), tmp_path / "celery", on_redis, *options)
    of_umbel = printed_by(program, python, tmp_path / "redis", on_redis | elsewhere, *options)
    of_the_file = printed_by(program, python, tmp_path / "file", plain_environment, *options)

    assert TELLING[name] in of_celery
    assert of_umbel == of_celery
    assert of_the_file == of_celery
    assert (tmp_path / "file" / "umbel.db").exists()
