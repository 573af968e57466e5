"""Producers are killed while they send: what was accepted runs, and nothing is half sent."""

import random
import subprocess
import sys
from collections import Counter

import pytest
from rig import PROGRAMS, until

pytestmark = pytest.mark.slow
WIDTH = 40
SIZES = {"task": 1, "chain": 1, "group": WIDTH, "chord": WIDTH}
KILLS = 15


def said(path):
    """(tried, sent): the keys in the log of a producer."""
    lines = path.read_text().splitlines() if path.exists() else []
    return tuple([line.split()[1] for line in lines if line.startswith(w)] for w in ("try", "sent"))


@pytest.mark.parametrize("system", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def test_what_a_killed_producer_was_told_is_sent_runs_and_nothing_is_half(system, bench_of):
    bench = bench_of(system)
    dice = random.Random(5)
    logs = [bench.folder / f"producer-{number}" for number in range(KILLS)]

    for number, log in enumerate(logs):
        program = [sys.executable, str(PROGRAMS / "storm_producer.py"), f"p{number}", str(log)]
        producer = subprocess.Popen(program, env=bench.environment(), cwd=bench.folder)
        until(lambda log=log: len(said(log)[1]) > 3, 30)
        until(lambda log=log, more=dice.randrange(20): len(said(log)[1]) > 3 + more, 30)
        producer.kill()
        producer.wait(10)
    bench.start_worker()
    until(lambda: not any(bench.depth()), 60)

    trace, begun = bench.trace.ended(), bench.trace.begun()
    ended = Counter(key.rsplit("-", 1)[0] for key in trace if key[-1].isdigit())
    tried = [key for log in logs for key in said(log)[0]]
    sent = {key for log in logs for key in said(log)[1]}
    assert len(sent) > 5 * KILLS
    for key in tried:
        size = SIZES[key.rsplit("-", 1)[1]]
        assert ended[key] in ((size,) if key in sent else (0, size)), f"{key}: {ended[key]}"
    for key in sent:
        if key.endswith("chord"):
            assert trace[f"{key}-body"] == 1
        if key.endswith("chain"):
            assert [trace[f"{key}-step-{n}"] for n in "abc"] == [1, 1, 1]
    assert max(begun.values()) == 1
