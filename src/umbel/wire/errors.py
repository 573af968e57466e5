"""Exceptions as documents: what is stored of an error, and the error that a reader raises.

A document is Celery's triple ``{"exc_type", "exc_message", "exc_module"}``; ``exc_message`` is the
list of the exception's arguments. Our own errors are written under the names of the modules that
Celery's readers look in, and Celery's are read as ours.

A class is looked up, never trusted: it must be an exception class, and no module is imported that
does not belong to a package which this program uses already, because whoever can write a result
could otherwise run the code of any module on the path. Where a class can't be had, one of the same
name is made on the spot, and a note on the exception says so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import Any

from umbel.model import errors
from umbel.model.errors import SecurityError, TaskError
from umbel.wire import json_forms, serializers

_CELERY = "celery.exceptions"
_KOMBU = "kombu.exceptions"
_BILLIARD = "billiard.exceptions"
_THEIR_MODULES = {
    _KOMBU: "OperationalError SerializationError EncodeError DecodeError ContentDisallowed",
    _BILLIARD: "WorkerLostError TimeLimitExceeded SoftTimeLimitExceeded Terminated",
    _CELERY: (
        "CeleryError ImproperlyConfigured SecurityError TaskError QueueNotFound IncompleteStream "
        "NotRegistered AlreadyRegistered TimeoutError MaxRetriesExceededError TaskRevokedError "
        "InvalidTaskError ChordError BackendError BackendGetMetaError BackendStoreError "
        "TaskPredicate Retry Ignore Reject WorkerShutdown WorkerTerminate CeleryWarning"
    ),
}
# Our class by the name that Celery, kombu and billiard know it by (celery.exceptions hands the
# names of the other two on, so the module does not matter), and the module for writing it.
_ours: dict[str, type[BaseException]] = {
    name: getattr(errors, name) for names in _THEIR_MODULES.values() for name in names.split()
}
_ours["RetryTaskError"] = errors.Retry
_names: dict[type[BaseException], tuple[str, str]] = {
    getattr(errors, name): (module, name)
    for module, names in _THEIR_MODULES.items()
    for name in names.split()
}

# What JSON can write; not int, which may have more digits than can be written.
_PLAIN = (str, float, bool, type(None))


def document_of(exc: BaseException, serializer: str = "json") -> dict[str, Any]:
    """What is stored of an exception. Never raises: what can't be encoded becomes its repr."""
    kind = type(exc)
    module, name = _names.get(kind) or (kind.__module__, kind.__qualname__)
    return {
        "exc_type": name,
        "exc_message": [_storable(argument, serializer) for argument in exc.args],
        "exc_module": module,
    }


def _storable(argument: Any, serializer: str) -> Any:
    if serializer == "json" and type(argument) in _PLAIN:
        return argument
    try:
        if serializer == "json":
            json_forms.raw_encode(argument)
        else:
            serializers.dumps(argument, serializer)
    except Exception:  # noqa: BLE001 - users' __json__, and whatever a serializer raises
        return _repr(argument)
    return argument


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - users' code
        return f"<Unrepresentable {type(value).__name__}: {type(error).__name__}>"


def exception_of(document: Any) -> BaseException:
    """The exception of a stored document, whatever it looks like. Never raises.

    A class that is no exception class gives a ``SecurityError``; something that is no document
    gives a ``TaskError`` that shows it.
    """
    if isinstance(document, BaseException):  # as pickle stores it
        return document
    if not isinstance(document, Mapping):
        return TaskError(
            "the record says that the task failed, but holds no exception"
            + ("" if document is None else f": {_repr(document):.500}")
        )
    name = document.get("exc_type")
    if type(name) is not str or not name:
        return TaskError(f"the record holds an exception without exc_type: {_repr(document):.500}")
    module = document.get("exc_module")
    message = document.get("exc_message", ())
    try:
        found, is_own = _class_of(module if type(module) is str else None, name)
    except ValueError:  # text that can't name anything, such as one with NUL
        return TaskError(
            f"the record holds an exception named {name!r:.500}: {_repr(message):.500}"
        )
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        return SecurityError(
            f"Expected an exception class, got {module}.{name} with payload {_repr(message):.500}"
        )
    return _instance(found, message, is_own)


def _instance(kind: type[BaseException], message: Any, is_own: bool) -> BaseException:
    arguments = message if isinstance(message, list | tuple) else (message,)
    try:
        exc = kind(*arguments)
        if not isinstance(exc, BaseException):
            raise TypeError(f"{kind} gave {type(exc)}")
        if not is_own:
            exc.add_note(f"({kind.__module__}.{kind.__qualname__} can't be imported here)")
    except Exception:  # noqa: BLE001 - a constructor of users' code
        # Celery's form for a class that refuses its own arguments.
        return Exception(f"{kind}({_repr(message)})")
    return exc


def _class_of(module: str | None, name: str) -> tuple[Any, bool]:
    """What is meant by the name, and whether it is the thing itself, not a class made up here."""
    if module is None:
        builtin = getattr(sys.modules["builtins"], name, None)
        if isinstance(builtin, type) and issubclass(builtin, BaseException):
            return builtin, True
        return _made_up("umbel.wire.errors", name), False
    if module.startswith(("celery.", "kombu.", "billiard.")) and name in _ours:
        return _ours[name], True
    holder: Any = _module_of(module)
    if holder is None:
        return _made_up(module, name), False
    for part in name.split("."):
        try:
            holder = getattr(holder, part)
        except AttributeError:
            return _made_up(module, name), False
        # Not narrower: a module may have a __getattr__ of its own.
        except Exception:  # noqa: BLE001
            return _made_up(module, name), False
    return holder, True


def _module_of(name: str) -> Any:
    found = sys.modules.get(name)
    if found is not None:
        return found
    package, dot, _ = name.partition(".")
    if not dot or package not in sys.modules:
        return None
    try:
        return import_module(name)
    # Not narrower: importing runs a module of the user's program.
    except Exception:  # noqa: BLE001
        return None


@lru_cache(maxsize=256)
def _made_up(module: str, name: str) -> type[Exception]:
    """A class to raise in place of one that can't be had; the same one each time."""
    return type(
        name.rpartition(".")[2],
        (Exception,),
        {
            "__module__": module,
            "__qualname__": name,
            "__doc__": f"Stands for {module}.{name}, which can't be imported here.",
        },
    )
