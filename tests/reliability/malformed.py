"""Messages that nobody should send: captured from Celery's unusable ones, and thought up.

``unusable`` are to end as dead letters. ``odd`` can be run, but what is to follow the task is
nonsense: whatever becomes of them, the worker must not mind.
"""

import base64
import copy
import json
from pathlib import Path

VECTORS = Path(__file__).parents[1] / "vectors"
DEEP = 100_000
HUGE = 50_000_000


def _load(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


def captured():
    """(name, bytes) of what ended, or was dropped by, a Celery worker."""
    found = {}
    for step in _load("consumer")["steps"]:
        if not step["step"].startswith("unusable"):
            continue
        for command in step["commands"]:
            for argument in command[1:]:
                if isinstance(argument, str) and argument.startswith('{"body"'):
                    found.setdefault(f"captured: {step['step']}", argument.encode())
    return found


def removed(good):
    """(name, bytes) of a good message with each needed field taken away or nulled."""
    found = {}
    for row in _load("tolerance")["rows"]:
        if row["field"] and row["status"] != "SUCCESS":
            name = f"{row['variant']} {row['field']}"
            found[name] = changed(good, row["field"], None, is_absent=row["variant"] == "absent")
    return found


def changed(good, path, value, *, is_absent=False):
    """A good message with one field changed."""
    message = copy.deepcopy(good)
    *parents, name = path.split(".")
    holder = message
    for parent in parents:
        holder = holder[parent]
    if is_absent:
        del holder[name]
    else:
        holder[name] = value
    return json.dumps(message).encode()


def with_body(good, body, **fields):
    """A good message with another body (bytes, or what is to be JSON)."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return json.dumps({**good, "body": base64.b64encode(data).decode(), **fields}).encode()


def unusable(good):
    """All that must become dead letters."""
    raw = json.dumps(good).encode()
    deep = b"[" * DEEP + b"]" * DEEP
    return {
        **captured(),
        **removed(good),
        "nothing": b"",
        "no json": b"hello",
        "a list": b"[]",
        "null": b"null",
        "invalid utf-8": b'{"body": "\xff\xfe"}',
        "50 MB of noise": b"\xff" * HUGE,
        "a deep list": b"[" * DEEP,
        "a deep closed list": deep,
        "a deep object": b'{"a":' * DEEP,
        "a deep header": raw.replace(b'"py"', deep),
        "a deep body": with_body(good, deep),
        "a huge integer": b'{"body": ' + b"1" * 5_000 + b"}",
        "a huge integer in the body": with_body(good, b"[[" + b"1" * 5_000 + b"], {}, {}]"),
        "NaN retries": changed(good, "headers.retries", float("nan")),
        "body not base64": changed(good, "body", "!!!!"),
        "body a lone surrogate": changed(good, "body", "\ud800"),
        "body not utf-8": with_body(good, b'[["\xff"], {}, {}]'),
        "body no triple": with_body(good, [[], {}]),
        "args an object": with_body(good, [{}, {}, {}]),
        "a pickle": with_body(
            good, b"cos\nabort\n(tR.", **{"content-type": "application/x-python-serialize"}
        ),
        "unknown content type": changed(good, "content-type", "application/x-unknown"),
        "unknown encoding": changed(good, "content-encoding", "utf-99"),
        "unknown compression": changed(good, "headers.compression", "zip"),
        "not compressed": changed(good, "headers.compression", "application/x-gzip"),
        "unknown task": changed(good, "headers.task", "no.such.task"),
        "a task without a name": changed(good, "headers.task", ""),
        "a task name with a NUL": changed(good, "headers.task", "a\0b"),
        "a huge task name": changed(good, "headers.task", "x" * 1_000_000),
        "eta no date": changed(good, "headers.eta", "tomorrow"),
        "expires no date": changed(good, "headers.expires", "2026-99-99"),
        "timelimit text": changed(good, "headers.timelimit", ["1", "2"]),
        "callbacks text": with_body(good, [[], {}, {"callbacks": "abc"}]),
        "chain of numbers": with_body(good, [[], {}, {"chain": [1]}]),
        "chord a list": with_body(good, [[], {}, {"chord": []}]),
    }


# What a signature may look like, and should not.
NONSENSE = {
    "options a list": {"task": "t", "options": []},
    "options text": {"task": "t", "options": "x"},
    "args a number": {"task": "t", "args": 7},
    "kwargs a list": {"task": "t", "kwargs": [1]},
    "a task id of numbers": {"task": "t", "options": {"task_id": 7}},
    "a queue of lists": {"task": "t", "options": {"queue": [[]]}},
    "a priority of text": {"task": "t", "options": {"priority": "high"}},
    "a huge priority": {"task": "t", "options": {"priority": 10**30}},
    "an eta of text": {"task": "t", "options": {"eta": "soon"}},
    "a countdown of text": {"task": "t", "options": {"countdown": "soon"}},
    "an infinite countdown": {"task": "t", "options": {"countdown": 1e308}},
    "a link of numbers": {"task": "t", "options": {"link": [1]}},
    "an unknown serializer": {"task": "t", "options": {"serializer": "zzz"}},
    "an unknown compression": {"task": "t", "options": {"compression": "zzz"}},
    "headers of text": {"task": "t", "options": {"headers": "x"}},
    "an unbound exchange": {"task": "t", "options": {"exchange": "x", "routing_key": "y"}},
    "a chain without tasks": {"task": "celery.chain", "subtask_type": "chain", "kwargs": {}},
    "a chain of numbers": {
        "task": "celery.chain",
        "subtask_type": "chain",
        "kwargs": {"tasks": [1]},
    },
    "an empty chain": {"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": []}},
    "a group of text": {
        "task": "celery.group",
        "subtask_type": "group",
        "kwargs": {"tasks": "ab"},
    },
    "a chord without a body": {
        "task": "celery.chord",
        "subtask_type": "chord",
        "kwargs": {"header": []},
    },
    "an unknown kind": {"task": "t", "subtask_type": "no such kind"},
    "a kind of lists": {"task": "t", "subtask_type": []},
    "a chord size of text": {"task": "t", "chord_size": "many"},
    "immutable text": {"task": "t", "immutable": "perhaps"},
}


def odd(good, args, task=None):
    """Messages that can be run, with nonsense behind the task or around it."""
    found = {}
    good = good if task is None else json.loads(changed(good, "headers.task", task))
    for name, signature in NONSENSE.items():
        for place in ("callbacks", "errbacks", "chain", "chord"):
            held = signature if place == "chord" else [signature]
            message = json.loads(with_body(good, [args, {}, {place: held}]))
            if place == "chord":
                message["headers"]["group"] = f"group of {name}"
                message["headers"]["group_index"] = 0
            found[f"{place}: {name}"] = json.dumps(message).encode()
    for path, value in {
        "headers.id": "a" * 100_000,
        "headers.root_id": 7,
        "headers.parent_id": [],
        "headers.group_index": 1e300,
        "headers.origin": {},
        "headers.argsrepr": 7,
        "headers.kwargsrepr": [],
        "headers.ignore_result": "no",
        "headers.shadow": 7,
        "headers.lang": [],
        "headers.timelimit": [1e308, -1],
        "headers.retries": 10**12,
        "headers.eta": "9999-12-31T23:59:59",
        "headers.expires": "0001-01-01T00:00:00+14:00",
        "headers.stamped_headers": [1],
        "headers.stamps": {"a": {"b": 1}},
        "properties.priority": "high",
        "properties.reply_to": 7,
        "properties.correlation_id": [],
        "properties.delivery_mode": "x",
        "properties.delivery_info.routing_key": 7,
        "properties.delivery_info.exchange": [],
    }.items():
        found[f"{path} = {str(value)[:20]}"] = changed(good, path, value)
    return found
