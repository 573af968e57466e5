"""The statements of ``queries.sql``, by name, and those of ``schema.sql`` and ``upgrades.sql``.

SQL stands in files of its own, so that it can be read, and tried in SQLite's shell, as SQL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def _statements(text: str) -> dict[str, str]:
    pieces = _NAME.split(text)[1:]
    return {
        name: "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip()
        for name, body in zip(pieces[::2], pieces[1::2], strict=True)
    }


SQL: Mapping[str, str] = _statements(
    Path(__file__).with_name("queries.sql").read_text(encoding="utf-8")
)


def _schema(text: str) -> tuple[str, ...]:
    bare = "\n".join(line.partition("--")[0].rstrip() for line in text.splitlines())
    return tuple(statement for piece in bare.split(";") if (statement := piece.strip()))


def _upgrades(text: str) -> dict[int, tuple[str, ...]]:
    return {
        int(name.removeprefix("from_")): _schema(body) for name, body in _statements(text).items()
    }


SCHEMA: tuple[str, ...] = _schema(
    Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
)
# By the layout that they start from.
UPGRADES: Mapping[int, tuple[str, ...]] = _upgrades(
    Path(__file__).with_name("upgrades.sql").read_text(encoding="utf-8")
)
