"""Commands that only look: ``result``, ``list`` and ``report``."""

from __future__ import annotations

from contextlib import closing

import click

from umbel.cli.invocation import Invocation
from umbel.cli.options import SectionCommand
from umbel.model.errors import TimeoutError as WaitTimeout
from umbel.model.states import EXCEPTION_STATES


@click.command("result", cls=SectionCommand)
@click.argument("task_id")
@click.option("-t", "--task", help="Name of the task, where its class has a backend of its own.")
@click.option("--traceback", is_flag=True, help="Print the traceback instead; do not wait.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Wait no longer than this.")
@click.pass_obj
def result(
    invocation: Invocation,
    /,
    task_id: str,
    task: str | None,
    traceback: bool,
    timeout: float | None,
) -> None:
    """Wait for the task with TASK_ID and print what it returned.

    A task that failed has its traceback printed on stderr, and the exit code is 1.
    """
    app = invocation.load_app()
    handle = app.tasks[task].AsyncResult(task_id) if task else app.AsyncResult(task_id)
    try:
        if traceback:
            click.echo(handle.traceback)
            return
        value = handle.get(timeout=timeout, propagate=False)
    # Not implemented: results are disabled; the text names the setting.
    except (WaitTimeout, NotImplementedError) as error:
        raise click.ClickException(str(error)) from None
    if handle.state in EXCEPTION_STATES:
        click.echo(handle.traceback or repr(value), err=True)
        raise SystemExit(1)
    click.echo(value)


@click.group("list", invoke_without_command=False)
def list_() -> None:
    """List what an app knows and what its broker holds."""


@list_.command("tasks", cls=SectionCommand)
@click.option("--builtin", is_flag=True, help="Also the tasks that every app has.")
@click.pass_obj
def tasks(invocation: Invocation, /, builtin: bool) -> None:
    """The tasks of the app, one a line."""
    app = invocation.load_app()
    app.import_modules()
    for name in sorted(app.tasks):
        if builtin or not name.startswith(("celery.", "umbel.")):
            click.echo(name)


@list_.command("queues", cls=SectionCommand)
@click.pass_obj
def queues(invocation: Invocation, /) -> None:
    """The queues that the app consumes, and how many messages each has where."""
    app = invocation.load_app()
    _row("Queue", "ready", "due", "leased", "again")
    with closing(app.open_pair().broker) as broker:
        for name in app.routing.consumed_queues():
            depth = broker.depth(name)
            _row(name, depth.ready, depth.due, depth.leased, depth.lane)


def _row(name: str, *numbers: object) -> None:
    click.echo(f"{name:<28}" + "".join(f"{number!s:>10}" for number in numbers))


@list_.command("bindings", cls=SectionCommand)
@click.pass_obj
def bindings(invocation: Invocation, /) -> None:
    """The queues that the app consumes, with their exchanges and routing keys."""
    app = invocation.load_app()
    line = "{:<28} {:<28} {}"
    click.echo(line.format("Queue", "Exchange", "Routing Key"))
    click.echo(line.format("-" * 16, "-" * 16, "-" * 16))
    for binding in app.routing.bindings(app.routing.consumed_queues()):
        click.echo(line.format(binding.queue, binding.exchange, binding.routing_key))


@click.command("report", cls=SectionCommand)
@click.pass_obj
def report(invocation: Invocation, /) -> None:
    """Print what a bug report should say: versions, engines, settings; no passwords."""
    app = invocation.load_app()
    app.import_modules()
    click.echo(app.bugreport())
