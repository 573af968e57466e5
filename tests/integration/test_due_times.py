"""What waits for its time runs when that has come, not when somebody happens to look."""

import time

import pytest

pytestmark = pytest.mark.slow  # real workers


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_each_of_several_due_messages_runs_at_its_time(start_worker, urls, program, pool):
    start_worker("canvas_tasks", "-c", "2", "-P", pool, env=urls)
    late = []

    for _ in range(5):
        began = time.monotonic()
        program.add.apply_async((1, 1), countdown=0.2).get(timeout=10)
        late.append(time.monotonic() - began - 0.2)

    # Without a hint the next look is up to a second away.
    assert sum(late) < 1.5, late


def test_a_time_that_has_passed_is_no_reason_to_wait(start_worker, urls, program):
    start_worker("canvas_tasks", "-c", "1", env=urls)
    began = time.monotonic()

    for _ in range(5):
        program.add.apply_async((1, 1), eta="2001-01-01T00:00:00+00:00").get(timeout=10)

    assert time.monotonic() - began < 1.5
