"""What tables of options say is seen in tests of other rooms: that it really stands there."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


@cache
def _functions(path: Path) -> dict[str, str]:
    text = path.read_text()
    return {
        node.name: ast.get_source_segment(text, node) or ""
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef)
    }


def missing(pointer: str, *words: str) -> list[str]:
    """What is wrong with ``room/test_it.py::test_it``, or with ``room/programs/it.py``, which the
    tests run: the words that are not in it, or all of it.
    """
    name, _, function = pointer.partition("::")
    path = TESTS / name
    if not path.exists():
        return [pointer]
    text = _functions(path).get(function, "") if function else path.read_text()
    return [f"{word} in {pointer}" for word in words if word not in text]
