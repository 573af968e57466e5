"""From ``-A`` to an app, and from packages to their task modules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from umbel import Celery
from umbel.app.finding import find_app
from umbel.app.tracebacks import own_traceback
from umbel.model.errors import ImproperlyConfigured


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def write_file(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for part in path.parent.relative_to(tmp_path).parts:
            (tmp_path / part / "__init__.py").touch()
        for module in set(sys.modules) - before:
            if module.startswith("found_"):
                del sys.modules[module]

    return write_file


MAKE = "from umbel import Celery\n{0} = Celery('{1}')\n"


@pytest.mark.parametrize(
    ("path", "name", "word"),
    [
        ("found_a.py", "app", "found_a"),
        ("found_b.py", "celery", "found_b"),
        ("found_c.py", "queue", "found_c"),
        ("found_d.py", "other", "found_d:other"),
        ("found_e/celery.py", "app", "found_e"),
        ("found_f/celery.py", "app", "found_f.celery"),
        ("found_g/tasks.py", "queue", "found_g.tasks:queue"),
        ("found_h/tasks.py", "queue", "found_h.tasks.queue"),
    ],
)
def test_an_app_is_found(path: str, name: str, word: str, write: Callable[..., None]) -> None:
    write(path, MAKE.format(name, word))

    assert find_app(word).main == word


def test_a_package_that_imports_its_app_is_found(write: Callable[..., None]) -> None:
    write("found_p/celery.py", MAKE.format("app", "packaged"))
    Path("found_p/__init__.py").write_text("from .celery import app as celery_app\n")

    assert find_app("found_p").main == "packaged"


def test_what_is_missing_is_said(write: Callable[..., None]) -> None:
    write("found_i.py", "x = 1")

    with pytest.raises(ImproperlyConfigured, match="there is no module 'found_nothing'"):
        find_app("found_nothing")
    with pytest.raises(ImproperlyConfigured, match="no module 'found_nothing'"):
        find_app("found_nothing.tasks")
    with pytest.raises(ImproperlyConfigured, match="module 'found_i' has no app"):
        find_app("found_i")
    with pytest.raises(ImproperlyConfigured, match="has no attribute 'queue'; it has no app"):
        find_app("found_i:queue")


def test_a_broken_module_shows_its_own_error(write: Callable[..., None]) -> None:
    write("found_j.py", "import umbel_no_such_library")
    write("found_k.py", "1 / 0")

    with pytest.raises(ModuleNotFoundError, match="umbel_no_such_library"):
        find_app("found_j")
    with pytest.raises(ZeroDivisionError):
        find_app("found_k")


def test_tasks_are_discovered_when_modules_are_imported(write: Callable[..., None]) -> None:
    write("found_l/tasks.py", "from umbel import shared_task\n@shared_task\ndef one(): return 1\n")
    write("found_m/other.py", "x = 1")
    app = Celery("discovering")

    app.autodiscover_tasks(lambda: ["found_l", "found_m"])
    assert "found_l.tasks.one" not in app.tasks
    app.import_modules()

    assert app.tasks["found_l.tasks.one"]() == 1


def test_discovery_may_be_forced_and_named(write: Callable[..., None]) -> None:
    write("found_n/jobs.py", "from umbel import shared_task\n@shared_task\ndef two(): return 2\n")
    app = Celery("discovering")

    app.autodiscover_tasks(["found_n"], related_name="jobs", force=True)

    assert app.tasks["found_n.jobs.two"]() == 2


def test_a_broken_task_module_is_not_passed_over(write: Callable[..., None]) -> None:
    write("found_o/tasks.py", "1 / 0")
    app = Celery("discovering")

    app.autodiscover_tasks(["found_o"])

    with pytest.raises(ZeroDivisionError):
        app.import_modules()


def test_imports_and_include_are_imported(write: Callable[..., None]) -> None:
    write("found_q.py", "x = 1")
    write("found_r.py", "x = 1")
    app = Celery("including", include=["found_q"], imports=("found_r",))

    app.import_modules()

    assert {"found_q", "found_r"} <= set(sys.modules)


def test_without_packages_django_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)

    with pytest.raises(ImproperlyConfigured, match="DJANGO_SETTINGS_MODULE"):
        Celery("discovering").autodiscover_tasks(force=True)


def test_an_included_module_that_is_not_there_is_named(write: Callable[..., None]) -> None:
    write("found_here.py", "import found_nowhere\n")

    with pytest.raises(ImproperlyConfigured, match=r"no module 'found_missing'.*include="):
        Celery("shop", include=["found_missing"]).import_modules()
    with pytest.raises(ModuleNotFoundError, match="found_nowhere"):
        Celery("shop", include=["found_here"]).import_modules()


def test_a_module_that_does_not_compile_shows_its_own_line_only(write: Callable[..., None]) -> None:
    write("found_halved.py", "def f(:\n")

    with pytest.raises(SyntaxError) as caught:
        find_app("found_halved")

    # As a command calls it: only its own frames and the import machinery's lie above the module.
    assert caught.tb.tb_next is not None
    shown = own_traceback(caught.value.with_traceback(caught.tb.tb_next))
    assert "found_halved.py" in shown
    assert "importlib" not in shown
