"""The command line as far as it goes without an app: options, refusals, near misses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from umbel.cli.main import main
from umbel.cli.refused import INSTEAD
from umbel.cli.work import usable_cpus
from umbel.model.version import VERSION
from umbel.worker.options import WorkerOptions


class Said(NamedTuple):
    code: object
    out: str
    err: str


Umbel = Callable[..., Said]


@pytest.fixture
def umbel(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Umbel:
    """Run a command line in this process."""
    for name in ("APP", "BROKER_URL", "RESULT_BACKEND", "CONFIG_MODULE", "NO_COLOR"):
        for variable in (name, f"CELERY_{name}"):
            monkeypatch.setenv(variable, "")  # so that it is put back, whatever main() sets
            monkeypatch.delenv(variable)

    def run(*words: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(words, program="umbel")
        out, err = capsys.readouterr()
        return Said(ended.value.code, out, err)

    return run


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[WorkerOptions]:
    """What the supervisor is asked to run; it is replaced, because this is about words only."""
    options: list[WorkerOptions] = []

    def run(given: WorkerOptions) -> int:
        options.append(given)
        return 3

    monkeypatch.setattr("umbel.worker.program.run", run)
    return options


def test_version_is_one_line(umbel: Umbel) -> None:
    assert umbel("--version") == Said(0, f"umbel {VERSION}\n", "")
    assert umbel("-q", "--version").out == f"umbel {VERSION}\n"


def test_version_is_quick_and_loads_no_click() -> None:
    program = "import sys; sys.argv[1:] = ['--version']; from umbel.cli.main import main\n"
    program += "try: main()\nfinally: assert 'click' not in sys.modules"
    command = [sys.executable, "-c", program]
    # The first run writes the bytecode that an installed umbel has from the start.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    taken = []
    for _ in range(5):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        after = os.times()
        # The processor's seconds: what else runs on the machine is no business of ours.
        taken.append(
            after.children_user
            - before.children_user
            + after.children_system
            - before.children_system
        )

    assert min(taken) < 0.15


def test_help_lists_what_is_there_and_what_is_not(umbel: Umbel) -> None:
    said = umbel("--help")

    assert said.code == 0
    assert re.search(r"^  worker +Start a worker\.$", said.out, re.M)
    assert "Not built yet" in said.out
    assert "beat" in said.out


def test_the_worker_gets_its_options(umbel: Umbel, asked: list[WorkerOptions]) -> None:
    words = "-A proj -b redis://one -q worker -c 4 -P threads -Q mail,default -n w@%h -l info -E"
    words += " --max-tasks-per-child 100 --max-memory-per-child 5000 --time-limit 9.5"
    words += " --soft-time-limit 3 --pidfile p.pid --logfile l.log --without-gossip"
    words += " --without-mingle --without-heartbeat -X slow -I more.tasks --purge"

    said = umbel(*words.split())

    assert said.code == 3
    assert asked == [
        WorkerOptions(
            app="proj",
            broker="redis://one",
            quiet=True,
            concurrency=4,
            pool="threads",
            queues="mail,default",
            hostname="w@%h",
            loglevel="INFO",
            events=True,
            max_tasks_per_child=100,
            max_memory_per_child=5000,
            time_limit=9.5,
            soft_time_limit=3.0,
            pidfile="p.pid",
            logfile="l.log",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            exclude_queues="slow",
            include="more.tasks",
            purge=True,
        )
    ]


def test_what_is_not_said_is_left_to_the_app(umbel: Umbel, asked: list[WorkerOptions]) -> None:
    umbel("-A", "proj", "worker")

    assert asked == [WorkerOptions(app="proj")]


def test_the_broker_that_was_named_wins_over_the_app(
    umbel: Umbel, asked: list[WorkerOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://environment")

    umbel("-A", "proj", "-b", "redis://line", "worker")

    assert asked[0].broker == "redis://line"
    assert os.environ["CELERY_BROKER_URL"] == "redis://line"


def test_environment_variables_stand_in_for_options(
    umbel: Umbel, asked: list[WorkerOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CELERY_APP", "proj")
    monkeypatch.setenv("CELERY_WORKER_CONCURRENCY", "7")

    umbel("worker")

    assert (asked[0].app, asked[0].concurrency) == ("proj", 7)


def test_workdir_is_changed_to_first(
    umbel: Umbel, asked: list[WorkerOptions], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()

    umbel("-A", "proj", "--workdir", "there", "worker")

    assert asked[0].workdir == str(tmp_path / "there") == os.getcwd()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("workr", "No such command 'workr'. Did you mean worker?"),
        ("frobnicate", "Commands: worker, call, purge, result, list, dead,"),
        ("-A p worker --concurency 3", "Did you mean '--concurrency'?"),
        ("-A p worker -P prefok", "'prefok' is no pool. Did you mean prefork?"),
        ("-A p worker -P nothing", "Wanted one of prefork, threads, solo."),
        ("-A p worker -l inof", "'inof' is no log level. Did you mean INFO?"),
        ("-A p worker -c many", "'many' is neither a number nor 'auto'"),
        ("-A p worker -Q ,", "',' names nothing"),
        ("worker -A p", "-A stands before the command: umbel -A ... worker"),
        ("worker", "which app?"),
        ("-A p call t -a [1", "'[1' is no JSON"),
        ("-A p call t -a 1", "'1' is no JSON array"),
        ("-A p call t -k []", "'[]' is no JSON object"),
        ("-A p call t --eta tomorrow", "'tomorrow' is no ISO 8601 date"),
        ("-A p call", "Missing argument 'NAME'"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(umbel: Umbel, words: str, answer: str) -> None:
    said = umbel(*words.split())

    assert said.code == 2
    assert answer in " ".join(said.err.split())


@pytest.mark.parametrize("command", INSTEAD)
def test_commands_that_are_not_built_are_refused_by_name(umbel: Umbel, command: str) -> None:
    said = umbel("-A", "proj", command, "-l", "info", "--whatever")

    assert said == Said(1, "", f"Error: `{command}` is not built yet: {INSTEAD[command]}\n")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("-D", "-D/--detach"),
        ("-B", "-B/--beat"),
        ("--uid nobody", "--uid"),
        ("-P gevent", "the gevent pool"),
        ("-P eventlet", "the eventlet pool"),
    ],
)
def test_options_that_are_not_built_are_refused_by_name(
    umbel: Umbel, asked: list[WorkerOptions], words: str, name: str
) -> None:
    said = umbel("-A", "proj", "worker", *words.split())

    assert said.code == 1
    assert said.err.startswith(f"Error: {name} is not built")
    assert asked == []


def test_auto_concurrency_minds_the_quota_of_the_container(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"

    quota.write_text("50000 100000\n")
    halved = usable_cpus(str(quota))
    quota.write_text("max 100000\n")
    unbounded = usable_cpus(str(quota))

    assert halved == 1
    assert unbounded == usable_cpus(str(tmp_path / "missing")) >= 1


def test_python_dash_m_umbel_is_the_same_command_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "umbel", "workr"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert done.stderr.startswith("Usage: python -m umbel")
