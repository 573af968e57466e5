"""No input ends a worker: what can't be run is kept with its bytes and its cause."""

import base64
import json
import socket

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from malformed import HUGE, NONSENSE, odd, unusable
from rig import until
from stagehand import worked_off


class Wire:
    """A few commands to Redis, whatever the bytes."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def say(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(words)]
        parts += [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        self.socket.sendall(b"".join(parts))
        return self._read()

    def _read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        assert kind != b"-", rest
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def is_quiet(self):
        """Nothing waits, and nothing is held."""
        return not self.say("LLEN", "celery") and not self.say("KEYS", "umbel:i:*")

    def dead(self):
        """(raw, cause) of the dead letters."""
        numbers = self.say("ZRANGE", "umbel:dead", 0, -1)
        return [
            tuple(self.say("HMGET", b"umbel:dead:" + number, "raw", "cause")) for number in numbers
        ]


@pytest.fixture
def bench(bench_of):
    return bench_of("redis")


@pytest.fixture
def wire(bench):
    connection = Wire(bench.server.port)
    yield connection
    connection.close()


def good_message(bench, wire):
    bench.tasks.work.delay("template")
    return json.loads(wire.say("RPOP", "celery"))


def whole(worker):
    """The processes of a worker; the same before and after means that none has died."""
    return sorted(worker.children())


@pytest.mark.slow
@pytest.mark.redis
def test_what_can_not_be_run_is_kept_and_the_worker_goes_on(bench, wire):
    messages = unusable(good_message(bench, wire))
    worker = bench.start_worker(concurrency=1)
    processes = whole(worker)

    for raw in messages.values():
        wire.say("LPUSH", "celery", raw)
    after = bench.tasks.work.delay("after", 0, "fine")

    assert after.get(timeout=60) == "fine"
    until(wire.is_quiet, 20, "an empty queue")
    letters = wire.dead()
    kept = {raw for raw, _ in letters}
    assert [name for name, raw in messages.items() if raw not in kept] == []
    assert len(letters) == len(messages)
    assert all(cause for _, cause in letters)
    assert whole(worker) == processes
    assert len(worker.log) < 2_000_000


@pytest.mark.slow
@pytest.mark.redis
def test_nonsense_behind_a_task_does_not_end_the_worker(bench, wire):
    good = good_message(bench, wire)
    worker = bench.start_worker(concurrency=1)
    processes = whole(worker)

    for raw in odd(good, ["odd"]).values():
        wire.say("LPUSH", "celery", raw)
    after = bench.tasks.work.delay("after", 0, "fine")

    assert after.get(timeout=60) == "fine"
    until(wire.is_quiet)
    assert whole(worker) == processes, worker.log[-3000:]
    assert "Traceback" not in "".join(
        line for line in worker.log.splitlines() if "Supervisor" in line
    )


@pytest.mark.slow
@pytest.mark.redis
def test_50_megabytes_of_arguments_are_run(bench, wire):
    bench.start_worker(concurrency=1)

    result = bench.tasks.work.delay("x" * 10, 0, "y" * HUGE)

    assert len(result.get(timeout=60)) == HUGE


# The same in this process, with far more messages.

leaves = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text()
junk = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
OPTIONS = ("task_id", "group_id", "queue", "priority", "eta", "countdown", "expires", "link")
OPTIONS += ("link_error", "headers", "serializer", "chord", "stamped_headers", "reply_to", "x")
tasks = st.sampled_from(["give", "fail", "celery.chain", "celery.group", "celery.chord", "no.such"])
kinds = st.sampled_from([None, "chain", "group", "chord", "xmap", "chunks", "junk"])
signatures = st.fixed_dictionaries(
    {"task": tasks},
    optional={
        "args": junk,
        "kwargs": junk | st.dictionaries(st.sampled_from(["tasks", "header", "body"]), junk),
        "options": junk | st.dictionaries(st.sampled_from(OPTIONS), junk, max_size=3),
        "subtask_type": kinds,
        "immutable": junk,
        "chord_size": junk,
    },
)
embeds = st.dictionaries(
    st.sampled_from(["callbacks", "errbacks", "chain", "chord"]),
    signatures | st.lists(signatures, max_size=2),
    max_size=2,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@example(
    embed={"chain": [{"task": "give", "args": None, "options": {"task_id": [None]}}]},
    task="give",
    group=None,
)
@given(embed=embeds, task=st.sampled_from(["give", "fail"]), group=st.none() | st.just("g"))
def test_any_embedded_signature_is_settled_somehow(embed, task, group):
    raw = json.dumps(message_of(task, [[1], {}, embed], group=group)).encode()

    house = worked_off([raw])

    assert sum(house.depth("celery")[:1]) == 0


@pytest.mark.parametrize("name", NONSENSE)
@pytest.mark.parametrize("task", ["give", "fail"])
def test_nonsense_behind_a_task_is_settled(name, task):
    messages = odd(message_of(task, [[1], {}, {}]), [1])

    house = worked_off([raw for what, raw in messages.items() if what.endswith(name)])

    assert sum(house.depth("celery")[:1]) == 0


def message_of(task, body, *, group=None):
    data = base64.b64encode(json.dumps(body).encode()).decode()
    headers = {"lang": "py", "task": task, "id": f"{task}-1", "root_id": "r", "parent_id": None}
    headers |= {"group": group, "group_index": 0 if group else None, "retries": 0, "eta": None}
    headers |= {"expires": None, "timelimit": [None, None], "origin": "o", "shadow": None}
    where = {"exchange": "", "routing_key": "celery"}
    properties = {"correlation_id": "c", "reply_to": "r", "delivery_mode": 2, "priority": 0}
    properties |= {"delivery_info": where, "body_encoding": "base64", "delivery_tag": "t"}
    return {
        "body": data,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
