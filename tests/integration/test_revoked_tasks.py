"""A revoked task does not run, also where it was revoked while nobody was there to hear of it."""

import time

import pytest

from umbel import chain, chord, group
from umbel.exceptions import ChordError, TaskRevokedError

pytestmark = pytest.mark.slow  # real workers


def lines_of(path):
    return path.read_text().splitlines() if path.exists() else []


def until(condition, timeout_s=15.0):
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.01)


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_is_revoked_without_a_worker_does_not_run_later(
    pool, urls, program, start_worker, tmp_path
):
    trace = tmp_path / "trace"
    ran = program.note.delay(str(trace), "before")
    refused = program.note.delay(str(trace), "refused")
    delayed = program.note.apply_async((str(trace), "delayed"), countdown=1)

    refused.revoke()
    program.app.control.revoke([delayed.id])

    told_at_once = refused.state
    worker = start_worker("canvas_tasks", "-P", pool, "-c", "2", env=urls)
    assert ran.get(timeout=15) == "before"
    worker.wait_for(f"Discarding revoked task: canvas_tasks.note[{refused.id}]")
    worker.wait_for(f"Discarding revoked task: canvas_tasks.note[{delayed.id}]")
    assert told_at_once == "REVOKED"
    assert [line.split()[1] for line in lines_of(trace)] == ["before"]
    with pytest.raises(TaskRevokedError, match="revoked"):
        refused.get(timeout=5)


def test_a_worker_that_runs_learns_of_it(urls, program, start_worker, tmp_path):
    trace = tmp_path / "trace"
    worker = start_worker("canvas_tasks", "-c", "1", env=urls)
    program.add.delay(1, 1).get(timeout=15)
    program.add.delay(1, 1).get(timeout=15)
    long = program.nap.delay(1.0, "ran on")
    worker.wait_for(f"Task canvas_tasks.nap[{long.id}] received")
    refused = [program.note.delay(str(trace), f"m{n}") for n in range(30)]

    group_of = program.app.ResultSet(refused)
    group_of.revoke()
    long.revoke()

    assert program.add.delay(2, 2).get(timeout=15) == 4
    assert lines_of(trace) == []
    assert {result.state for result in refused} == {"REVOKED"}
    assert long.get(timeout=5) == "ran on"


def test_what_depends_on_a_revoked_task_is_resolved(urls, program, start_worker):
    first = program.add.si(1, 1).set(task_id="00000000-0000-0000-0000-000000000001")
    member = program.add.si(1, 1).set(task_id="00000000-0000-0000-0000-000000000002")
    follower = chain(first, program.mul.s(2)).apply_async()
    joined = chord(group(member, program.add.si(2, 2)), program.tsum.s()).apply_async()

    program.app.control.revoke([first.id, member.id])
    start_worker("canvas_tasks", "-c", "2", env=urls)

    with pytest.raises(TaskRevokedError):
        follower.get(timeout=15)
    with pytest.raises(ChordError, match="TaskRevokedError"):
        joined.get(timeout=15)


def test_a_retry_of_a_revoked_task_does_not_run(urls, program, start_worker):
    worker = start_worker("canvas_tasks", "-c", "1", env=urls)
    result = program.flaky_later.delay()
    until(lambda: program.app.AsyncResult(result.id).state == "RETRY")

    result.revoke()

    assert program.app.AsyncResult(result.id).state == "REVOKED"
    worker.wait_for(f"Discarding revoked task: canvas_tasks.flaky_later[{result.id}]")
