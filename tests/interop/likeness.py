"""What a worker did with a case, against what Celery's own worker was seen to do with it.

Ids are compared up to renaming, one to one. Left out are what differs between any two runs (times,
process ids, hosts, the producer's reply queue) and options that Celery writes into frozen
signatures without meaning anything by them.
"""

import base64
import json
import re
from pathlib import Path
from typing import NamedTuple

from kombu.compression import decompress
from kombu.serialization import loads

VECTORS = Path(__file__).parents[1] / "vectors"
CASES = {c["name"]: c for c in json.loads((VECTORS / "messages.json").read_text())["cases"]}
FLOWS = {flow["name"]: flow for flow in json.loads((VECTORS / "flows.json").read_text())["flows"]}
RUNNABLE = [name for name, case in CASES.items() if case.get("run")]

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?")
NOISE = ("reply_to", "add_to_parent", "root_id", "parent_id")
HEADERS = ("lang", "task", "id", "root_id", "parent_id", "group", "group_index", "retries")
HEADERS += ("shadow", "eta", "expires", "timelimit", "kwargsrepr", "ignore_result")
HEADERS += ("replaced_task_nesting", "x-trace", "nested", "compression")
PER_RUN = ("hostname", "origin", "reply_to")
# Two parts of chord_grow have the same position; which comes first hangs on the ids that they got.
TIED = ([20, 1, 4], [1, 20, 4])
TIMES = ("eta", "expires", "date_done")


class Seen(NamedTuple):
    """What happened to one case: messages as (key, envelope), records by id."""

    pushed: list
    sent: list
    records: dict


def body_of(envelope):
    """The body of a message, decoded by kombu."""
    body = envelope["body"]
    if envelope["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body)
    if mime := envelope["headers"].get("compression"):
        body = decompress(body, mime)
    kinds = {"application/json", "application/x-yaml", "application/x-msgpack"}
    kinds |= {"application/x-python-serialize"}
    return loads(body, envelope["content-type"], envelope["content-encoding"], accept=kinds)


def id_of(envelope):
    """The id of its task, in both protocols."""
    return envelope["headers"].get("id") or body_of(envelope)["id"]


def frozen_in(value):
    """The ids that a body fixes for what follows."""
    if isinstance(value, dict) and "body" in value and "properties" in value:
        value = body_of(value)
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("task_id", "group_id") and item is not None:
                yield item
            yield from frozen_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from frozen_in(item)


def tidy(value):
    """Without what means nothing or differs between any two runs."""
    if isinstance(value, list | tuple):
        items = [tidy(item) for item in value]
        return items if items != TIED[0] else TIED[1]
    if not isinstance(value, dict):
        return value
    if "task" in value and "options" in value:
        options = {
            k: tidy(v)
            for k, v in value["options"].items()
            if k not in NOISE and v is not None and v != []
        }
        for name in ("link", "link_error"):
            if isinstance(options.get(name), dict):
                options[name] = [options[name]]
        return {**{k: tidy(v) for k, v in value.items()}, "options": options}
    return {
        k: TIME.sub("<time>", v) if k in TIMES and isinstance(v, str) else tidy(v)
        for k, v in value.items()
        if k not in PER_RUN
    }


def message(key, envelope):
    """The parts of a message that mean something."""
    headers = envelope["headers"]
    body = body_of(envelope)
    if "task" not in headers:
        return {"key": key, "body": {k: v for k, v in tidy(body).items() if k not in TIMES}}
    args, kwargs, embed = body
    properties = envelope["properties"]
    return {
        "key": key,
        "headers": tidy({name: headers.get(name) for name in HEADERS}),
        "argsrepr": (headers.get("argsrepr") or "")[1:-1].rstrip(",").replace(*map(str, TIED)),
        "stamps": {name: headers["stamps"][name] for name in headers["stamped_headers"] or ()},
        "content": [envelope["content-type"], envelope["content-encoding"]],
        "delivery": {k: properties["delivery_info"][k] for k in ("exchange", "routing_key")},
        "priority": properties["priority"],
        "has_expiration": "expiration" in properties,
        "args": tidy(args),
        "kwargs": tidy(kwargs),
        "embed": {name: tidy(value) or None for name, value in (embed or {}).items()},
    }


def record(document):
    """The parts of a result that mean something; of a traceback, the errors and how they belong."""
    document = tidy(document)
    trace = document.get("traceback")
    if trace is not None:
        document["traceback"] = [
            line.replace("umbel.model.errors.", "celery.exceptions.")
            for line in trace.split("\n")
            if line[:1] not in ("", " ") and not line.startswith("Traceback (")
        ]
    return document


class Renaming:
    """Their ids and ours, one to one."""

    def __init__(self):
        self.ours = {}
        self.theirs = {}

    def compare(self, theirs, ours, where):
        """Nothing, or an AssertionError that says where they differ."""
        if isinstance(theirs, dict) and isinstance(ours, dict):
            assert sorted(theirs) == sorted(ours), f"{where}: {sorted(theirs)} != {sorted(ours)}"
            for key in theirs:
                self.compare(theirs[key], ours[key], f"{where}.{key}")
        elif isinstance(theirs, list) and isinstance(ours, list):
            assert len(theirs) == len(ours), f"{where}: {theirs} != {ours}"
            for at, pair in enumerate(zip(theirs, ours, strict=True)):
                self.compare(*pair, f"{where}[{at}]")
        elif isinstance(theirs, str) and isinstance(ours, str) and UUID.search(theirs):
            self._compare_text(theirs, ours, where)
        else:
            # repr: NaN is not equal to itself, and True is equal to 1
            assert repr(theirs) == repr(ours), f"{where}: {theirs!r} != {ours!r}"

    def _compare_text(self, theirs, ours, where):
        said = f"{where}: {theirs!r} != {ours!r}"
        assert UUID.sub("?", theirs) == UUID.sub("?", ours), said
        for a, b in zip(UUID.finditer(theirs), UUID.finditer(ours), strict=True):
            assert self.ours.setdefault(a[0], b[0]) == b[0], said
            assert self.theirs.setdefault(b[0], a[0]) == a[0], said


def is_again(envelope):
    """It is a message that was put back, with another tag or not."""
    return bool(envelope["headers"].get("redelivered"))


def _key(entry):
    return entry["key"]


def _rough(entry):
    """An order of messages that does not depend on ids or on who was faster."""
    return UUID.sub("?", json.dumps(entry, sort_keys=True, default=repr))


def compare(name, seen):
    """An AssertionError where a case went otherwise than with Celery's worker."""
    case, flow, ids = CASES[name], FLOWS[name], Renaming()
    theirs = [message(e["key"], json.loads(e["raw"])) for e in case["pushed"]]
    ours = [message(*entry) for entry in seen.pushed]
    # In order, but which of two lists was pushed to first does not matter.
    ids.compare(sorted(theirs, key=_key), sorted(ours, key=_key), "pushed")
    theirs = [
        message(e["key"], json.loads(e["raw"]))
        for e in flow["sent_by_worker"]
        if not is_again(e["envelope"])
    ]
    ours = [message(*entry) for entry in seen.sent if not is_again(entry[1])]
    ids.compare(sorted(theirs, key=_rough), sorted(ours, key=_rough), "sent")
    for task_id, document in flow["results"].items():
        found = seen.records.get(ids.ours.get(task_id, task_id))
        assert found is not None, f"no result of {task_id}"
        ids.compare(record(document), record(found), f"result[{document['task_id']}]")
    assert len(flow["results"]) == len(seen.records), f"more results: {seen.records}"


def sort_out(pushed_by_case, pushed, records):
    """What each case sent and stored: all follows from the ids of its first messages."""
    owner = {}
    sent = {name: [] for name in pushed_by_case}
    first = {
        (key, envelope["properties"]["delivery_tag"])
        for entries in pushed_by_case.values()
        for key, envelope in entries
    }
    for name, entries in pushed_by_case.items():
        for _, envelope in entries:
            for found in (id_of(envelope), envelope["headers"].get("group"), *frozen_in(envelope)):
                owner.setdefault(found, name)
    del owner[None]
    for key, envelope in pushed:
        if (key, envelope["properties"]["delivery_tag"]) in first:
            continue
        headers = envelope["headers"]
        lineage = [headers.get(k) for k in ("id", "root_id", "parent_id", "group")]
        frozen = list(frozen_in(envelope))
        name = next((owner[i] for i in lineage if i in owner), None)
        assert name is not None, f"whose is this? {envelope} {body_of(envelope)}"
        for task_id in filter(None, [*lineage, *frozen]):
            owner.setdefault(task_id, name)
        sent[name].append((key, envelope))
    kept = {name: {} for name in pushed_by_case}
    for task_id, document in records.items():
        family = [task_id, document.get("parent_id"), document.get("group_id")]
        if name := next((owner[i] for i in family if i in owner), None):
            kept[name][task_id] = document
    return {n: Seen(pushed_by_case[n], sent[n], kept[n]) for n in pushed_by_case}
