"""What was said before the command's name, and how the commands that need an app get it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import click

from umbel.model.errors import UmbelError
from umbel.ports.current import current_app


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

    def check_app(self) -> None:
        """Without ``-A`` there must be settings, from which a default app can live."""
        if self.app is None and self.config is None and not os.path.exists("celeryconfig.py"):
            raise click.UsageError(
                "which app? Name its module before the command: umbel -A MODULE COMMAND"
            )

    def load_app(self) -> Any:
        """The app that ``-A`` names, imported; else the default one with ``--config``."""
        from umbel.app.finding import find_app

        self.check_app()
        try:
            app = find_app(self.app) if self.app else current_app()
        except UmbelError:
            raise
        except Exception as error:  # noqa: BLE001 - the user's module; its traceback is the message
            from umbel.app.tracebacks import own_traceback

            click.echo(own_traceback(error), err=True, nl=False)
            raise SystemExit(1) from None
        if self.config:
            app.config_from_object(self.config)
        app.set_current()
        return app
