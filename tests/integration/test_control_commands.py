"""``umbel status``, ``inspect`` and ``control`` beside a running worker."""

import json
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow  # a real worker, and a program per command


@pytest.fixture
def umbel(urls, environment_of, tmp_path):
    """Run the command line; gives exit code, what it printed, what it complained."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "umbel", "-A", "commanded_tasks", *arguments],
            env=environment_of(urls),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def test_nobody_answers_where_nobody_is(umbel):
    for words in (("status",), ("inspect", "ping"), ("control", "pool_grow"), ("status", "-j")):
        assert umbel(*words) == (69, "", "Error: No nodes replied within time constraint\n")


def test_answers_have_celerys_forms(umbel, urls, start_worker):
    start_worker("commanded_tasks", "-c", "1", "-n", "w1@here", env=urls)

    started = time.monotonic()
    assert umbel("status", "-t", "50") == (0, "->  w1@here: OK\n\n1 node online.\n", "")
    assert umbel("inspect", "ping", "-t", "50") == (
        0,
        "->  w1@here: OK\n        pong\n\n1 node online.\n",
        "",
    )
    # All who listen have answered: nobody waits for the rest of the time.
    assert time.monotonic() - started < 50
    assert umbel("inspect", "active")[1] == "->  w1@here: OK\n    - empty -\n\n1 node online.\n"
    assert "\n    * commanded_tasks.add\n" in umbel("inspect", "registered")[1]
    code, printed, _ = umbel("inspect", "stats", "--json", "-d", "w1@here")
    assert code == 0
    assert json.loads(printed)["w1@here"]["pool"]["max-concurrency"] == 1
    assert umbel("control", "rate_limit", "commanded_tasks.add", "10/m") == (
        0,
        "->  w1@here: OK\n        new rate limit set successfully\n",
        "",
    )
    code, printed, _ = umbel("control", "time_limit", "nope", "1", "2.5", "-j")
    assert (code, json.loads(printed)) == (0, [{"w1@here": {"error": "unknown task"}}])
    assert umbel("control", "pool_shrink", "9")[1].startswith("->  w1@here: ERROR\n")
    assert umbel("inspect", "ping", "-d", "nobody@here", "-t", "0.1")[0] == 69


def test_commands_of_the_app_are_commands_too(umbel, urls, start_worker):
    start_worker("commanded_tasks", "-c", "1", "-n", "w1@here", env=urls)

    code, printed, _ = umbel("inspect", "double", "21", "-j")

    assert (code, json.loads(printed)["w1@here"]["x"]) == (0, 42)
    assert "double" in umbel("inspect", "nope")[2]


def test_what_is_revoked_by_command_is_kept_at_the_broker(umbel, urls, commanded):
    code, _, _ = umbel("control", "revoke", "one", "two", "-t", "0.1")
    stamped, _, _ = umbel("control", "revoke_by_stamped_headers", "customer=bad", "-t", "0.1")

    assert (code, stamped) == (69, 69)  # nobody was there to answer
    _, ids = commanded.app.connections.pair().broker.revocations.since(0)
    assert ids[:2] == ["one", "two"]
    assert len(ids) == 3


def test_what_a_command_lacks_is_said(umbel):
    cases = {
        ("inspect", "nope"): "Command nope not recognized.",
        ("inspect", "pool_grow"): "It is a command of `control`.",
        ("control", "rate_limit", "x"): "rate_limit takes TASK RATE",
        ("control", "pool_grow", "many"): "n is 'many'; wanted a int",
        ("control", "revoke_by_stamped_headers", "x"): "wanted NAME=VALUE",
        ("inspect", "ping", "x"): "ping takes no arguments",
    }

    for words, text in cases.items():
        code, _, complaint = umbel(*words)
        assert code == 2
        assert text in complaint


def test_shutdown_by_command(umbel, urls, start_worker):
    worker = start_worker("commanded_tasks", "-c", "1", "-n", "w1@here", env=urls)

    assert umbel("control", "shutdown", "-d", "w1@here") == (0, "", "")

    assert worker.process.wait(15) == 0
