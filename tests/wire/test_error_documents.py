"""Exceptions as documents, under the names that Celery's readers know."""

from __future__ import annotations

import builtins
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from umbel.model import errors
from umbel.wire.errors import document_of, exception_of


class Outer:
    class Inner(Exception):
        pass


class TwoArguments(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(code, detail)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("exc", "document"),
    [
        (ValueError("boom", 42), ("ValueError", ["boom", 42], "builtins")),
        (RuntimeError(), ("RuntimeError", [], "builtins")),
        (ValueError("o", object), ("ValueError", ["o", "<class 'object'>"], "builtins")),
        (errors.NotRegistered("n"), ("NotRegistered", ["n"], "celery.exceptions")),
        (
            errors.TaskRevokedError("revoked"),
            ("TaskRevokedError", ["revoked"], "celery.exceptions"),
        ),
        (errors.Reject("no", False), ("Reject", ["no", False], "celery.exceptions")),
        (errors.UmbelError("x"), ("CeleryError", ["x"], "celery.exceptions")),
        (errors.WorkerLostError("w"), ("WorkerLostError", ["w"], "billiard.exceptions")),
        (errors.TimeLimitExceeded(1), ("TimeLimitExceeded", [1], "billiard.exceptions")),
        (errors.SoftTimeLimitExceeded(), ("SoftTimeLimitExceeded", [], "billiard.exceptions")),
        (errors.EncodeError("e"), ("EncodeError", ["e"], "kombu.exceptions")),
        (Outer.Inner("i"), ("Outer.Inner", ["i"], __name__)),
    ],
)
def test_an_exception_is_written_as_celery_writes_it(exc: Any, document: Any) -> None:
    found = document_of(exc)

    assert list(found) == ["exc_type", "exc_message", "exc_module"]
    assert tuple(found.values()) == document


@pytest.mark.parametrize(
    "exc",
    [ValueError("a", 1), KeyError("k"), Outer.Inner("i"), TwoArguments(7, "d"),
     errors.ChordError("c"), errors.WorkerLostError("w"), errors.OperationalError("o"),
     errors.LeaseLost("l"), errors.Retry("again"), ExceptionGroup("g", [ValueError("x")])],
    ids=lambda exc: type(exc).__name__,
)  # fmt: skip
def test_an_exception_comes_back_as_its_own_class(exc: BaseException) -> None:
    back = exception_of(document_of(exc))

    assert type(back) is type(exc) or isinstance(exc, ExceptionGroup)


@pytest.mark.parametrize("module", ["celery.exceptions", "billiard.exceptions", "kombu.exceptions"])
def test_celery_s_errors_are_ours(module: str) -> None:
    for name in ("WorkerLostError", "ChordError", "EncodeError", "Retry", "TimeoutError"):
        back = exception_of({"exc_type": name, "exc_message": ["x"], "exc_module": module})

        assert type(back) is getattr(errors, name)


def test_a_class_that_cannot_be_had_is_made_and_says_so() -> None:
    document = {"exc_type": "Odd.One", "exc_message": ["boom", 42], "exc_module": "no.such.module"}

    first, second = exception_of(document), exception_of(document)

    assert type(first) is type(second)
    assert first.args == ("boom", 42)
    assert str(first) == "('boom', 42)"
    text = "".join(traceback.format_exception(first))
    assert "no.such.module.Odd.One: ('boom', 42)" in text
    assert "can't be imported here" in text


def test_no_module_of_a_stranger_is_imported(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "stranger.py").write_text("class Odd(Exception): pass")
    monkeypatch.syspath_prepend(tmp_path)

    back = exception_of({"exc_type": "Odd", "exc_message": [], "exc_module": "stranger"})

    assert type(back).__name__ == "Odd"
    assert "stranger" not in sys.modules


def test_a_module_beside_one_in_use_is_imported(tmp_path: Path, monkeypatch: Any) -> None:
    package = tmp_path / "familiar_shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "errors.py").write_text("class SoldOut(Exception): pass")
    (package / "broken.py").write_text("raise SystemError('at import')")
    monkeypatch.syspath_prepend(tmp_path)
    familiar = __import__("familiar_shop")

    back = exception_of(
        {"exc_type": "SoldOut", "exc_message": [1], "exc_module": "familiar_shop.errors"}
    )
    other = exception_of(
        {"exc_type": "SoldOut", "exc_message": [1], "exc_module": "familiar_shop.broken"}
    )

    assert type(back) is familiar.errors.SoldOut
    assert type(other).__name__ == "SoldOut"


@pytest.mark.parametrize(
    "document",
    [None, 7, "boom", [], {}, {"exc_type": None}, {"exc_type": ""}, {"exc_type": 5},
     {"exc_type": "a\0b"}, {"exc_type": "a\0b", "exc_module": "x"}, {"exc_type": "\ud800"},
     {"exc_type": "X", "exc_module": 7}, {"exc_type": "X", "exc_module": ""},
     {"exc_type": "X", "exc_module": "a\0b.c"}, {"exc_type": "X", "exc_module": "."},
     {"exc_type": "X", "exc_module": "umbel..x"}, {"exc_type": "..", "exc_module": "os"},
     {"exc_type": "ExceptionGroup", "exc_message": [1], "exc_module": "builtins"},
     {"exc_type": "UnicodeDecodeError", "exc_message": ["x"], "exc_module": "builtins"},
     {"exc_type": "ValueError", "exc_message": None, "exc_module": "builtins"},
     {"exc_type": "ValueError", "exc_message": {"a": 1}, "exc_module": "builtins"}],
)  # fmt: skip
def test_anything_gives_an_exception(document: Any) -> None:
    assert isinstance(exception_of(document), BaseException)


@pytest.mark.parametrize("name", ["system", "path", "environ"])
def test_nothing_but_exception_classes_is_called(name: str) -> None:
    back = exception_of({"exc_type": name, "exc_message": ["true"], "exc_module": "os"})

    assert type(back) is errors.SecurityError
    assert f"os.{name}" in str(back)


def test_an_argument_that_nothing_can_be_made_of_is_no_error() -> None:
    document = document_of(ValueError(Unprintable(), 10**5000, ["a", {1}]))

    assert len(document["exc_message"]) == 3
    assert "Unprintable" in document["exc_message"][0]


def test_every_builtin_exception_goes_there_and_back() -> None:
    for kind in vars(builtins).values():
        if isinstance(kind, type) and issubclass(kind, Exception):
            try:
                exc = kind("x")
            except TypeError:
                continue
            assert type(exception_of(document_of(exc))) is kind


def test_each_of_our_errors_has_a_name_that_a_celery_reader_knows() -> None:
    ours_alone = {"NotBuiltYet", "PublishOutcomeUnknown", "LeaseLost"}
    for name, kind in vars(errors).items():
        if (
            isinstance(kind, type)
            and issubclass(kind, Exception)
            and not issubclass(kind, Warning)
            and not name.startswith("_")
        ):
            module = document_of(kind())["exc_module"]
            assert module.startswith("umbel.") is (name in ours_alone), name
