"""What a monitor's picture knows of workers, what it forgets, and what can't disturb it."""

import pickle
import threading
import time

from umbel.events.picture import State


def worker(subject, clock=1, hostname="w@host", **fields):
    now = time.time()
    return {
        "type": f"worker-{subject}",
        "hostname": hostname,
        "clock": clock,
        "timestamp": now,
        "local_received": now,
        "pid": 12,
        "freq": 2.0,
        **fields,
    }


def task(uuid, subject="received", clock=1, **fields):
    return {"type": f"task-{subject}", "uuid": uuid, "hostname": "w@host", "clock": clock, **fields}


def test_a_worker_lives_by_its_heartbeats():
    state = State()

    state.event(worker("online", active=3, processed=9, sw_ident="umbel"))
    (alive,) = state.alive_workers()
    assert (alive.active, alive.processed, alive.sw_ident, alive.id) == (3, 9, "umbel", "w@host.12")
    assert alive.status_string == "ONLINE"

    state.event(worker("heartbeat", local_received=time.time() - 60, hostname="old@host"))
    assert [one.hostname for one in state.alive_workers()] == ["w@host"]

    state.event(worker("offline"))
    assert list(state.alive_workers()) == []
    assert state.workers["w@host"].status_string == "OFFLINE"


def test_joining_and_leaving_is_told():
    told = []
    state = State(
        on_node_join=lambda one: told.append(("join", one.hostname)),
        on_node_leave=lambda one: told.append(("leave", one.hostname)),
    )

    state.event(worker("heartbeat"))
    state.event(worker("heartbeat"))
    state.event(worker("offline"))

    assert told == [("join", "w@host"), ("leave", "w@host")]
    assert not state.workers


def test_only_so_many_tasks_are_remembered():
    state = State(max_tasks_in_memory=3)

    for number in range(10):
        state.event(task(str(number), clock=number))

    assert list(state.tasks) == ["7", "8", "9"]
    assert [uuid for uuid, _ in state.tasks_by_time(limit=2)] == ["9", "8"]


def test_children_find_their_parents_in_either_order():
    state = State()

    state.event(task("child", parent_id="parent", root_id="root"))
    state.event(task("parent", root_id="root"))
    state.event(task("root"))
    state.event(task("late", parent_id="parent", root_id="root"))

    parent = state.tasks["parent"]
    assert {one.uuid for one in parent.children} == {"child", "late"}
    assert state.tasks["late"].parent is parent
    assert state.tasks["child"].root is state.tasks["root"]
    assert parent.as_dict()["root"] == "root"


def test_events_of_ones_own_are_states_of_ones_own():
    state = State()
    state.event(task("a", "started"))

    (seen, is_new), subject = state.event(task("a", "progress", done=3, state="X", children=1))

    assert (seen.done, is_new, subject, seen.state) == (3, False, "progress", "PROGRESS")
    assert seen.children == set()


def test_nothing_that_an_event_holds_disturbs_the_picture():
    state = State()

    for event in (
        {},
        {"type": None},
        {"type": "task-received"},
        {"type": "task-received", "hostname": "w@host"},
        {"type": "task-received", "hostname": 3, "uuid": "a"},
        {"type": "task-received", "hostname": "w@host", "uuid": ["a"]},
        {"type": "worker-heartbeat"},
        {"type": "nonsense"},
    ):
        assert state.event(event) is None
    state.event(task("a", clock="x", event=1, info=2, as_dict=3, ready="no"))
    state.event(worker("heartbeat", timestamp=None, local_received=None, update=1))

    assert state.tasks["a"].info() == {}
    assert not state.tasks["a"].ready
    assert list(state.tasks_by_time())


def test_the_callback_sees_each_event_first():
    seen = []
    state = State(callback=lambda state, event: seen.append((len(state.tasks), event["uuid"])))

    state.event(task("a"))
    state.event(task("b"))

    assert seen == [(0, "a"), (1, "b")]


def test_nothing_changes_while_the_picture_is_frozen():
    state = State()
    begun, go_on = threading.Event(), threading.Event()

    def look():
        begun.set()
        assert go_on.wait(10)
        return len(state.tasks)

    found = []
    looker = threading.Thread(target=lambda: found.append(state.freeze_while(look)))
    looker.start()
    assert begun.wait(10)
    teller = threading.Thread(target=lambda: state.event(task("a")))
    teller.start()
    teller.join(0.1)
    assert teller.is_alive()
    go_on.set()
    looker.join(10)
    teller.join(10)

    assert found == [0]
    assert list(state.tasks) == ["a"]


def test_what_has_ended_is_forgotten_after_a_look():
    state = State()
    state.event(task("done", "succeeded"))
    state.event(task("running", "started"))

    assert state.freeze_while(lambda: 7, clear_after=True) == 7

    assert list(state.tasks) == ["running"]
    state.clear(ready=False)
    assert not state.tasks


def test_a_picture_can_be_stored():
    state = State(callback=print, max_tasks_in_memory=2)
    state.event(worker("online"))
    state.event(task("a", name="tasks.add"))

    again = pickle.loads(pickle.dumps(state))

    assert again.tasks["a"].name == "tasks.add"
    assert again.tasks["a"].worker.hostname == "w@host"
    again.event(task("b"))
    again.event(task("c"))
    assert list(again.tasks) == ["b", "c"]
