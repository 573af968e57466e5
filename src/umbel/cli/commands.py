"""The root command: Celery's global options, and the table of the commands below it.

A command's room is imported when that command runs or its help is asked for, not before. The root
itself imports no app: the worker must start its supervisor first, the others load the app through
``Invocation.load_app``.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import click

from umbel.cli.invocation import Invocation
from umbel.cli.options import RefusedOption, did_you_mean
from umbel.cli.refused import INSTEAD, refused_command
from umbel.model.version import VERSION

# name -> (module, attribute, one line for the list of commands)
COMMANDS = {
    "worker": ("umbel.cli.work", "worker", "Start a worker."),
    "call": ("umbel.cli.send", "call", "Call a task by name."),
    "purge": ("umbel.cli.send", "purge", "Delete all messages of queues."),
    "result": ("umbel.cli.ask", "result", "Print the return value of a task."),
    "list": ("umbel.cli.ask", "list_", "List tasks, queues or bindings."),
    "dead": ("umbel.cli.dead", "dead", "Look at dead letters, send them again, delete them."),
    "status": ("umbel.cli.control", "status", "Show who is online."),
    "inspect": ("umbel.cli.control", "inspect", "Ask workers: active, ping, stats, ..."),
    "control": ("umbel.cli.control", "control", "Tell workers: pool_grow, shutdown, ..."),
    "drain": ("umbel.cli.drain", "drain", "Before going back to Celery: put everything back."),
    "events": ("umbel.cli.events", "events", "Watch workers and tasks."),
    "report": ("umbel.cli.ask", "report", "Print what a bug report should say."),
}


class Root(click.Group):
    """Finds commands in the tables above, and knows near misses."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module, attribute, _ = COMMANDS[cmd_name]
            command: click.Command = getattr(importlib.import_module(module), attribute)
            return command
        found: click.Command | None = refused_command(cmd_name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            hint = did_you_mean(name, [*COMMANDS, *INSTEAD])
            hint = hint or f" Commands: {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command {name!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    # The list of commands comes from the table, so that help imports none of their rooms.
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])
        with formatter.section("Not built yet (each says what to use meanwhile)"):
            formatter.write_text(", ".join(INSTEAD))


def _change_directory(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    if value:
        os.chdir(value)
    return os.getcwd() if value else None


def _skip_checks(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        os.environ["CELERY_SKIP_CHECKS"] = "true"


@click.group(
    cls=Root,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    options_metavar="[-A APP] [OPTIONS]",
)
@click.option("-A", "--app", envvar="APP", help="The app: a module, a package or module:name.")
@click.option(
    "-b", "--broker", envvar=["CELERY_BROKER_URL", "BROKER_URL"], help="URL of the broker."
)
@click.option(
    "--result-backend",
    envvar=["CELERY_RESULT_BACKEND", "RESULT_BACKEND"],
    help="URL of the result backend.",
)
@click.option(
    "--config", envvar=["CELERY_CONFIG_MODULE", "CONFIG_MODULE"], help="Module with the settings."
)
@click.option(
    "--workdir",
    type=click.Path(exists=True, file_okay=False),
    callback=_change_directory,
    is_eager=True,
    help="Directory to change to first.",
)
@click.option("-C", "--no-color", envvar="NO_COLOR", is_flag=True, default=None, help="No colours.")
@click.option("-q", "--quiet", is_flag=True, help="No banner.")
@click.option("--version", is_flag=True, help="Show the version and exit.")
@click.option(
    "--skip-checks",
    envvar="SKIP_CHECKS",
    is_flag=True,
    expose_value=False,
    callback=_skip_checks,
    help="Do not run Django's checks at the start of a worker.",
)
@click.option(
    "--loader", cls=RefusedOption, instead="give the app with -A, settings with --config."
)
@click.pass_context
def root(
    context: click.Context,
    app: str | None,
    broker: str | None,
    result_backend: str | None,
    config: str | None,
    workdir: str | None,
    no_color: bool | None,
    quiet: bool,
    version: bool,
) -> None:
    """umbel: a distributed task queue that speaks Celery's language."""
    if version:
        click.echo(f"umbel {VERSION}")
        context.exit()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        context.exit()
    context.obj = Invocation(
        app=app,
        broker=broker,
        result_backend=result_backend,
        config=config,
        workdir=workdir,
        no_color=no_color,
        quiet=quiet,
    )
    context.obj.set_environment()
