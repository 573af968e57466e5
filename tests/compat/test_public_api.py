"""The names, attributes and parameters of Celery 5.7, held beside what umbel shows under them.

Whatever Celery's modules offer is there, is refused by name, or stands below with the reason. Both
sides are looked at by one program in a process of its own (``programs/public_api.py``).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parent / "programs" / "public_api.py"

# Objects that stand for the instances of classes: what a class lacks they may have.
INSTANCES = {
    "Celery": "app",
    "AsyncResult": "result",
    "AbortableAsyncResult": "result",
    "EagerResult": "eager result",
    "GroupResult": "group result",
    "ResultSet": "result set",
    "Inspect": "app.control.inspect()",
    "Logging": "app.log",
    "TaskRegistry": "app.tasks",
    "Retry": "retry",
    "Worker": "worker seen",
    "State": "state",
    "EventDispatcher": "dispatcher",
    "EventReceiver": "receiver",
    "Signal": "signal",
    "DictAttribute": "dict attribute",
    "LoggingProxy": "logging proxy",
}

OF_C = "Python's own class, written in C: its parameters have no names"
CONSUMER = "of kombu's ConsumerMixin, which a receiver of umbel's is not"
KEPT_SMALL = "for Celery's own parts, or to tune them"
POSITIONAL = "called otherwise; programs give it by its place"
FACADE = "a worker of tests has what tests ask of one; the rest is Celery's worker inside"
RESULTS = "how Celery's results are stored, which is no business of programs"

REASONS = {
    # Names.
    "celery.execute": "of Celery 3; `celery.execute.send_task` is `app.send_task`",
    "celery.log": "of Celery 3; it is `celery.utils.log`",
    "celery.messaging": "of Celery 3",
    "celery.maybe_patch_concurrency": "for eventlet and gevent, which are not built",
    # Attributes.
    "app.set_as_current": "said to the constructor",
    "app.use_fast_trace_task": KEPT_SMALL,
    "app.clock.mutex": KEPT_SMALL,
    "app.clock.sort_heap": KEPT_SMALL,
    "app.conf.*": "Celery's settings are a chain of mappings; umbel's are one",
    "*.Settings*": "as app.conf",
    "app.backend.*": RESULTS,
    "app.log.redirect_stdouts(name)": "the name of a logger that nobody reads",
    "app.log.app": KEPT_SMALL,
    "app.tasks.periodic": "there are no periodic tasks but those of a schedule",
    "app.tasks.filter_types": KEPT_SMALL,
    "*.TaskRegistry.*": "as app.tasks",
    "*.Logging.*": "as app.log",
    "*.UnitLogging*": "as app.log, of tests",
    "*Formatter.COLORS": KEPT_SMALL,
    "*Formatter.colors": KEPT_SMALL,
    "*result.on_ready": "use then()",
    "*result set.on_ready": "use then()",
    "*.DependencyGraph.*": POSITIONAL,
    "*.GraphFormatter.*": KEPT_SMALL,
    "celery.beat.Scheduler.*": "not built yet; the class is there for those who wrap it",
    "celery.contrib.testing.manager.Manager*": "see docs/integration.md: waiting is `Manager`'s",
    "celery.contrib.testing.worker.TestWorkController*": FACADE,
    "celery.events.EventDispatcher.*": KEPT_SMALL,
    "celery.events.dispatcher.EventDispatcher.*": KEPT_SMALL,
    "celery.events.EventReceiver.*": CONSUMER,
    "celery.events.receiver.EventReceiver.*": CONSUMER,
    "celery.events.snapshot.Polaroid.*": KEPT_SMALL,
    "celery.events.state.*": KEPT_SMALL,
    "dispatcher.*": "of its kombu producer, which a dispatcher of umbel's has not",
    "receiver.*": CONSUMER,
    "state.*": KEPT_SMALL,
    "worker seen.event(*": KEPT_SMALL,
    "signal.*": KEPT_SMALL,
    "celery.utils.collections.ChainMap.*": "a part of Celery's settings; collections.ChainMap",
    "celery.fixups.django.DjangoFixup.worker_fixup": KEPT_SMALL,
    "celery.utils.cached_property*": "functools.cached_property, which has no setter",
    "*.iteritems": "of Python 2",
    "*.iterkeys": "of Python 2",
    "*.itervalues": "of Python 2",
    # Parameters.
    "*.get(key)": OF_C,
    "*.get(default)": OF_C,
    "*.setdefault(*": OF_C,
    "*.pop(*": OF_C,
    "*.popitem(*": OF_C,
    "*.update(*": OF_C,
    "celery.states.state.*": OF_C,
    "*chain.clone(*": POSITIONAL,
    "*chord.clone(*": POSITIONAL,
    "celery.app.control.flatten_reply(*": POSITIONAL,
    "celery.contrib.pytest.*": "fixtures: pytest gives them what they ask for",
    "celery.events.group_from(type)": POSITIONAL,
    "celery.events.event.group_from(type)": POSITIONAL,
    "celery.result.ResultSet(**kwargs)": "ignored there, a TypeError here",
    "celery.schedules.crontab.remaining_*(ffwd)": KEPT_SMALL,
    "celery.utils.iso8601.parse_iso8601(datestring)": POSITIONAL,
    "celery.worker.control.Panel*": "commands are registered with its decorators",
    "dispatcher.send(retry *": "said by name in all programs",
    "*.OrderedDict.move_to_end(*": OF_C,
}


def seen(mode: str, asked: str | None = None) -> str:
    done = subprocess.run(
        [sys.executable, PROGRAM, mode],
        input=asked,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def both() -> tuple[Any, Any]:
    listed = seen("list")
    return json.loads(listed), json.loads(seen("look", listed))


def absent(value: Any) -> bool:
    return value is None or value["kind"] == "missing"


def says(text: str, module: str) -> bool:
    """Whether a refusal names the module, or the package that it is in."""
    return module in text or module.rpartition(".")[0] in text


def gaps(celery: Any, umbel: Any) -> Iterator[str]:
    for module, theirs in celery["modules"].items():
        ours = umbel["modules"][module]
        if ours["import"] != "ok":
            if ours["import"] != "NotBuiltModule" or not says(ours["text"], module):
                yield f"module {module}"
            continue
        for name, value in theirs["names"].items():
            if name.startswith("_"):
                continue
            found = ours["names"].get(name)
            yield from gaps_of(f"{module}.{name}", name, value, found, umbel["objects"])
    for name, attributes in celery["objects"].items():
        for attribute, value in attributes.items():
            found = umbel["objects"][name].get(attribute)
            yield from gaps_of(f"{name}.{attribute}", attribute, value, found, {})


def gaps_of(path: str, name: str, theirs: Any, ours: Any, objects: Any) -> Iterator[str]:
    if absent(ours):
        yield path
        return
    if ours["kind"] == "refused":
        if name not in ours["text"]:
            yield f"{path} is refused without its name: {ours['text']}"
        return
    yield from (f"{path}({word})" for word in parameters_lacking(theirs, ours))
    instance = objects.get(INSTANCES.get(name, ""), {})
    for attribute, value in theirs.get("attributes", {}).items():
        found = ours["attributes"].get(attribute)
        if absent(found) and not absent(instance.get(attribute)):
            continue
        if name == "Celery":
            continue  # looked at as ``app``, with all that it has
        yield from gaps_of(f"{path}.{attribute}", attribute, value, found, {})


def parameters_lacking(theirs: Any, ours: Any) -> Iterator[str]:
    """What Celery's callable takes and ours does not."""
    wanted, given = theirs.get("parameters"), ours.get("parameters")
    if wanted is None or given is None:
        return
    kinds = {name: kind for name, kind, _ in given}
    takes_any = "VAR_KEYWORD" in kinds.values()
    takes_many = "VAR_POSITIONAL" in kinds.values()
    for name, kind, _ in wanted:
        if name == "self" or name.startswith("_"):
            continue
        if kind == "VAR_KEYWORD":
            lacks = not takes_any and name not in kinds
        elif kind == "VAR_POSITIONAL":
            lacks = not takes_many
        elif kind == "POSITIONAL_ONLY":
            lacks = False
        else:
            lacks = kinds.get(name, "POSITIONAL_ONLY") == "POSITIONAL_ONLY" and not takes_any
        if lacks:
            yield {"VAR_KEYWORD": "**", "VAR_POSITIONAL": "*"}.get(kind, "") + name
    places = [name for name, kind, _ in given if kind == "POSITIONAL_OR_KEYWORD"]
    if takes_many:
        return
    for place, (name, kind, _) in enumerate(wanted):
        if kind == "POSITIONAL_OR_KEYWORD" and name in places and places.index(name) != place:
            yield f"{name} stands elsewhere"
            return


def test_whatever_celery_offers_is_there_or_refused_or_has_a_reason(both: tuple[Any, Any]) -> None:
    unexplained = [
        gap for gap in gaps(*both) if not any(fnmatchcase(gap, pattern) for pattern in REASONS)
    ]

    assert unexplained == []


def test_every_reason_is_still_needed(both: tuple[Any, Any]) -> None:
    found = list(gaps(*both))

    assert [pattern for pattern in REASONS if not any(fnmatchcase(g, pattern) for g in found)] == []


@pytest.mark.parametrize(
    ("module", "least"),
    [("celery", 15), ("celery.exceptions", 35), ("celery.result", 6), ("celery.canvas", 9)],
)
def test_most_of_what_matters_is_no_refusal(both: tuple[Any, Any], module: str, least: int) -> None:
    names = both[1]["modules"][module]["names"]

    assert sum(value["kind"] in ("class", "callable", "data") for value in names.values()) >= least


def test_exceptions_have_the_bases_that_programs_catch(both: tuple[Any, Any]) -> None:
    celery, umbel = (side["modules"]["celery.exceptions"]["names"] for side in both)
    # CeleryError is umbel's UmbelError by another name; KombuError is kombu's.
    foreign = {"CeleryError", "KombuError"}

    for name, value in celery.items():
        ours = umbel[name].get("bases")
        if value["kind"] == "class" and ours is not None:
            assert set(value["bases"]) - foreign - set(ours) == set(), name
