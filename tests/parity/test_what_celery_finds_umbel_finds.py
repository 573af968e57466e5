"""The same program on Celery and on umbel, each with workers of its own: what both find.

``programs/parity_scenarios.py`` has the scenarios. Where umbel means to differ, ``DIFFERENT`` says
why, and the test fails where it doesn't any more.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.redis, pytest.mark.slow]

PROGRAMS = Path(__file__).parent / "programs"
LIMIT_S = 180

# Where in what a scenario finds umbel differs, and why.
HEADER_OF_HEADER = "Celery loses the errback of a call where the header of a header fails"
BODY_OF_HEADER = "Celery calls the errback of the outer body for the inner body as well"
GROUP_BODY = "Celery hands the errbacks of a group as body the member's error, elsewhere ChordError"
STAMPED_REPLACEMENT = "Celery forgets the stamps of a task that is replaced"
STAMPED_BODY = "Celery does not stamp the body of a chord by name"
DIFFERENT = {
    "replaced by failing": {("header in a header",): "Celery never ends"},
    "representations": {("16",): "the members are written, whether or not they were read"},
    "four_deep_and_more": {("1", "0"): "members keep their order, where Celery turns it"},
    "stamps_by_name": {
        ("chord", "2"): STAMPED_BODY,
        ("chord in a chain", "3"): STAMPED_BODY,
        ("chord in a chain", "4"): STAMPED_BODY,
        ("chord of chains", "3"): STAMPED_BODY,
        ("chord of chains", "4"): STAMPED_BODY,
        ("replaced by task", "1"): STAMPED_REPLACEMENT,
        ("replaced by chain", "1"): STAMPED_REPLACEMENT,
        ("replaced by chain", "2"): STAMPED_REPLACEMENT,
        ("replaced by group", "1"): STAMPED_REPLACEMENT,
        ("replaced by group", "2"): STAMPED_REPLACEMENT,
        ("in a chain, replaced", "3"): STAMPED_REPLACEMENT,
    },
    "stamps_by_a_visitor": {
        ("replaced by task", "1", "1"): STAMPED_REPLACEMENT,
        ("replaced by chain", "1", "1"): STAMPED_REPLACEMENT,
        ("replaced by chain", "1", "2"): STAMPED_REPLACEMENT,
        ("replaced by group", "1", "1"): STAMPED_REPLACEMENT,
        ("replaced by group", "1", "2"): STAMPED_REPLACEMENT,
        ("in a chain, replaced", "1", "3"): STAMPED_REPLACEMENT,
    },
}
for kind in ("old", "new"):
    for how in ("on_error", "link_error", "option"):
        for allowed in ("", ", on headers"):
            found = DIFFERENT[f"{kind} errbacks by {how}{allowed}"] = {}
            if how == "option":
                found["header of a header",] = HEADER_OF_HEADER
            else:
                found["body of a header",] = BODY_OF_HEADER
            if kind == "new":
                found["header, of a group body", "0"] = GROUP_BODY
                found["header, of a group body", "1"] = GROUP_BODY


def environment(house: str, url: str, notes: Path) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "UMBEL_"))}
    env["PYTHONPATH"] = os.pathsep.join([str(PROGRAMS), *filter(None, [env.get("PYTHONPATH")])])
    names = {"HOUSE": house, "BROKER": url, "BACKEND": url, "NOTES": str(notes)}
    return {**env, "C_FORCE_ROOT": "1", **{f"PARITY_{k}": v for k, v in names.items()}}


@contextlib.contextmanager
def a_run(house: str, url: str, folder: Path):
    """A worker of a house and, once it is ready, the program; gives the program's process."""
    folder.mkdir()
    (folder / "notes").touch()
    env = environment(house, url, folder / "notes")
    worker_command = [sys.executable, "-m", house, "-A", "parity_tasks", "worker", "-c", "2"]
    with (folder / "worker.log").open("w") as log:
        worker = subprocess.Popen(
            [*worker_command, "-l", "INFO", "-n", "parity@host"],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        limit = time.monotonic() + 60
        while "ready." not in (folder / "worker.log").read_text():
            assert worker.poll() is None, (folder / "worker.log").read_text()
            assert time.monotonic() < limit, (folder / "worker.log").read_text()
            time.sleep(0.05)
        yield subprocess.Popen(
            [sys.executable, "-m", "parity_scenarios"],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)


@pytest.fixture(scope="session")
def found(redis_server, tmp_path_factory):
    """What each run found: ``found["celery"]`` and so on, each by scenario."""
    place = tmp_path_factory.mktemp("parity")
    server = redis_server.url.rpartition("/")[0]
    runs = {
        "celery": ("celery", f"{server}/7"),
        "umbel on redis": ("umbel", f"{server}/8"),
        "umbel on sqlite": ("umbel", f"sqlite:///{place}/umbel.db"),
    }
    results = {}
    with contextlib.ExitStack() as stack:
        programs = {
            name: stack.enter_context(a_run(house, url, place / name.replace(" ", "-")))
            for name, (house, url) in runs.items()
        }
        for name, program in programs.items():
            out, errors = program.communicate(timeout=LIMIT_S)
            assert program.returncode == 0, errors
            results[name] = json.loads(out)
    return results


def differences(one, other, place=()):
    """The places where two findings differ, as deep as their shapes are the same."""
    if one == other:
        return {}
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        pairs = [(key, one[key], other[key]) for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        if not any(isinstance(value, dict | list | str) for value in one):
            return {place: (one, other)}
        pairs = [(str(i), a, b) for i, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return {place: (one, other)}
    found = {}
    for key, a, b in pairs:
        found.update(differences(a, b, (*place, key)))
    return found


def test_no_scenario_ended_in_an_error(found):
    for name, results in found.items():
        broken = {s: v for s, v in results.items() if str(v).startswith(("sending:", "reading:"))}
        assert broken == {}, name


def test_umbel_finds_what_celery_finds(found):
    celery, umbel = found["celery"], found["umbel on redis"]

    differing = {name: differences(celery[name], umbel[name]) for name in celery}

    unwanted, gone = {}, {}
    for name, places in differing.items():
        meant = DIFFERENT.get(name, {})
        unwanted.update({(name, *at): pair for at, pair in places.items() if at not in meant})
        gone.update({(name, *at): why for at, why in meant.items() if at not in places})
    assert unwanted == {}
    assert gone == {}, "no difference any more"


def test_both_engines_find_the_same(found):
    assert differences(found["umbel on redis"], found["umbel on sqlite"]) == {}
