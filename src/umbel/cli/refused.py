"""The commands of Celery that umbel does not have yet, each with what to use meanwhile.

They are known by name so that nobody searches for a typing error: whatever arguments they are
given, the answer is one line and exit code 1. A command leaves this table when it is built.
"""

from __future__ import annotations

from typing import Any, NoReturn

import click

from umbel.model.errors import NotBuiltYet

INSTEAD = {
    "amqp": "RabbitMQ is not spoken yet; `umbel list queues` and `umbel purge` work on the broker"
    " that the app names.",
    "beat": "let cron or a systemd timer run `umbel -A APP call TASK`, or let Celery's own beat"
    " send to the same Redis: its messages are understood.",
    "graph": "there is nothing in its place.",
    "logtool": "the log lines have Celery's forms, so that Celery's own logtool reads them.",
    "migrate": "umbel and Celery may share one Redis, so that no message needs to move.",
    "multi": "start each worker as a service of its own (systemd, a container, supervisord):"
    " `umbel -A APP worker -n NAME@%h`.",
    "shell": "start `python -i` and import your app's module.",
    "upgrade": "settings are understood by their old and their new names.",
}


class RefusedCommand(click.Command):
    """Takes any arguments and raises ``NotBuiltYet``."""

    def __init__(self, name: str) -> None:
        super().__init__(name, hidden=True, add_help_option=False, help=INSTEAD[name])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return []

    def invoke(self, ctx: click.Context) -> NoReturn:
        raise NotBuiltYet(f"`{self.name}` is not built yet: {INSTEAD[str(self.name)]}")

    def get_short_help_str(self, limit: int = 45) -> str:
        return "not built yet"


def refused_command(name: str) -> Any:
    """The command that refuses, or None where ``name`` is none of these."""
    return RefusedCommand(name) if name in INSTEAD else None
