"""``app.backend``: what is read, waited for and stored, on a real memory engine and a real file."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from umbel import Celery, group
from umbel.model.errors import NotBuiltYet, OperationalError, TaskRevokedError, TimeoutError
from umbel.ports.revocations import stamp_id
from umbel.wire import pidbox

JSON = frozenset({"application/json"})


@pytest.fixture(params=["memory", "sqlite"])
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    url = f"memory://{tmp_path.name}" if request.param == "memory" else None
    if url is None:
        url = f"sqlite:///{tmp_path / 'tasks.db'}"
    with Celery("shop", broker=url, backend=url) as app:
        yield app


def test_a_result_that_is_not_there_is_pending(stored: Celery) -> None:
    meta = stored.backend.get_task_meta("nobody")

    assert (meta["status"], meta["result"], meta["task_id"]) == ("PENDING", None, "nobody")


def test_what_is_stored_is_read(stored: Celery) -> None:
    stored.backend.store_result("t1", {"done": 3}, "PROGRESS")
    stored.backend.mark_as_failure("t2", KeyError("missing"), "Traceback ...")

    assert stored.AsyncResult("t1").info == {"done": 3}
    assert isinstance(stored.backend.get_result("t2"), KeyError)
    assert stored.backend.get_traceback("t2") == "Traceback ..."
    assert stored.backend.get_state("t2") == "FAILURE"
    assert stored.AsyncResult("t2").date_done is not None


def test_a_success_is_final(stored: Celery) -> None:
    stored.backend.mark_as_done("t1", 1)
    stored.backend.store_result("t1", None, "RETRY")

    assert stored.backend.get_state("t1") == "SUCCESS"


def test_waiting_gives_records_as_they_end(stored: Celery) -> None:
    seen: list[Any] = []

    def work() -> None:
        with stored:
            stored.backend.store_result("b", 50, "PROGRESS")
            stored.backend.mark_as_done("b", "second")
            stored.backend.mark_as_done("a", "first")

    worker = threading.Thread(target=work)
    worker.start()
    ended = list(stored.backend.wait_for(["a", "b"], 10, on_message=seen.append))
    worker.join()

    assert {(record.task_id, record.result) for record in ended} == {
        ("a", "first"),
        ("b", "second"),
    }
    assert {meta["task_id"] for meta in seen} == {"a", "b"}


def test_a_wait_that_is_too_long_says_what_is_known(stored: Celery) -> None:
    intervals: list[int] = []

    with pytest.raises(TimeoutError) as raised:
        list(
            stored.backend.wait_for(
                [f"id-{n}" for n in range(9)], 0.05, on_interval=lambda: intervals.append(1)
            )
        )

    text = str(raised.value)
    assert text.startswith("no result within 0.05 s of task id-0, id-1, id-2 and 6 more (broker ")
    assert str(stored.connections.pair().broker.url) in text
    assert intervals


def test_nobody_is_waited_for_at_once(stored: Celery) -> None:
    assert list(stored.backend.wait_for([], 5)) == []


def test_a_wait_that_is_too_long_says_whether_anybody_works(stored: Celery) -> None:
    def text() -> str:
        with pytest.raises(TimeoutError) as raised:
            list(stored.backend.wait_for(["x"], 0))
        return str(raised.value)

    broker = stored.connections.pair().broker
    assert broker is not None
    is_file = broker.url.startswith("sqlite")
    before = text()
    broker.enlist("w@h#1.0.1", 60)

    assert ("no worker has this file open" if is_file else "no worker is connected") in before
    assert "no worker" not in text()


def test_a_wait_that_is_too_long_says_that_the_broker_is_away(
    app: Celery, broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from umbel.ports.engine import Pair

    def workers() -> list[str]:
        raise OperationalError("noting:// can't be reached")

    store = app.open_pair().store
    broker.workers = workers
    monkeypatch.setattr(app.connections, "pair", lambda: Pair(broker, store, False))

    with pytest.raises(TimeoutError, match="noting:// can't be reached"):
        list(app.backend.wait_for(["x"], 0))


def test_results_are_forgotten(stored: Celery) -> None:
    stored.backend.mark_as_done("t1", 1)

    stored.AsyncResult("t1").forget()

    assert stored.AsyncResult("t1").state == "PENDING"


def test_groups_are_saved_and_restored(stored: Celery) -> None:
    add = stored.task(lambda x, y: x + y, name="add")
    result = group(add.s(n, n) for n in range(3)).apply_async()

    result.save()
    again = stored.GroupResult.restore(result.id)

    assert [member.id for member in again] == [member.id for member in result]
    again.delete()
    assert stored.GroupResult.restore(result.id) is None


def test_running_tasks_tell_how_far_they_are(stored: Celery) -> None:
    @stored.task(bind=True)
    def work(self):
        self.update_state(state="PROGRESS", meta={"done": 1})

    work.apply(task_id="t1")

    assert stored.backend.get_task_meta("t1")["result"] == {"done": 1}
    with pytest.raises(ValueError, match="needs a task_id"):
        work.update_state(state="PROGRESS")


def test_eager_results_are_stored_where_it_is_asked(stored: Celery) -> None:
    stored.conf.update(task_always_eager=True, task_store_eager_result=True)
    add = stored.task(lambda x, y: x + y, name="add")

    result = add.apply_async((1, 2))

    assert stored.AsyncResult(result.id).get(timeout=5) == 3


def test_results_expire_as_the_settings_say(app: Celery) -> None:
    from datetime import timedelta

    from umbel.model.record import Record

    app.conf.update(result_expires=timedelta(minutes=1), result_failure_expires=7)

    assert app.archive.document(Record("t", "SUCCESS", 1)).ttl_s == 60
    assert app.archive.document(Record("t", "FAILURE", ValueError())).ttl_s == 7
    app.conf.update(result_expires=None)
    assert app.archive.document(Record("t", "SUCCESS", 1)).ttl_s is None


def test_what_is_not_accepted_is_not_read(stored: Celery) -> None:
    from umbel.model.errors import ContentDisallowed

    stored.conf.result_serializer = "pickle"
    stored.backend.mark_as_done("t1", 1)

    with pytest.raises(ContentDisallowed):
        stored.backend.get_state("t1")
    stored.conf.result_accept_content = ["pickle"]
    assert stored.backend.get_result("t1") == 1


def test_a_revoked_task_is_written_down_and_told_at_once(stored: Celery) -> None:
    stored.backend.store_result("retried", KeyError("again"), "RETRY")
    stored.backend.store_result("running", {"pid": 1}, "STARTED")
    stored.backend.mark_as_done("done", 1)

    stored.control.revoke(["retried", "running", "done"])
    stored.AsyncResult("waiting").revoke()

    broker = stored.connections.pair().broker
    assert broker is not None
    _, revoked = broker.revocations.since(0)
    assert sorted(revoked) == ["done", "retried", "running", "waiting"]
    states = {name: stored.backend.get_state(name) for name in revoked}
    assert states == {
        "retried": "REVOKED",
        "running": "STARTED",
        "done": "SUCCESS",
        "waiting": "REVOKED",
    }
    with pytest.raises(TaskRevokedError, match="revoked"):
        stored.AsyncResult("waiting").get(timeout=1)


def test_a_task_is_revoked_where_results_are_disabled(tmp_path: Path) -> None:
    with Celery("shop", broker=f"sqlite:///{tmp_path}/only.db") as app:
        app.control.revoke("t1")

        broker = app.connections.pair().broker
        assert broker is not None
        assert broker.revocations.since(0)[1] == ["t1"]


def test_a_revocation_is_said_to_who_listens(stored: Celery) -> None:
    broker = stored.connections.pair().broker
    assert broker is not None
    listener = broker.bus.listen("celery.pidbox")

    stored.AsyncResult("t1").revoke(terminate=True, signal="SIGKILL")
    stored.AsyncResult("t2").revoke_by_stamped_headers({"customer": "a"})
    commands = []
    while len(commands) < 2:
        commands += [pidbox.decode_command(each.raw, JSON) for each in listener.arrived(5)]

    listener.close()
    assert [each.method for each in commands] == ["revoke", "revoke_by_stamped_headers"]
    assert commands[0].arguments == {"task_id": ["t1"], "terminate": True, "signal": "SIGKILL"}
    assert commands[1].arguments["headers"] == {"customer": "a"}
    assert broker.revocations.since(0)[1] == ["t1", stamp_id("customer", "a")]


def test_an_election_is_refused_by_name(stored: Celery) -> None:
    with pytest.raises(NotBuiltYet, match="app.control.election is not built"):
        stored.control.election("id", "topic")
    with pytest.raises(AttributeError):
        _ = stored.control.no_such_thing


def test_control_purges_the_queues_of_the_app(stored: Celery) -> None:
    stored.send_task("any")
    stored.send_task("any", countdown=60)

    assert stored.control.purge() == 2
    assert stored.control.discard_all() == 0


def test_a_report_says_where_things_are(stored: Celery) -> None:
    report = stored.bugreport()

    assert f"broker   -> {stored.connections.broker_url()}" in report
    assert "umbel:" in report
