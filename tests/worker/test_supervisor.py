"""The supervisor with real processes: see stage.py for what the children play."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # real processes, killed and stopped

STAGE = Path(__file__).parent / "stage.py"
LIMIT_S = 10.0


class Performance:
    """A running stage, and what its parts have told."""

    def __init__(self, play, **settings):
        self.process = subprocess.Popen(
            [sys.executable, str(STAGE), play, json.dumps(settings)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.told = []
        self.errors = []
        self._arriving = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._arriving.put(json.loads(line))
        self._arriving.put(None)

    def _read_errors(self):
        self.errors.extend(self.process.stderr)

    def wait_for(self, times=1, **facts):
        """The ``times``-th telling with these facts, from now on."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            line = self._arriving.get(timeout=max(deadline - time.monotonic(), 0.01))
            assert line is not None, f"no {facts}; told: {self.told}; {''.join(self.errors)}"
            self.told.append(line)
            if all(line.get(name, self) == value for name, value in facts.items()):
                times -= 1
                if not times:
                    return line

    def wait_for_any(self, name):
        """The next telling that has this fact."""
        while True:
            line = self._arriving.get(timeout=LIMIT_S)
            assert line is not None, f"no {name}; told: {self.told}; {''.join(self.errors)}"
            self.told.append(line)
            if name in line:
                return line

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """The exit code, after everything that was told."""
        code = self.process.wait(LIMIT_S)
        for reader in self._readers:
            reader.join(LIMIT_S)
        while (line := self._arriving.get(timeout=LIMIT_S)) is not None:
            self.told.append(line)
        return code

    @property
    def said(self):
        return "".join(self.errors)

    def all_told(self, **facts):
        return [
            line
            for line in self.told
            if all(line.get(name, self) == value for name, value in facts.items())
        ]


@pytest.fixture
def perform():
    performances = []

    def start(play, **settings):
        performances.append(Performance(play, **settings))
        return performances[-1]

    yield start
    for performance in performances:
        if performance.process.poll() is None:
            performance.process.kill()
        performance.process.wait()
        for reader in performance._readers:
            reader.join(LIMIT_S)
        performance.process.stdout.close()
        performance.process.stderr.close()


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until(condition, limit_s=LIMIT_S):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="subreaper, PDEATHSIG")


# - Life and death


@linux_only
def test_children_are_the_supervisors_own_and_claim_before_it_is_ready(perform):
    stage = perform("idle", children=3)

    stage.wait_for(signal="worker_ready")
    stage.signal(signal.SIGTERM)
    code = stage.end()

    children = [line for line in stage.told if "child" in line]
    assert {line["ppid"] for line in children} == {stage.process.pid}
    assert {line["child"] for line in children} == {0, 1, 2}
    assert "celery@stage ready." in stage.said
    assert code == 0


def test_a_dead_child_is_recovered_at_once_and_replaced(perform):
    stage = perform("idle", children=2)
    stage.wait_for(signal="worker_ready")
    victim = next(line for line in stage.told if line.get("child") == 1)

    killed_at = time.monotonic()
    os.kill(victim["pid"], signal.SIGKILL)
    recovered = stage.wait_for(broker="recover")
    born = stage.wait_for(child=1)

    assert recovered["consumer"].endswith(".1.1")
    assert recovered["losses"] == []
    assert recovered["at"] - killed_at < 0.5
    assert born["at"] - killed_at < 1.0


def test_the_task_of_a_dead_child_counts_and_what_waited_behind_it_does_not(perform):
    stage = perform("dying_task")

    recovered = stage.wait_for(broker="recover")

    assert recovered["losses"] == [[11, None, True]]
    assert recovered["consumer"].endswith(".0.1")
    stage.wait_for(child=0)


@linux_only
def test_a_killed_supervisor_takes_nursery_and_children_with_it(perform):
    stage = perform("stubborn", children=3)
    nursery = stage.wait_for_any("nursery")["nursery"]
    stage.wait_for(times=3, began=7)
    pids = [line["pid"] for line in stage.told if "child" in line]

    stage.process.kill()
    stage.process.wait()

    wait_until(lambda: all(is_gone(pid) for pid in [nursery, *pids]), 2.0)


@linux_only
def test_a_killed_nursery_is_replaced_and_children_go_on(perform):
    stage = perform("idle", children=2)
    nursery = stage.wait_for_any("nursery")["nursery"]
    stage.wait_for(signal="worker_ready")
    pids = {line["child"]: line["pid"] for line in stage.told if "child" in line}

    os.kill(nursery, signal.SIGKILL)
    again = stage.wait_for(is_again=True)
    os.kill(pids[0], signal.SIGKILL)
    born = stage.wait_for(child=0)

    assert again["nursery"] != nursery
    assert born["pid"] != pids[0]
    assert not is_gone(pids[1])
    assert not [line for line in stage.told if str(line.get("consumer")).endswith(".1.1")]
    stage.signal(signal.SIGTERM)
    assert stage.end() == 0


def test_without_a_subreaper_the_nursery_reports_deaths(perform):
    stage = perform("idle", children=2, without_reaper=True)
    stage.wait_for(signal="worker_ready")
    victim = next(line for line in stage.told if line.get("child") == 1)

    os.kill(victim["pid"], signal.SIGKILL)
    stage.wait_for(broker="recover")
    stage.wait_for(child=1)
    stage.signal(signal.SIGTERM)

    assert victim["ppid"] != stage.process.pid
    assert stage.end() == 0
    assert len(stage.all_told(broker="recover")) == 3


def test_without_a_subreaper_children_of_a_dead_nursery_are_replaced(perform):
    stage = perform("stubborn", children=2, without_reaper=True)
    nursery = stage.wait_for_any("nursery")["nursery"]
    stage.wait_for(times=2, began=7)

    os.kill(nursery, signal.SIGKILL)
    stage.wait_for(times=2, broker="recover")
    stage.wait_for(times=2, began=7)
    stage.signal(signal.SIGQUIT)

    assert stage.end() == 1


@linux_only
def test_orphans_that_a_task_leaves_behind_are_reaped(perform):
    stage = perform("leaves_orphan")

    orphan = stage.wait_for_any("orphan")["orphan"]

    wait_until(lambda: not Path(f"/proc/{orphan}").exists(), 3.0)
    stage.signal(signal.SIGTERM)
    assert stage.end() == 0


def test_a_child_that_has_run_its_number_is_replaced_without_a_pause_or_an_error(perform):
    stage = perform("recycled")

    stage.wait_for(times=4, child=0)
    stage.signal(signal.SIGTERM)

    assert stage.end() == 0
    born = [line["at"] for line in stage.told if "child" in line]
    assert born[3] - born[0] < 1.0
    assert "exited" not in stage.said


def test_children_that_die_at_start_end_the_worker_with_their_own_traceback(perform):
    stage = perform("dies_at_start")

    code = stage.end()

    assert code == 1
    assert "RuntimeError: no way to start" in stage.said
    assert "children die at start" in stage.said
    assert len(stage.all_told(start=0)) == 5


def test_an_app_that_breaks_ends_the_worker_with_its_own_traceback(perform):
    stage = perform("broken_import")

    code = stage.end()

    assert code == 1
    assert "an app that breaks" in stage.said
    assert stage.said.startswith("Traceback")
    assert "rearing.py" not in stage.said
    assert len([line for line in stage.told if "nursery" in line]) == 1


def test_an_app_whose_import_ends_its_process_is_named(perform):
    stage = perform("broken_import", exits=True)

    assert stage.end() == 1
    assert "the import of the app ended its process: exitcode 4" in stage.said


# - Give-back


def test_what_waits_behind_a_long_task_is_given_back_in_order(perform):
    stage = perform("long_task")

    began = stage.wait_for(began=1)
    released = stage.wait_for(broker="release")

    assert released["tokens"] == [2, 3, 4]
    assert released["consumer"].endswith(".0.1")
    assert released["at"] - began["at"] < 0.25


def test_short_tasks_are_left_alone(perform):
    stage = perform("short_tasks")

    stage.wait_for_any("ran")
    stage.signal(signal.SIGTERM)
    stage.end()

    # One task in a while is slow because the machine is; most batches run to their end.
    given = sum(len(line["tokens"]) for line in stage.all_told(broker="release"))
    assert given < 40


# - Time limits


def test_a_task_that_outruns_its_limits_is_warned_once_and_then_killed_with_a_verdict(perform):
    stage = perform("limited")

    began = stage.wait_for(began=5)
    warned = stage.wait_for(soft=True)
    recovered = stage.wait_for(broker="recover")
    stage.wait_for(child=0)
    stage.signal(signal.SIGTERM)
    stage.end()

    assert 0.2 <= warned["at"] - began["at"] < 0.45
    assert 0.5 <= recovered["at"] - began["at"] + 0.01 < 0.8
    [[token, verdict, _]] = recovered["losses"]
    assert token == 5
    assert json.loads(verdict)["kind"] == "TimeLimitExceeded"
    assert json.loads(verdict)["args"] == [0.5]
    assert len(stage.all_told(soft=True)) == 1
    assert "Hard time limit (0.5s) exceeded" in stage.said


def test_tasks_that_keep_their_limits_are_not_disturbed(perform):
    stage = perform("many_limited")

    stage.wait_for(ran=1000)
    stage.signal(signal.SIGTERM)

    assert stage.end() == 0
    assert len([line for line in stage.told if "child" in line]) == 1


def test_a_child_that_is_let_go_on_by_somebody_is_stopped_again(perform):
    stage = perform("limited_and_continued")

    recovered = stage.wait_for(broker="recover")

    assert recovered["losses"][0][0] == 5
    assert "TimeLimitExceeded" in recovered["losses"][0][1]


def test_what_ran_beside_a_task_that_outran_its_limit_is_not_counted(perform):
    stage = perform("two_threads", pool="threads", threads=2)

    recovered = stage.wait_for(broker="recover")

    [guilty, innocent] = recovered["losses"]
    assert guilty[0] == 1
    assert "TimeLimitExceeded" in guilty[1]
    assert innocent == [2, None, False]


# - Stopping


def test_a_warm_stop_waits_for_what_runs(perform):
    stage = perform("sleepy_task", children=2)
    stage.wait_for(times=2, began=1)

    stage.signal(signal.SIGTERM)
    code = stage.end()

    assert code == 0
    assert len(stage.all_told(ended=1)) == 2
    assert "worker: Warm shutdown (MainProcess)" in stage.said
    assert stage.all_told(signal="worker_shutting_down")[0]["facts"] == {
        "sig": "SIGTERM",
        "how": "Warm",
        "exitcode": 0,
    }
    assert stage.all_told(signal="worker_shutdown")
    assert all(line["losses"] == [] for line in stage.all_told(broker="recover"))


def test_a_stop_does_not_wait_for_an_app_that_is_being_imported(perform):
    stage = perform("slow_import")
    stage.wait_for_any("nursery")

    stage.signal(signal.SIGTERM)

    assert stage.end() == 0


@pytest.mark.parametrize("delay_s", [0.0, 0.005, 0.01, 0.015, 0.02])
@pytest.mark.parametrize("without_reaper", [False, True])
def test_a_stop_reaches_children_that_are_just_being_born(perform, delay_s, without_reaper):
    stage = perform("idle", children=3, without_reaper=without_reaper)
    stage.wait_for(broker="sweep")

    time.sleep(delay_s)
    stage.signal(signal.SIGTERM)

    assert stage.end() == 0
    assert "ERROR" not in stage.said


def test_a_second_interrupt_kills_and_hands_back_uncounted(perform):
    stage = perform("stubborn")
    stage.wait_for(began=7)

    stage.signal(signal.SIGINT)
    stage.wait_for(signal="worker_shutting_down")
    stage.signal(signal.SIGINT)
    code = stage.end()

    assert code == 1
    assert stage.all_told(broker="recover")[0]["losses"] == [[7, None, False]]
    assert "worker: Hitting Ctrl+C again will terminate all running tasks!" in stage.said
    assert "worker: Cold shutdown (MainProcess)" in stage.said


def test_quit_is_cold_at_once(perform):
    stage = perform("stubborn")
    stage.wait_for(began=7)

    stage.signal(signal.SIGQUIT)

    assert stage.end() == 1
    assert stage.all_told(broker="recover")[0]["losses"] == [[7, None, False]]


def test_a_grace_ends_a_warm_stop(perform):
    stage = perform("stubborn", grace_s=0.3)
    stage.wait_for(began=7)

    stage.signal(signal.SIGTERM)

    assert stage.end() == 0
    assert stage.all_told(broker="recover")[0]["losses"] == [[7, None, False]]


def test_a_hang_up_asks_for_a_restart(perform):
    stage = perform("idle")
    stage.wait_for(signal="worker_ready")

    stage.signal(signal.SIGHUP)

    assert stage.end() == 0
    assert stage.all_told(exit=0)[0]["wants_restart"] is True


def test_a_heartbeat_goes_on_while_a_stop_waits(perform):
    stage = perform("stubborn", beat_s=0.1)
    stage.wait_for(began=7)

    stage.signal(signal.SIGTERM)
    stage.wait_for(signal="worker_shutting_down")

    stage.wait_for(times=3, broker="renew")


# - The broker


def test_a_broker_that_is_away_is_named_once_and_owed_what_it_missed(perform, tmp_path):
    away = tmp_path / "away"
    stage = perform("idle", away_file=str(away), beat_s=0.1, sweep_s=0.1)
    child = stage.wait_for(child=0)
    stage.wait_for(signal="worker_ready")

    away.touch()
    wait_until(lambda: "is away" in stage.said)
    os.kill(child["pid"], signal.SIGKILL)
    stage.wait_for(child=0)
    away.unlink()
    recovered = stage.wait_for(broker="recover")
    stage.signal(signal.SIGTERM)
    stage.end()

    assert recovered["consumer"].endswith(".0.1")
    assert stage.said.count("Connection to broker telling:// lost") == 1
    assert stage.said.count("is back after") == 1


def test_a_parked_message_is_swept_for_when_it_is_due(perform):
    stage = perform("parks", sweep_s=5.0)

    due = stage.wait_for_any("due")["due"]
    swept = stage.wait_for(broker="sweep")

    stage.signal(signal.SIGTERM)
    stage.end()

    assert -0.005 <= swept["at"] - due < 0.1
    assert len(stage.all_told(broker="sweep")) == 2
    assert stage.all_told(broker="bind", queue="celery")


def test_an_idle_supervisor_costs_next_to_nothing(perform):
    stage = perform("idle", children=4, beat_s=1.0, sweep_s=0.5)
    stage.wait_for(signal="worker_ready")
    ticks = os.sysconf("SC_CLK_TCK")

    def cpu_s():
        fields = Path(f"/proc/{stage.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    before = cpu_s()
    stage.wait_for(times=3, broker="sweep")

    assert cpu_s() - before <= 2 / ticks


def test_what_lost_its_lease_with_the_connection_is_ended_where_that_is_asked_for(
    perform, tmp_path
):
    lost = tmp_path / "lost"
    settings = {"lost_file": str(lost), "beat_s": 0.1}
    patient = perform("stubborn", **settings)
    strict = perform("stubborn", is_ending_what_is_lost=True, **settings)
    for stage in (patient, strict):
        stage.wait_for(began=7)
        stage.wait_for(times=2, broker="renew")

    lost.touch()
    strict.wait_for(child=0)
    patient.wait_for(times=3, broker="renew")

    assert "was lost with the connection, and runs elsewhere" in strict.said
    assert len(patient.all_told(child=0)) == 1
