"""Writes docs/settings.md from the table that the program itself reads, on standard output."""

from __future__ import annotations

from umbel.app.settings import SETTINGS, Setting
from umbel.app.support import ACCEPTED, DIFFERS, LATER, REFUSED, WORKS

HEAD = """\
# Settings

Every setting that Celery documents, with the default and what umbel makes of it. Written by
`make docs` from `src/umbel/app/settings.py`. Old names (`CELERY_TASK_SERIALIZER`) are understood.
A name that nobody knows and that looks misspelt is an error that names the nearest one.

`CELERY_BROKER_URL` and `CELERY_RESULT_BACKEND` in the environment win over everything else. With
neither a broker nor a result backend, both are the SQLite file `umbel.db` in the working directory,
or the one that `UMBEL_DB` names.
"""

SECTIONS = {
    WORKS: "As Celery documents them, and umbel's own",
    DIFFERS: "With an effect that is not quite Celery's",
    ACCEPTED: "For what umbel does anyway or does not have: named at a worker's start (INFO)",
    LATER: "For parts that are not built yet: named at a worker's start (WARNING)",
    REFUSED: "For what umbel does not have: named at a worker's start (WARNING)",
}


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for support, title in SECTIONS.items():
        rows = [setting for setting in SETTINGS.values() if setting.support == support]
        if not rows:
            continue
        parts.append(f"## {title}\n")
        if support == REFUSED:
            parts.append(", ".join(f"`{setting.name}`" for setting in rows) + "\n")
            continue
        parts.append("| setting | default | |\n| --- | --- | --- |")
        parts.append("\n".join(row(setting) for setting in rows) + "\n")
    return "\n".join(parts)


def row(setting: Setting) -> str:
    """One line of a table."""
    default = repr(setting.default).replace("|", "\\|")
    return f"| `{setting.name}` | `{default}` | {setting.note} |"


if __name__ == "__main__":
    print(page(), end="")
