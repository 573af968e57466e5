"""Remote control of real workers, on each engine: who is asked, what is answered, what follows."""

import os
import signal
import time

import pytest

from umbel import Celery
from umbel.exceptions import TaskRevokedError
from umbel.ports.bus import Notice
from umbel.wire import pidbox
from umbel.wire.pidbox import Command

pytestmark = pytest.mark.slow  # real workers

PATIENCE_S = 15.0


def until(condition, timeout_s=PATIENCE_S):
    limit = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < limit, "the condition did not come true in time"
        time.sleep(0.02)
    return found


def ask(commanded, **who):
    return commanded.app.control.inspect(timeout=PATIENCE_S, **who)


def only(answers):
    """What the one worker has answered."""
    [answer] = answers.values() if isinstance(answers, dict) else answers[0].values()
    return answer


def test_workers_answer_those_who_address_them_and_at_once(urls, commanded, start_worker):
    start_worker("commanded_tasks", "-c", "1", "-n", "one@here", env=urls)
    start_worker("commanded_tasks", "-c", "1", "-n", "two@here", "-P", "threads", env=urls)
    control = commanded.app.control
    both = {"one@here": {"ok": "pong"}, "two@here": {"ok": "pong"}}

    started = time.monotonic()
    everybody = ask(commanded).ping()
    one = ask(commanded, destination=["one@here"]).ping()
    alone = ask(commanded, destination="two@here").ping()
    listed = control.ping(destination=["two@here"], timeout=PATIENCE_S)
    first = control.ping(timeout=PATIENCE_S, limit=1)
    took_s = time.monotonic() - started
    by_glob = ask(commanded, pattern="on*@here", matcher="glob", limit=1).ping()
    by_regex = ask(commanded, pattern="^t.o@", matcher="pcre", limit=1).ping()

    assert everybody == both
    assert one == {"one@here": {"ok": "pong"}}
    assert alone == {"ok": "pong"}
    assert listed == [{"two@here": {"ok": "pong"}}]
    assert len(first) == 1
    assert by_glob == {"one@here": {"ok": "pong"}}
    assert by_regex == {"two@here": {"ok": "pong"}}
    # All who listened have answered: nobody waits for the rest of the timeout.
    assert took_s < PATIENCE_S
    assert control.ping(destination=["nobody@here"], timeout=0.2) == []


def test_tasks_are_shown_wherever_they_are(urls, commanded, start_worker):
    start_worker("commanded_tasks", "-c", "1", env=urls)
    running = commanded.nap.delay(60, value="v")
    late = commanded.add.apply_async((1, 2), {}, countdown=3600)
    inspect = ask(commanded)

    [active] = until(lambda: only(inspect.active()))
    [scheduled] = until(lambda: only(inspect.scheduled()))

    assert active == {
        "id": running.id,
        "name": "commanded_tasks.nap",
        "args": [60],
        "kwargs": {"value": "v"},
        "type": "commanded_tasks.nap",
        "hostname": active["hostname"],
        "time_start": active["time_start"],
        "acknowledged": False,
        "delivery_info": {
            "exchange": "",
            "routing_key": "celery",
            "priority": 0,
            "redelivered": False,
        },
        "worker_pid": active["worker_pid"],
    }
    assert abs(time.time() - active["time_start"]) < 60
    assert active["worker_pid"] in only(inspect.stats())["pool"]["processes"]
    assert only(inspect.active(safe=True))[0]["args"] == "(60,)"
    assert scheduled["request"]["id"] == late.id
    assert scheduled["eta"].startswith("20")
    states = only(inspect.query_task(running.id, late.id, "unknown"))
    assert {name: state for name, (state, _) in states.items()} == {
        running.id: "active",
        late.id: "scheduled",
    }
    running.revoke(terminate=True)


def test_a_running_task_is_ended_and_the_pool_goes_on(urls, commanded, start_worker):
    worker = start_worker("commanded_tasks", "-c", "1", env=urls)
    running = commanded.nap.delay(300)
    behind = [commanded.add.delay(number, 1) for number in range(3)]
    until(lambda: only(ask(commanded).active()))

    told = commanded.app.control.revoke(running.id, terminate=True, reply=True, timeout=PATIENCE_S)

    assert only(told) == {"ok": f"terminate: {running.id}"}
    with pytest.raises(TaskRevokedError, match="terminated"):
        running.get(timeout=PATIENCE_S)
    assert running.state == "REVOKED"
    assert [each.get(timeout=PATIENCE_S) for each in behind] == [1, 2, 3]
    assert running.id in only(ask(commanded).revoked())
    worker.wait_for("Terminating commanded_tasks.nap")
    unknown = commanded.app.control.terminate("unknown", reply=True, timeout=PATIENCE_S)
    assert only(unknown) == {"ok": "terminate: tasks unknown"}


def test_sigusr1_interrupts_a_task_that_may_catch_it(urls, commanded, start_worker):
    start_worker("commanded_tasks", "-c", "1", env=urls)
    running = commanded.patient.delay(300)
    before = until(lambda: only(ask(commanded).active()))[0]["worker_pid"]

    running.revoke(terminate=True, signal="SIGUSR1", wait=True, timeout=PATIENCE_S)

    assert running.get(timeout=PATIENCE_S) == "interrupted"
    assert only(ask(commanded).stats())["pool"]["processes"] == [before]


def test_a_task_of_the_threads_pool_is_not_ended_and_the_answer_says_so(
    urls, commanded, start_worker
):
    start_worker("commanded_tasks", "-P", "threads", "-c", "2", env=urls)
    running = commanded.nap.delay(1.5, "ended by itself")
    until(lambda: only(ask(commanded).active()))

    told = commanded.app.control.terminate(running.id, reply=True, timeout=PATIENCE_S)

    assert "the threads pool can't end one task" in only(told)["error"]
    assert running.get(timeout=PATIENCE_S) == "ended by itself"


def test_tasks_with_a_revoked_stamp_do_not_run(urls, commanded, start_worker):
    start_worker("commanded_tasks", "-c", "2", env=urls)
    add, control = commanded.add, commanded.app.control
    running = commanded.nap.apply_async((300,), stamped_headers=["customer"], customer="bad")
    until(lambda: only(ask(commanded).active()))

    told = control.revoke_by_stamped_headers(
        {"customer": ["bad", "worse"]}, terminate=True, reply=True, timeout=PATIENCE_S
    )
    refused = add.apply_async((1, 1), stamped_headers=["customer"], customer="worse")
    good = add.apply_async((1, 1), stamped_headers=["customer"], customer="good")

    assert only(told) == {"ok": f"terminate: {running.id}"}
    for result in (running, refused):
        with pytest.raises(TaskRevokedError):
            result.get(timeout=PATIENCE_S)
    assert good.get(timeout=PATIENCE_S) == 2
    assert only(ask(commanded).revoked()) == []


def test_queues_are_added_and_cancelled(urls, commanded, start_worker):
    start_worker("commanded_tasks", "-c", "2", env=urls)
    control = commanded.app.control
    waiting = commanded.add.apply_async((1, 2), queue="extra")

    added = control.add_consumer("extra", reply=True, timeout=PATIENCE_S)

    assert only(added) == {"ok": "add consumer extra"}
    assert waiting.get(timeout=PATIENCE_S) == 3
    names = [queue["name"] for queue in only(ask(commanded).active_queues())]
    assert names == ["celery", "extra"]
    cancelled = control.cancel_consumer("extra", reply=True, timeout=PATIENCE_S)
    assert only(cancelled) == {"ok": "no longer consuming from extra"}
    assert [queue["name"] for queue in only(ask(commanded).active_queues())] == ["celery"]
    # Children that slept on the old queues as well as one that is born now.
    stays = commanded.add.apply_async((1, 2), queue="extra")
    control.pool_grow(1)
    assert [commanded.add.delay(n, n).get(timeout=PATIENCE_S) for n in range(20)][-1] == 38
    assert stays.state == "PENDING"


def test_the_pool_grows_and_shrinks(urls, commanded, start_worker):
    start_worker("commanded_tasks", "-c", "2", env=urls)
    control = commanded.app.control

    def processes():
        return only(ask(commanded).stats())["pool"]["processes"]

    grown = control.pool_grow(2, reply=True, timeout=PATIENCE_S)
    until(lambda: len(processes()) == 4)
    shrunk = control.pool_shrink(3, reply=True, timeout=PATIENCE_S)
    until(lambda: len(processes()) == 1)
    too_far = control.pool_shrink(1, reply=True, timeout=PATIENCE_S)

    assert only(grown) == {"ok": "pool will grow"}
    assert only(shrunk) == {"ok": "pool will shrink"}
    assert only(too_far)["error"].startswith("ValueError(")
    assert commanded.add.delay(1, 1).get(timeout=PATIENCE_S) == 2


def test_a_restarted_pool_has_the_app_anew(urls, commanded, start_worker, tmp_path):
    file = tmp_path / "version"
    file.write_text("first")
    start_worker("commanded_tasks", "-c", "2", env={**urls, "VERSION_FILE": str(file)})
    before = commanded.version.delay().get(timeout=PATIENCE_S)
    file.write_text("second")

    told = commanded.app.control.pool_restart(reply=True, timeout=PATIENCE_S)

    assert before == "first"
    assert only(told) == {"ok": "reload started"}
    until(lambda: commanded.version.delay().get(timeout=PATIENCE_S) == "second")


def test_limits_are_changed_for_what_begins_then(urls, commanded, start_worker):
    worker = start_worker("commanded_tasks", "-c", "1", env=urls)
    control = commanded.app.control
    name = "commanded_tasks.patient"

    told = control.time_limit(name, soft=0.2, hard=20, reply=True, timeout=PATIENCE_S)
    rated = control.rate_limit("commanded_tasks.add", "500/m", reply=True, timeout=PATIENCE_S)

    assert only(told) == {"ok": "time limits set successfully"}
    assert commanded.patient.delay(60).get(timeout=PATIENCE_S) == "interrupted"
    assert only(rated) == {"ok": "new rate limit set successfully"}
    shown = only(ask(commanded).registered())
    assert "commanded_tasks.add [rate_limit=500/m]" in shown
    assert "commanded_tasks.limited [rate_limit=1000/s]" in shown
    for refused in (
        control.time_limit("nope", soft=1, reply=True, timeout=PATIENCE_S),
        control.rate_limit("nope", "1/s", reply=True, timeout=PATIENCE_S),
    ):
        assert only(refused) == {"error": "unknown task"}
    assert worker.process.poll() is None


def test_commands_of_the_app_run_where_the_app_is(urls, commanded, start_worker):
    start_worker("commanded_tasks", "-c", "1", "-n", "own@here", env=urls)
    control = commanded.app.control

    def said(command, **arguments):
        return only(control.broadcast(command, arguments, reply=True, timeout=PATIENCE_S))

    assert said("double", x=21) == {"x": 42, "app": "commanded_tasks", "node": "own@here"}
    assert said("odd")["odd"] == "<class 'object'>"
    assert said("raise_it") == {"error": "ValueError('as asked')"}
    assert said("no_such_command") == {"error": "KeyError('no_such_command')"}
    assert "is not built" in said("memdump", samples=3)["error"]
    assert said("election", id="1", topic="t", action="a") is None


def test_a_worker_is_shut_down_from_outside_and_finishes_what_runs(urls, commanded, start_worker):
    worker = start_worker("commanded_tasks", "-c", "1", "-n", "leaving@here", env=urls)
    running = commanded.nap.delay(0.5, "finished")
    until(lambda: only(ask(commanded).active()))

    commanded.app.control.shutdown(destination=["leaving@here"])

    assert worker.process.wait(PATIENCE_S) == 0
    assert running.get(timeout=PATIENCE_S) == "finished"
    assert "Got shutdown from remote" in worker.log
    assert ask(commanded).ping() is None


def test_a_nursery_that_hangs_or_dies_keeps_nobody_from_answering(urls, commanded, start_worker):
    worker = start_worker("commanded_tasks", "-c", "1", env=urls)
    [nursery] = [
        pid
        for pid in children_of(worker.process.pid)
        if pid not in only(ask(commanded).stats())["pool"]["processes"]
    ]

    os.kill(nursery, signal.SIGSTOP)
    pong = ask(commanded).ping()
    silence = commanded.app.control.inspect(timeout=0.3).report()
    os.kill(nursery, signal.SIGKILL)

    assert only(pong) == {"ok": "pong"}
    assert silence is None
    assert until(lambda: "ok" in only(commanded.app.control.inspect(timeout=5).report()))


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(each) for each in file.read().split()]


@pytest.mark.redis
def test_a_worker_listens_again_after_an_outage(start_redis, start_worker):
    server = start_redis("--appendonly", "yes")
    app = Celery("commanded_tasks", broker=server.url, backend=server.url, set_as_current=False)
    env = {"CELERY_BROKER_URL": server.url, "CELERY_RESULT_BACKEND": server.url}
    worker = start_worker("commanded_tasks", "-c", "1", env=env)
    assert app.control.ping(timeout=PATIENCE_S)

    server.kill()
    worker.wait_for("lost")
    server.start()

    until(lambda: app.control.ping(timeout=0.3))
    assert only(app.control.inspect(timeout=PATIENCE_S).active()) == []
    app.close()


def test_a_deaf_worker_answers_nobody(urls, commanded, start_worker):
    worker = start_worker("commanded_tasks", "-c", "1", env={**urls, "DEAF": "yes"})

    assert commanded.app.control.ping(timeout=0.3) == []
    assert commanded.add.delay(1, 1).get(timeout=PATIENCE_S) == 2
    assert worker.process.poll() is None


def test_nothing_that_is_said_ends_a_worker(urls, commanded, start_worker):
    worker = start_worker("commanded_tasks", "-c", "1", "-n", "calm@here", env=urls)
    bus = commanded.app.connections.pair().broker.bus
    control = commanded.app.control
    sound = pidbox.encode_command(Command("ping", {}), "celery.pidbox")
    nonsense = [b"", b"\xff", b"[]", b"{}", sound[:-20], sound.replace(b"base64", b"base65")]

    bus.say([Notice("celery.pidbox", "", raw) for raw in nonsense])
    for command, arguments in (
        ("revoke", {"task_id": {"a": 1}, "terminate": True, "signal": "SIGNONE"}),
        ("revoke_by_stamped_headers", {"headers": [1, None]}),
        ("query_task", {"ids": 5}),
        ("rate_limit", {}),
        ("time_limit", {"task_name": "commanded_tasks.add", "soft": "x", "hard": []}),
        ("time_limit", {"task_name": "commanded_tasks.add", "soft": "nan", "hard": -1}),
        ("add_consumer", {"queue": None}),
        ("add_consumer", {"queue": "q", "exchange": ["x"]}),
        ("add_consumer", {"queue": "q", "exchange_type": "guess"}),
        ("pool_grow", {"n": "many"}),
        ("hello", {"from_node": 1, "revoked": 7}),
        ("active", {"safe": [], "unknown": 1}),
        ("note_queue", {}),
    ):
        control.broadcast(command, arguments, reply=True, timeout=1)
    control.broadcast("ping", pattern="(", matcher="pcre")
    control.broadcast("ping", pattern="x", matcher="guess")

    assert ask(commanded).ping() == {"calm@here": {"ok": "pong"}}
    assert commanded.add.delay(1, 1).get(timeout=PATIENCE_S) == 2
    assert worker.process.poll() is None
