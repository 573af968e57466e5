"""``umbel dead``: the messages that could not be run; look, send again, delete.

What sends or deletes says first how many letters are meant, and means exactly those: what dies
while somebody reads the question is left alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from umbel.app.dead import DEFAULT_LIMIT, DeadTask
from umbel.cli.invocation import Invocation
from umbel.cli.options import SectionCommand, SectionOption

_F = TypeVar("_F", bound=Callable[..., Any])

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SHOWN_CAUSE = 100


def age(value: str) -> float:
    """Seconds, from ``90``, ``90s``, ``15m``, ``12h``, ``3d`` or ``2w``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", value.strip())
    if found is None:
        raise click.BadParameter(f"{value!r} is no age; wanted e.g. 90s, 15m, 12h, 3d or 2w")
    return float(found[1]) * _UNITS[found[2]]


def _filters(function: _F) -> _F:
    options = [
        ("--id", "id", True, str, "ID", "The task's id."),
        ("-t/--task", "task", True, str, "NAME", "Its name; mail.* means all of a module."),
        ("-Q/--queue", "queue", True, str, "NAME", "The queue that it came by."),
        ("--cause", "cause", False, str, "TEXT", "Part of the cause."),
        ("--older-than", "older_than", False, age, "AGE", "Died before so long (15m, 12h, 3d)."),
        ("--newer-than", "newer_than", False, age, "AGE", "Died within so long."),
    ]
    for names, name, is_multiple, kind, metavar, text in reversed(options):
        function = click.option(
            *names.split("/"),
            name,
            cls=SectionOption,
            section="Which (all that is given has to fit)",
            multiple=is_multiple,
            type=kind,
            metavar=metavar,
            help=text,
        )(function)
    return function


def _changing(function: _F) -> _F:
    function = click.option("-f", "--force", is_flag=True, help="Do not ask.")(function)
    function = click.option("--all", "everything", is_flag=True, help="All dead letters.")(function)
    return click.argument("numbers", nargs=-1, type=int)(_as_json(_filters(function)))


def _as_json(function: _F) -> _F:
    return click.option("--json", "is_json", is_flag=True, help="Print JSON.")(function)


@click.group("dead")
def dead() -> None:
    """Look at dead letters, send them again, delete them."""


@dead.command("list", cls=SectionCommand)
@_filters
@_as_json
@click.option("--limit", type=click.IntRange(min=1), default=DEFAULT_LIMIT, show_default=True)
@click.pass_obj
def list_(invocation: Invocation, /, is_json: bool, limit: int, **filters: Any) -> None:
    """The dead letters, the newest first."""
    app = invocation.load_app()
    given = _given(filters)
    letters = app.dead.list(limit=limit, **given)
    if is_json:
        _print([_plain(letter) for letter in letters])
        return
    for letter in letters:
        cause = letter.cause.partition("\n")[0]
        if len(cause) > _SHOWN_CAUSE:
            cause = f"{cause[:_SHOWN_CAUSE]}..."
        died = letter.died.strftime("%Y-%m-%d %H:%M:%S")
        click.echo(
            f"{letter.number:>6}  {died}  {letter.queue}  {letter.task or '?'}"
            f"[{letter.id or '?'}]  {cause}"
        )
    if len(letters) == limit:
        left = app.dead.count(**given) - limit
        if left > 0:
            click.echo(f"... and {left} more; --limit shows them", err=True)
    elif not letters:
        click.echo("No dead letters.", err=True)


@dead.command("show", cls=SectionCommand)
@click.argument("number", type=int)
@_as_json
@click.pass_obj
def show(invocation: Invocation, /, number: int, is_json: bool) -> None:
    """All that is known of dead letter NUMBER, with its bytes."""
    app = invocation.load_app()
    try:
        letter = app.dead.show(number)
    except LookupError:
        raise click.ClickException(
            f"there is no dead letter {number}; `umbel dead list` shows those left"
        ) from None
    if is_json:
        _print(_plain(letter))
        return
    for name, value in _plain(letter).items():
        if name != "history":
            click.echo(f"{name:<11} {'' if value is None else value}")
        for place, death in enumerate(value if name == "history" else ()):
            click.echo(f"{'' if place else name:<11} {death}")


@dead.command("replay", cls=SectionCommand)
@_changing
@click.pass_obj
def replay(invocation: Invocation, /, **given: Any) -> None:
    """Put dead letters back into their queues: NUMBERS, or what the options say.

    They are delivered as new ones: no death of a process is counted against them any more.
    """
    _change(invocation.load_app(), "replay", "Put back", **given)


@dead.command("purge", cls=SectionCommand)
@_changing
@click.pass_obj
def purge(invocation: Invocation, /, **given: Any) -> None:
    """Delete dead letters: NUMBERS, or what the options say. There is no undo."""
    _change(invocation.load_app(), "purge", "Deleted", **given)


def _change(
    app: Any,
    verb: str,
    done: str,
    *,
    numbers: tuple[int, ...],
    everything: bool,
    force: bool,
    is_json: bool,
    **filters: Any,
) -> None:
    given = _given(filters)
    if numbers:
        given["numbers"] = numbers
    if bool(given) == everything:
        raise click.UsageError("which ones? Give numbers or options, or --all for all of them")
    newest = app.dead.list(limit=1, **given)
    if newest:
        given["up_to"] = newest[0].number
    count = app.dead.count(**given) if newest else 0
    if count and not force:
        question = {
            "replay": f"{_letters(count)} will be put back and run again. Go on?",
            "purge": f"{_letters(count)} will be deleted for ever. Go on?",
        }
        click.confirm(question[verb], abort=True, err=True)
    changed = getattr(app.dead, verb)(**given) if count else 0
    if is_json:
        _print({"found": count, "changed": changed})
    else:
        click.echo(f"{done} {_letters(changed)}.")


def _given(filters: dict[str, Any]) -> dict[str, Any]:
    """Without the options that nobody has used."""
    return {name: value for name, value in filters.items() if value not in (None, ())}


def _letters(number: int) -> str:
    return f"{number} dead letter" if number == 1 else f"{number} dead letters"


def _plain(letter: DeadTask) -> dict[str, Any]:
    raw = letter.raw.decode(errors="backslashreplace")
    return {**letter._asdict(), "died": letter.died.isoformat(), "raw": raw}


def _print(value: dict[str, Any] | Sequence[Any]) -> None:
    click.echo(json.dumps(value, indent=2))
