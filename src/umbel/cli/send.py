"""Commands that change what a broker holds: ``call`` and ``purge``."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import Any

import click

from umbel.cli.invocation import Invocation
from umbel.cli.options import (
    SectionCommand,
    SectionOption,
    date,
    date_or_seconds,
    did_you_mean,
    json_array,
    json_object,
    names,
)


@click.command("call", cls=SectionCommand)
@click.argument("name")
@click.option(
    "-a",
    "--args",
    cls=SectionOption,
    section="Arguments",
    type=json_array,
    metavar="JSON",
    help="Positional arguments, e.g. '[1, 2]'.",
)
@click.option(
    "-k",
    "--kwargs",
    cls=SectionOption,
    section="Arguments",
    type=json_object,
    metavar="JSON",
    help="Keyword arguments, e.g. '{\"x\": 1}'.",
)
@click.option("--eta", type=date, metavar="DATE", help="Not before then (ISO 8601).")
@click.option("--countdown", type=float, metavar="SECONDS", help="Not before so many seconds.")
@click.option(
    "--expires",
    type=date_or_seconds,
    metavar="DATE|SECONDS",
    help="Not after then, or after so many seconds.",
)
@click.option("--serializer", default="json", show_default=True, help="How arguments are encoded.")
@click.option("--queue", help="Queue to send to; else the app's routes decide.")
@click.option("--exchange", help="Exchange to publish to.")
@click.option("--routing-key", help="Routing key to publish with.")
@click.pass_obj
def call(
    invocation: Invocation,
    /,
    name: str,
    args: list[Any] | None,
    kwargs: dict[str, Any] | None,
    eta: datetime | None,
    **options: Any,
) -> None:
    """Call a task by NAME and print its id.

    The task need not be known to the app: the worker decides.
    """
    app = invocation.load_app()
    if name not in app.tasks:
        hint = did_you_mean(name, app.tasks)
        if hint:
            click.echo(f"Note: the app {app.main} has no task {name!r}.{hint}", err=True)
    given = {key: value for key, value in options.items() if value is not None}
    result = app.send_task(name, args=args or [], kwargs=kwargs or {}, eta=eta, **given)
    click.echo(result.id)


@click.command("purge", cls=SectionCommand)
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("-Q", "--queues", type=names, metavar="A,B", help="Only these queues.")
@click.option("-X", "--exclude-queues", type=names, metavar="A,B", help="All queues but these.")
@click.pass_obj
def purge(
    invocation: Invocation, /, force: bool, queues: str | None, exclude_queues: str | None
) -> None:
    """Delete all messages that wait in queues, due ones included. There is no undo.

    What workers run at the moment is not touched.
    """
    app = invocation.load_app()
    chosen = app.routing.consumed_queues(queues, exclude_queues)
    if not chosen:
        click.echo("No queue is left to purge.")
        return
    listing = ", ".join(sorted(chosen))
    if not force:
        click.confirm(
            f"WARNING: this will remove all tasks from {_count(len(chosen), 'queue')}: {listing}.\n"
            "         There is no undo for this operation!\n\n"
            "(to skip this prompt use the -f option)\n"
            "Are you sure you want to delete all tasks?",
            abort=True,
        )
    with closing(app.open_pair().broker) as broker:
        gone = sum(broker.purge(queue) for queue in chosen)
    queues_text = _count(len(chosen), "known task queue")
    if gone:
        click.echo(f"Purged {_count(gone, 'message')} from {queues_text}.")
    else:
        click.echo(f"No messages purged from {queues_text}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
