"""What must and what must not type-check, as mypy and pyright see it, in ``cases/``.

A line that ends in ``# E`` or ``# E: part of the text`` is refused by both, ``# R: type`` says what
both reveal, ``assert_type`` is theirs, and every other line has to pass.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"
SOURCE = Path(__file__).parents[2] / "src"
FILES = sorted(path.name for path in CASES.glob("*.py"))


class Said(NamedTuple):
    """Texts by (file, line)."""

    errors: dict[tuple[str, int], str]
    revealed: dict[tuple[str, int], str]


@pytest.fixture(scope="session", params=["mypy", "pyright"])
def said(request, tmp_path_factory) -> Said:
    place = tmp_path_factory.mktemp("typing")
    return mypy(place) if request.param == "mypy" else pyright(place)


def mypy(place: Path) -> Said:
    settings = place / "mypy.ini"
    settings.write_text(f"[mypy]\nstrict = true\nmypy_path = {SOURCE}\n")
    command = [sys.executable, "-m", "mypy", "--config-file", settings, "--cache-dir", place / "c"]
    found = subprocess.run(
        [*command, "--hide-error-context", "--no-error-summary", *map(str, CASES.glob("*.py"))],
        capture_output=True,
        text=True,
        check=False,
    )
    said = Said({}, {})
    for line in found.stdout.splitlines():
        path, number, kind, text = re.fullmatch(r"(.*?):(\d+): (\w+): (.*)", line).groups()
        keep(said, path, int(number), kind, text)
    assert said.errors, found.stderr
    return said


def pyright(place: Path) -> Said:
    settings = place / "pyrightconfig.json"
    settings.write_text(
        json.dumps(
            {
                "include": [str(CASES)],
                "extraPaths": [str(SOURCE)],
                "typeCheckingMode": "standard",
                "reportUnusedExpression": False,
            }
        )
    )
    found = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--project", settings, "--outputjson"],
        capture_output=True,
        text=True,
        check=False,
    )
    said = Said({}, {})
    for one in json.loads(found.stdout)["generalDiagnostics"]:
        kind = "note" if one["severity"] == "information" else one["severity"]
        keep(said, one["file"], one["range"]["start"]["line"] + 1, kind, one["message"])
    assert said.errors, found.stderr
    return said


def keep(said: Said, path: str, line: int, kind: str, text: str) -> None:
    """Sort what a checker printed; types are written without modules and as mypy brackets them."""
    place = (Path(path).name, line)
    revealed = re.search(r'(?:Revealed type is|Type of ".*" is) "(.*)"', text)
    if revealed:
        plain = re.sub(r"\b(?:\w+\.)+(?=\w)", "", revealed[1])
        plain = plain.replace("(", "[").replace(")", "]")
        said.revealed[place] = re.sub(r" =( \w+)?(?=[,\]])", " = ...", plain)
    elif kind == "error":
        said.errors[place] = said.errors.get(place, "") + text + "\n"


def marks(name: str, letter: str) -> dict[tuple[str, int], str]:
    found = {}
    for number, line in enumerate((CASES / name).read_text().splitlines(), 1):
        mark = re.search(rf"# {letter}(?:: (.*))?$", line)
        if mark:
            found[name, number] = mark[1] or ""
    return found


@pytest.mark.parametrize("name", FILES)
def test_what_is_wrong_is_refused_and_nothing_else_is(said: Said, name: str) -> None:
    wanted = marks(name, "E")

    errors = {place: text for place, text in said.errors.items() if place[0] == name}

    unwanted = {place: text for place, text in errors.items() if place not in wanted}
    assert unwanted == {}
    assert {place for place in wanted if place not in errors} == set()
    untold = {place: errors[place] for place, text in wanted.items() if text not in errors[place]}
    assert untold == {}


@pytest.mark.parametrize("name", [name for name in FILES if marks(name, "R")])
def test_what_is_revealed_is_what_the_function_says(said: Said, name: str) -> None:
    wanted = marks(name, "R")

    revealed = {place: said.revealed.get(place) for place in wanted}

    assert revealed == wanted
