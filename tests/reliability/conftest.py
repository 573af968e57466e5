"""A bench per test: servers and workers of its own, all ended with it."""

import pytest
from rig import DURABLE, Bench


@pytest.fixture
def bench_of(tmp_path, redis_server):
    """Give a running bench of a system; ``redis_server`` says so where there is none."""
    benches = []

    def make(system, *, settings=None, redis_arguments=DURABLE):
        folder = tmp_path / f"{system}-{len(benches)}"
        bench = Bench(system, folder, settings=settings, redis_arguments=redis_arguments)
        benches.append(bench)
        return bench.__enter__()

    yield make
    for bench in benches:
        bench.__exit__()
