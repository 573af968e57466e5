"""Reading the captured vectors, for the tests of this folder."""

from __future__ import annotations

import ast
import base64
import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent.parent / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


def entries() -> list[tuple[str, str]]:
    """(name, raw) of every queue entry that a producer or a worker of Celery wrote."""
    found = []
    for case in load("messages")["cases"]:
        for number, pushed in enumerate(case.get("pushed", [])):
            found.append((f"{case['name']}-{number}", pushed["raw"]))
    for flow in load("flows")["flows"]:
        for number, sent in enumerate(flow["sent_by_worker"]):
            found.append((f"{flow['name']}-by-worker-{number}", sent["raw"]))
    return found


def stored_values() -> list[tuple[str, dict[str, Any], bytes]]:
    """(name, settings, value) of every record that a worker of Celery stored."""
    found = []
    for case in load("results")["results"]:
        for number, write in enumerate(case.get("writes", [])):
            if "celery-task-meta-" in write["key"]:
                name = f"{case['name']}-{number}"
                found.append((name, case["conf"], as_bytes(write["value"])))
    return found


def as_bytes(value: Any) -> bytes:
    return base64.b64decode(value["$b64"]) if isinstance(value, dict) else value.encode()


def literal(text: str) -> Any:
    """The value of a repr, or None where it is none that Python can read."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
