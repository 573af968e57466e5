"""What Celery's user guide teaches, as one program, with the real Celery and with umbel.

The program is ``programs/guide``: each line that it prints is one manner of the guide's pages on
applications, tasks, calling, canvas, routing and workers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from side_by_side import Environment, printed_by

pytestmark = [pytest.mark.slow, pytest.mark.redis]

PROGRAM = Path(__file__).parent / "programs" / "guide"


def test_the_user_guides_manners_come_to_the_same(
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

    def answers(python: Path, folder: str, env: Environment) -> list[str]:
        return printed_by(PROGRAM, python, tmp_path / folder, env, "-c", "2")

    of_celery = answers(Path(sys.executable), "celery", on_redis)

    assert len(of_celery) > 70
    assert answers(python, "redis", on_redis | elsewhere) == of_celery
    assert answers(python, "file", plain_environment) == of_celery
