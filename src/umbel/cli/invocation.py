"""What was said before the command's name, and how the commands that need an app get it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True)
class Invocation:
    """The global options."""

    app: str | None
    broker: str | None
    result_backend: str | None
    config: str | None
    workdir: str | None  # absolute; the program has changed to it already
    no_color: bool | None
    quiet: bool

    def set_environment(self) -> None:
        """Let the app that is loaded later see the options: they win over what it says itself."""
        given = {
            "CELERY_BROKER_URL": self.broker,
            "CELERY_RESULT_BACKEND": self.result_backend,
            "CELERY_CONFIG_MODULE": self.config,
        }
        os.environ.update({name: value for name, value in given.items() if value})

    def app_name(self) -> str:
        """What ``-A`` says; a usage error where it says nothing."""
        if self.app is None:
            raise click.UsageError(
                "which app? Name its module before the command: umbel -A MODULE COMMAND"
            )
        return self.app

    def load_app(self) -> Any:
        """Import the app that ``-A`` names."""
        from umbel.app.finding import find_app

        return find_app(self.app_name())
