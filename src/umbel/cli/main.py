"""The entry point of ``umbel``, of ``python -m umbel`` and of the ``celery`` command of the alias.

It imports next to nothing: ``umbel --version`` is answered here, and everything else loads click
(60 ms) and then only the room of the command that was asked for. Errors of ours end the program
with one line and exit code 1; a traceback on a terminal means a bug in umbel or in the user's app.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from umbel.model.errors import UmbelError
from umbel.model.version import VERSION


def main(arguments: Sequence[str] | None = None, *, program: str | None = None) -> NoReturn:
    """Run one command and exit with its code. ``program`` is the name that help texts show."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        print(f"umbel {VERSION}")
        sys.exit(0)
    from umbel.cli.commands import root

    try:
        # CELERY_APP, CELERY_WORKER_CONCURRENCY, ... stand in for options, as in Celery.
        root.main(given, prog_name=program, auto_envvar_prefix="CELERY")
    except UmbelError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
