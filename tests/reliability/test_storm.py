"""A short storm in each run of the tests; ``make storm SEED=.. SECONDS=..`` for a long one."""

import pytest
from storm import storm


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine",
    [
        "sqlite",
        pytest.param("redis", marks=pytest.mark.redis),
        # Results on a server of their own, which is hurt as well.
        pytest.param("sqlite+redis", marks=pytest.mark.redis),
        pytest.param("redis+redis", marks=pytest.mark.redis),
    ],
)
def test_a_storm_loses_nothing_and_leaves_nothing_hanging(engine, tmp_path, redis_server):
    found = storm(engine, seed=20, seconds=9, folder=tmp_path / "storm")

    assert found.faults == {}, str(found)
    assert sum(found.accepted.values()) > 300
