"""``umbel report``: what somebody who wants to help must know."""

from __future__ import annotations

import platform
from typing import Any

from umbel.model.version import VERSION


def bugreport(app: Any) -> str:
    """Versions, where messages and results are, and the settings without secrets."""
    # Not at the top: a report is asked for once.
    from umbel.engines.opening import address

    results = app.connections.result_url()
    lines = [
        "",
        f"software -> umbel:{VERSION} py:{platform.python_version()}",
        f"            {_libraries()}",
        f"platform -> system:{platform.system()} arch:{platform.machine()}"
        f" kernel:{platform.release()} imp:{platform.python_implementation()}",
        f"broker   -> {address(app.connections.broker_url())}",
        f"results  -> {address(results) if results else 'disabled'}",
        "",
        app.conf.humanize(with_defaults=False),
        "",
    ]
    return "\n".join(lines)


def _libraries() -> str:
    from importlib.metadata import PackageNotFoundError, version
    from sqlite3 import sqlite_version

    found = []
    for name in ("redis", "hiredis", "msgspec", "click"):
        try:
            found.append(f"{name}:{version(name)}")
        except PackageNotFoundError:
            continue
    return " ".join([*found, f"sqlite:{sqlite_version}"])
