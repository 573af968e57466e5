"""A child is killed between any two named steps of a message's life, and nothing is lost."""

import pytest

from umbel import chain, chord
from umbel.worker import points

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [1, 4])
@pytest.mark.parametrize("step", points.NAMES)
def test_a_kill_at_a_step_leaves_a_chord_of_chains_right_and_its_body_run_once(
    step, number, urls, program, start_worker, tmp_path
):
    passings, trace = tmp_path / "passings", tmp_path / "trace"
    env = {**urls, "CRASH_AT": f"{step}:{number}:{passings}"}
    start_worker("crashing_tasks", "-c", "2", env=env)

    result = chord(
        [chain(program.add.si(i, i), program.mul.s(2)) for i in range(4)],
        chain(program.tsum.s(), program.note.si(str(trace), "body")),
    ).apply_async()

    assert result.get(timeout=20) == "body"
    assert result.parent.get(timeout=20) == [4 * i for i in range(4)]
    assert len(passings.read_text()) > number
    # What had ended but was not settled runs again; the body's successor is sent once.
    runs = len(trace.read_text().splitlines())
    assert runs == 1 or step in ("ended", "settles")
