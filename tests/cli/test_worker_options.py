"""Every option of ``celery worker``: its effect on what is run, or its refusal by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import pytest

from umbel.cli.main import main
from umbel.worker.options import WorkerOptions

# What each option of Celery's does: a change of what the supervisor is asked to run...
EFFECTS: dict[str, dict[str, Any]] = {
    "-n w1@%h": {"hostname": "w1@%h"},
    "--hostname w1": {"hostname": "w1"},
    "-l debug": {"loglevel": "DEBUG"},
    "--loglevel FATAL": {"loglevel": "FATAL"},
    "--prefetch-multiplier 3": {"prefetch_multiplier": 3},
    "--disable-prefetch": {"prefetch_multiplier": 1},
    "-c 3": {"concurrency": 3},
    "--concurrency 3": {"concurrency": 3},
    "-P solo": {"pool": "solo"},
    "--pool processes": {"pool": "prefork"},
    "-E": {"events": True},
    "--task-events": {"events": True},
    "--events": {"events": True},
    "--time-limit 2.5": {"time_limit": 2.5},
    "--soft-time-limit 1.5": {"soft_time_limit": 1.5},
    "--max-tasks-per-child 7": {"max_tasks_per_child": 7},
    "--max-memory-per-child 9000": {"max_memory_per_child": 9000},
    "--purge": {"purge": True},
    "--discard": {"purge": True},
    "-Q a,b": {"queues": "a,b"},
    "--queues a": {"queues": "a"},
    "-X a": {"exclude_queues": "a"},
    "--exclude-queues a,b": {"exclude_queues": "a,b"},
    "-I m.one,m.two": {"include": "m.one,m.two"},
    "--include m": {"include": "m"},
    "--without-gossip": {"without_gossip": True},
    "--without-mingle": {"without_mingle": True},
    "--without-heartbeat": {"without_heartbeat": True},
    "--heartbeat-interval 5": {"heartbeat_interval": 5.0},
    "--autoscale 10,3": {"autoscale": (10, 3)},
    "--autoscale=3,10": {"autoscale": (10, 3)},
    "--autoscale 4": {"autoscale": (4, 0)},
    "-f w.log": {"logfile": "w.log"},
    "--logfile w.log": {"logfile": "w.log"},
    "--pidfile w.pid": {"pidfile": "w.pid"},
}
# ... nothing, because it asks for what umbel does anyway ...
AS_IT_IS = {
    "-O fair": "work is never reserved behind a long task",
    "--optimization default": "the same",
    "-S state.db": "revocations are kept at the broker, and outlive all workers",
    "--statedb state.db": "the same",
    "--pool-start-method fork": "children are forked",
}
# ... or a refusal that names it and what to use instead.
REFUSALS = {
    "-D": "the service manager",
    "--detach": "the service manager",
    "--uid nobody": "the service manager",
    "--gid nobody": "the service manager",
    "--umask 022": "the service manager",
    "--executable /bin/python": "the service manager",
    "--pool-start-method spawn": "worker_process_init",
    "-P gevent": "-P threads",
    "-P eventlet": "-P threads",
    "-P custom": "-P threads",
    "-B": "",
    "--beat": "",
    "-s file": "",
    "--schedule file": "",
    "--schedule-filename file": "",
    "--scheduler module:Class": "",
}

Run = Callable[..., Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[WorkerOptions]:
    """What the supervisor is asked to run; it is replaced, because this is about words only."""
    options: list[WorkerOptions] = []

    def run(given: WorkerOptions) -> int:
        options.append(given)
        return 0

    monkeypatch.setattr("umbel.worker.program.run", run)
    return options


def run(words: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["-A", "proj", "worker", *words.split()], program="umbel")
    return ended.value.code


@pytest.mark.parametrize("words", EFFECTS)
def test_an_option_has_its_effect(words: str, asked: list[WorkerOptions]) -> None:
    code = run(words)

    assert code == 0
    assert asked == [WorkerOptions(app="proj")._replace(**EFFECTS[words])]


@pytest.mark.parametrize("words", AS_IT_IS)
def test_an_option_that_asks_for_what_is_done_anyway_is_taken(
    words: str, asked: list[WorkerOptions]
) -> None:
    code = run(words)

    assert code == 0
    assert asked == [WorkerOptions(app="proj")]


@pytest.mark.parametrize("words", REFUSALS)
def test_an_option_that_is_not_built_names_itself_and_what_to_use_instead(
    words: str, asked: list[WorkerOptions], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(words)

    said = capsys.readouterr().err
    assert code == 1
    assert asked == []
    assert words.split()[-1] in said or words.split()[0] in said
    assert REFUSALS[words] in said


@pytest.mark.parametrize(
    "words",
    [
        "--autoscale many",
        "--autoscale 1,2,3",
        "--heartbeat-interval x",
        "-c many",
        "--time-limit -1",
        "--pool-start-method forkserver",
        "-O best",
        "-P prefrok",
        "-l LOUD",
    ],
)
def test_a_value_that_is_none_is_refused(
    words: str, asked: list[WorkerOptions], capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(words)

    assert code == 2
    assert asked == []
    assert words.split()[0] in capsys.readouterr().err


def test_no_option_of_celery_is_missing_from_these_tables() -> None:
    from celery.bin.worker import worker

    names = {
        name for option in worker.params if isinstance(option, click.Option) for name in option.opts
    }

    told = [*EFFECTS, *AS_IT_IS, *REFUSALS]
    assert names - {words.replace("=", " ").split()[0] for words in told} == set()
