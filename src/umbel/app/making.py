"""From a decorated function to a task object: a class of its own, with options as attributes.

``task_annotations`` change such attributes from the settings, when the app is finalized.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from umbel.app.spelling import refuse_near_misses
from umbel.app.task import Task
from umbel.model.errors import NotBuiltYet

logger = logging.getLogger(__name__)

_COROUTINE, _ASYNC_GENERATOR = 0x80, 0x200  # inspect.CO_*

# Said to the decorator, and nothing that a task keeps.
_DECORATOR_ONLY = ("shared", "lazy", "_force_evaluate", "filter", "base", "bind")
_PYDANTIC = ("pydantic", "pydantic_strict", "pydantic_context", "pydantic_dump_kwargs")


def registered(
    app: Any, tasks: Mapping[str, Any], function: Callable[..., Any], options: dict[str, Any]
) -> Any:
    """The task of a function: the one that ``tasks`` has already, else made and registered."""
    name = options.get("name") or app.gen_task_name(
        name_of(function), getattr(function, "__module__", None) or "__main__"
    )
    found = tasks.get(name)
    if found is None:
        return app.register_task(make_task(app, function, {**options, "name": name}))
    run = getattr(found.run, "__func__", found.run)
    if getattr(run, "__code__", None) is not getattr(function, "__code__", None):
        logger.warning("task %s is defined more than once; the first is kept", name)
    return found


def make_task(app: Any, function: Callable[..., Any], options: dict[str, Any]) -> Any:
    """The task of a function; ``options["name"]`` is its name."""
    name = options["name"]
    _refuse_coroutine(function, name)
    base = options.get("base") or app.Task
    known = frozenset(
        (
            *_DECORATOR_ONLY,
            *_PYDANTIC,
            *REFUSED_ATTRIBUTES,
            *(key for key in dir(base) if key[0] != "_"),
        )
    )
    refuse_near_misses(options, known, f"@app.task of {name}")
    if options.get("filter") is not None:
        function = options["filter"](function)
    run: Any = function
    if options.get("pydantic"):
        # Not at the top: needs pydantic.
        from umbel.app.validated import validated

        run = validated(
            function,
            name,
            strict=bool(options.get("pydantic_strict", False)),
            context=options.get("pydantic_context"),
            dump_kwargs=options.get("pydantic_dump_kwargs"),
        )
    attributes = {
        key: value
        for key, value in options.items()
        if key not in _DECORATOR_ONLY and key not in _PYDANTIC
    }
    short = getattr(function, "__name__", name.rpartition(".")[2])
    attributes |= {
        "run": run if options.get("bind") else staticmethod(run),
        "__wrapped__": run if options.get("bind") else staticmethod(run),
        "_decorated": True,
        "dumps_models": bool(options.get("pydantic")),
        "__doc__": function.__doc__,
        "__module__": getattr(function, "__module__", None) or base.__module__,
        "__qualname__": getattr(function, "__qualname__", short),
        "__annotations__": getattr(function, "__annotations__", {}),
    }
    task = type(short, (base,), attributes)()
    task._app = app
    return task


# Of Celery's task, and what to use instead.
REFUSED_ATTRIBUTES = {
    "Request": "signals and the task's own hooks see what its requests saw",
    "Strategy": "signals and the task's own hooks see what its strategies saw",
    "backend": "results are kept where result_backend says; an app of its own can have another",
    "from_config": "set the attributes, or task_annotations",
    "immediate": "it belongs to amqp://",
    "mandatory": "it belongs to amqp://",
}


def refuse_attributes(task: Any) -> None:
    """Raise ``NotBuiltYet`` for a task that sets an attribute which nobody would look at."""
    kind = type(task)
    for name, instead in REFUSED_ATTRIBUTES.items():
        if getattr(kind, name, None) not in (None, False, getattr(Task, name, None)):
            raise NotBuiltYet(f"task {task.name} sets {name}, which is not built: {instead}")


def name_of(function: Any) -> str:
    """The name of a function, or of what a ``functools.partial`` calls."""
    inner = getattr(function, "func", None)
    name = getattr(function, "__name__", None) or getattr(inner, "__name__", None)
    return str(name or type(function).__name__)


def named(value: Any) -> Any:
    """The object behind ``module.name`` or ``module:name``; what is no text is given back."""
    if not isinstance(value, str):
        return value
    module, _, name = value.replace(":", ".").rpartition(".")
    return getattr(importlib.import_module(module), name)


def annotate(task: Any, given: Any) -> None:
    """Set what ``task_annotations`` says of a task: dictionaries, or objects that are asked."""
    if not given:
        return
    for annotation in [given] if isinstance(given, Mapping) else given:
        annotation = named(annotation)
        if isinstance(annotation, type):
            annotation = annotation()
        if hasattr(annotation, "annotate"):
            of_any = getattr(annotation, "annotate_any", None)
            found = [of_any() if of_any else None, annotation.annotate(task)]
        else:
            found = [annotation.get("*"), annotation.get(task.name)]
        for attributes in found:
            for name, value in (attributes or {}).items():
                # A function becomes a method, as if it stood in the class.
                setattr(task, name, value.__get__(task) if callable(value) else value)


def _refuse_coroutine(function: Any, name: str) -> None:
    inner = function
    while hasattr(inner, "func"):  # functools.partial
        inner = inner.func
    code = getattr(inner, "__code__", None)
    if code is None:
        code = getattr(vars(type(inner)).get("__call__"), "__code__", None)
    if code is not None and code.co_flags & (_COROUTINE | _ASYNC_GENERATOR):
        raise NotBuiltYet(
            f"task {name} is a coroutine function, and async def tasks are not built yet; let a"
            " plain function call asyncio.run(...)"
        )
