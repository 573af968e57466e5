"""The pages say what is so: their programs run, their links lead somewhere, tables are current."""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
WITH_PROGRAMS = ["README.md", "docs/tour.md"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_PROGRAMS)
def test_the_programs_of_a_page_run_as_they_stand(name: str, tmp_path: Path) -> None:
    page = ROOT / name
    tasks = [block for block in blocks(page, "python") if block.startswith("# tasks.py\n")]
    (tmp_path / "tasks.py").write_text("\n".join(tasks))
    (tmp_path / "session.txt").write_text("\n".join(blocks(page, "pycon")))
    steering = ("CELERY_", "UMBEL_", "PYTHON")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(steering)}
    environment["PYTHONPATH"] = str(tmp_path)

    with (tmp_path / "worker.txt").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-m", "umbel", "-A", "tasks", "worker", "-c", "2"],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            session = subprocess.run(
                [sys.executable, "-m", "doctest", "session.txt"],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            worker.send_signal(signal.SIGTERM)
            code = worker.wait(30)

    assert session.returncode == 0, session.stdout + (tmp_path / "worker.txt").read_text()
    assert code == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())

    missing = [target for target in targets if not (page.parent / target).exists()]

    assert missing == []


def test_the_settings_page_is_what_the_table_says() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "settings_page.py"))["page"]

    assert page() == (ROOT / "docs" / "settings.md").read_text(), "run `make docs`"


def test_the_tables_of_what_is_supported_are_what_the_program_says() -> None:
    written = runpy.run_path(str(ROOT / "scripts" / "option_tables.py"))["page"]
    text = (ROOT / "docs" / "moving-from-celery.md").read_text()

    assert text.count("<!-- table: ") == 4
    assert written(text) == text, "run `make docs`"


def test_the_tests_that_guarantees_names_are_there() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    named = re.findall(r"`((?:\w+/)+\w+\.py)`", page)

    missing = [
        name for name in named if not ((ROOT / "tests" / name).exists() or (ROOT / name).exists())
    ]

    assert len(named) > 20
    assert missing == []
