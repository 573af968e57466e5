"""Print, as JSON, the public API that a program sees under the names of Celery.

``public_api.py list`` prints the modules of the installed Celery, what each offers, and the
attributes of its classes and of a few objects. ``public_api.py look`` reads such a list from its
input and prints what umbel shows under the same names.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import sys
import warnings
from typing import Any

Seen = dict[str, Any]


def main(mode: str) -> None:
    warnings.simplefilter("ignore")
    asked = None
    if mode == "look":
        asked = json.load(sys.stdin)
        import umbel

        umbel.install_as_celery()
    modules = modules_of_celery() if asked is None else list(asked["modules"])
    found: Seen = {"modules": {}, "objects": {}}
    for name in modules:
        names = None if asked is None else asked["modules"][name]["names"]
        found["modules"][name] = module_seen(name, names)
    for name, made in objects().items():
        wanted = None if asked is None else asked["objects"][name]
        found["objects"][name] = attributes_seen(made, wanted)
    json.dump(found, sys.stdout)


def modules_of_celery() -> list[str]:
    import celery

    walked = pkgutil.walk_packages(celery.__path__, "celery.", onerror=lambda name: None)
    return ["celery", *sorted(found.name for found in walked if found.name != "celery.__main__")]


def module_seen(name: str, asked: Seen | None) -> Seen:
    try:
        module = importlib.import_module(name)
    except BaseException as error:  # anybody's module: some exit
        return {"import": type(error).__name__, "text": str(error), "names": {}}
    names = public_names(module) if asked is None else list(asked)
    return {
        "import": "ok",
        "names": {
            each: value_seen(module, each, None if asked is None else asked[each]) for each in names
        },
    }


def public_names(module: Any) -> list[str]:
    """What a module declares; else what it defines."""
    declared = getattr(module, "__all__", None)
    if declared is not None:
        return sorted(set(declared))
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    )


def value_seen(owner: Any, name: str, asked: Seen | None) -> Seen:
    """What stands under a name: its kind, its parameters, and of a class its attributes."""
    try:
        value = getattr(owner, name)
    except NotImplementedError as error:
        return {"kind": "refused", "text": str(error)}
    except Exception as error:
        return {"kind": "missing", "text": f"{type(error).__name__}: {error}"}
    if type(value).__name__ == "Refusal":
        return {"kind": "refused", "text": refusal_of(value)}
    seen: Seen = {"kind": kind_of(value)}
    if callable(value):
        seen["parameters"] = parameters_of(value)
    if seen["kind"] == "class":
        seen["bases"] = [base.__name__ for base in value.__mro__]
        wanted = None if asked is None else asked.get("attributes", {})
        seen["attributes"] = attributes_seen(value, wanted)
    return seen


def refusal_of(value: Any) -> str:
    try:
        value()
    except NotImplementedError as error:
        return str(error)
    return ""


def kind_of(value: Any) -> str:
    if inspect.ismodule(value):
        return "module"
    if inspect.isclass(value):
        return "class"
    return "callable" if callable(value) else "data"


def parameters_of(value: Any) -> list[list[Any]] | None:
    """Each parameter's name, kind and whether it may be left out; None where nobody knows."""
    try:
        signature = inspect.signature(value)
    except (ValueError, TypeError):
        return None
    return [
        [each.name, each.kind.name, each.default is not each.empty]
        for each in signature.parameters.values()
    ]


def attributes_seen(value: Any, asked: Seen | None) -> Seen:
    if asked is None:
        names = sorted(name for name in dir(value) if not name.startswith("_"))
    else:
        names = list(asked)
    return {name: attribute_seen(value, name) for name in names}


def attribute_seen(value: Any, name: str) -> Seen:
    try:
        found = getattr(value, name)
    except NotImplementedError as error:
        return {"kind": "refused", "text": str(error)}
    except AttributeError as error:
        return {"kind": "missing", "text": str(error)}
    except Exception as error:  # a property that wants more than a class
        return {"kind": "data", "text": repr(error)}
    if type(found).__name__ == "Refusal":
        return {"kind": "refused", "text": refusal_of(found)}
    seen: Seen = {"kind": kind_of(found)}
    if callable(found):
        seen["parameters"] = parameters_of(found)
    return seen


def objects() -> Seen:
    """What programs hold in their hands rather than import."""
    from celery import Celery, chain, chord, group
    from celery.app.task import Context
    from celery.events.state import State, Worker
    from celery.exceptions import Retry
    from celery.signals import task_sent
    from celery.utils.collections import DictAttribute
    from celery.utils.log import LoggingProxy, get_task_logger

    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)

    @app.task(name="shop.add", bind=True)
    def add(self: Any, x: int, y: int) -> int:
        return x + y

    app.finalize()
    return {
        "app": app,
        "app.amqp": getattr(app, "amqp", None),
        "app.backend": app.backend,
        "app.clock": app.clock,
        "app.conf": app.conf,
        "app.control": app.control,
        "app.control.inspect()": app.control.inspect(),
        "app.events": app.events,
        "app.loader": app.loader,
        "app.log": app.log,
        "app.tasks": app.tasks,
        "task": add,
        "task.request": Context({"id": "1"}),
        "signature": add.s(1, 2),
        "chain": chain(add.s(1, 2), add.s(3)),
        "group": group(add.s(1, 2)),
        "chord": chord([add.s(1, 2)], add.s(3)),
        "chunks": add.chunks([(1, 2)], 1),
        "result": app.AsyncResult("1"),
        "group result": app.GroupResult("1", []),
        "result set": app.ResultSet([]),
        "eager result": add.apply((1, 2)),
        "retry": Retry("again", when=1),
        "worker seen": Worker("a@b"),
        "state": State(),
        "dispatcher": app.events.Dispatcher(app.connection(), enabled=False),
        "receiver": app.events.Receiver(app.connection(), {}),
        "signal": task_sent,
        "dict attribute": DictAttribute(State()),
        "logging proxy": LoggingProxy(get_task_logger("shop")),
    }


if __name__ == "__main__":
    main(sys.argv[1])
