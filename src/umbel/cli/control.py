"""``inspect``, ``control`` and ``status``: ask workers, and tell them, in Celery's words and forms.

Each worker's answer is shown when it comes. As soon as all who listen have answered, the command
ends; ``--timeout`` is only how long it waits for one that does not. Nobody's answer: exit code 69.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pprint import pformat
from typing import Any, TypeVar

import click

from umbel.cli.invocation import Invocation
from umbel.cli.options import SectionCommand, did_you_mean, names
from umbel.control.commands import CONTROL, INSPECT, Spec, specs
from umbel.wire import pidbox

_F = TypeVar("_F", bound=Callable[..., Any])

_NOBODY = "No nodes replied within time constraint"


def _common(function: _F) -> _F:
    for option in (
        click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "-d",
            "--destination",
            type=names,
            metavar="A,B",
            help="Nodes, with commas between them. Default: all.",
        ),
        click.option(
            "-t",
            "--timeout",
            type=float,
            metavar="SECONDS",
            help="How long to wait for answers that do not come. Default: 1.",
        ),
    ):
        function = option(function)
    return function


def _list_option(kind: str) -> Callable[[_F], _F]:
    def show(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if value:
            for name, spec in specs(kind).items():
                click.echo(f"{f'{name} {spec.signature}':<58} {spec.help}".rstrip())
            context.exit()

    return click.option(
        "--list",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="List the commands and exit.",
    )


@click.command("status", cls=SectionCommand)
@_common
@click.pass_obj
def status(
    invocation: Invocation,
    /,
    destination: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Show who is online."""
    app = invocation.load_app()
    screen = _Screen(as_json=as_json, is_brief=True)
    found = _ask(app, "ping", {}, destination, timeout, screen.show)
    screen.end(found, {node: answer for each in found for node, answer in each.items()})


@click.command("inspect", cls=SectionCommand, options_metavar="[OPTIONS]")
@click.argument("command")
@click.argument("words", nargs=-1, metavar="[ARGUMENT]...")
@_list_option(INSPECT)
@_common
@click.pass_obj
def inspect(
    invocation: Invocation,
    /,
    command: str,
    words: tuple[str, ...],
    destination: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Ask workers a question: active, ping, stats, ... (--list shows all)."""
    app = invocation.load_app()
    spec = _spec(app, INSPECT, command)
    screen = _Screen(as_json=as_json)
    asked = _ask(
        app, command, _arguments(spec, words), destination, timeout or spec.timeout_s, screen.show
    )
    screen.end(asked, {node: answer for each in asked for node, answer in each.items()})


@click.command("control", cls=SectionCommand, options_metavar="[OPTIONS]")
@click.argument("command")
@click.argument("words", nargs=-1, metavar="[ARGUMENT]...")
@_list_option(CONTROL)
@_common
@click.pass_obj
def control(
    invocation: Invocation,
    /,
    command: str,
    words: tuple[str, ...],
    destination: str | None,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Tell workers to do something: pool_grow, rate_limit, shutdown, ... (--list shows all)."""
    app = invocation.load_app()
    spec = _spec(app, CONTROL, command)
    screen = _Screen(as_json=as_json, counts=False)
    arguments = _arguments(spec, words)
    if command == "shutdown":
        # Nobody answers it: how many have heard it is all that can be said.
        app.control.shutdown(destination=destination.split(",") if destination else None)
        return
    told = _ask(app, command, arguments, destination, timeout or spec.timeout_s, screen.show)
    screen.end(told, told)


def _spec(app: Any, kind: str, command: str) -> Spec:
    known = specs(kind)
    if command not in known:
        # It may be one of the app's own, in a module that its workers import.
        app.import_modules()
        known = specs(kind)
    if command not in known:
        other = specs(INSPECT if kind == CONTROL else CONTROL)
        hint = f" It is a command of `{other[command].kind}`." if command in other else ""
        raise click.UsageError(
            f"Command {command} not recognized.{hint or did_you_mean(command, known)} "
            f"Available {kind} commands: {', '.join(known)}"
        )
    return known[command]


def _arguments(spec: Spec, words: Sequence[str]) -> dict[str, Any]:
    if len(words) < spec.required or (len(words) > len(spec.args) and not spec.variadic):
        raise click.UsageError(f"{spec.name} takes {spec.signature or 'no arguments'}")
    found: dict[str, Any] = {}
    for (name, kind), word in zip(spec.args, words, strict=False):
        try:
            found[name] = kind(word) if kind is not bool else word.lower() in ("1", "yes", "true")
        except ValueError:
            raise click.UsageError(
                f"{spec.name}: {name} is {word!r}; wanted a {kind.__name__}"
            ) from None
    if spec.variadic == "headers":
        found["headers"] = _pairs(words)
    elif spec.variadic:
        found[spec.variadic] = list(words[len(spec.args) :])
    return found


def _pairs(words: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in words:
        name, mark, value = word.partition("=")
        if not mark:
            raise click.UsageError(f"{word!r} is no stamp; wanted NAME=VALUE")
        found.setdefault(name, []).append(value)
    return found


def _ask(
    app: Any,
    command: str,
    arguments: dict[str, Any],
    destination: str | None,
    timeout: float | None,
    show: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    ways = {
        "reply": True,
        "destination": destination.split(",") if destination else None,
        "timeout": timeout or 1.0,
        "callback": show,
    }
    if command in ("revoke", "terminate", "revoke_by_stamped_headers"):
        # These are kept at the broker as well, for workers that start later.
        found = getattr(app.control, command)(**arguments, **ways)
    else:
        found = app.control.broadcast(command, arguments, **ways)
    return list(found or ())


class _Screen:
    """Shows answers in Celery's forms."""

    def __init__(self, *, as_json: bool, is_brief: bool = False, counts: bool = True) -> None:
        self._as_json = as_json
        self._is_brief = is_brief
        self._counts = counts

    def show(self, answer: dict[str, Any]) -> None:
        """One worker's, as it comes."""
        if self._as_json:
            return
        for node, value in answer.items():
            is_error = isinstance(value, dict) and "error" in value
            click.echo(f"->  {node}: {'ERROR' if is_error else 'OK'}")
            if not self._is_brief:
                click.echo(_pretty(value))

    def end(self, answers: Sequence[Any], whole: Any) -> None:
        """All of them."""
        if not answers:
            click.echo(f"Error: {_NOBODY}", err=True)
            raise SystemExit(os.EX_UNAVAILABLE)
        if self._as_json:
            click.echo(json.dumps(pidbox.plain(whole)))
        elif self._counts:
            number = len(answers)
            click.echo(f"\n{number} {'node' if number == 1 else 'nodes'} online.")


def _pretty(value: Any) -> str:
    if isinstance(value, list):
        if not value:
            return "    - empty -"
        return "\n".join(f"    * {_line(each)}" for each in value)
    if isinstance(value, dict):
        for word in ("ok", "error"):
            if word in value:
                text = str(value[word])
                return "\n".join(f"        {line}" for line in text.splitlines() or [""])
        text = json.dumps(pidbox.plain(value), indent=4, sort_keys=True)
        return "\n".join(f"    {line}" for line in text.splitlines())
    return f"    {value}"


def _line(value: Any) -> str:
    return value if isinstance(value, str) else pformat(value, width=100_000, sort_dicts=False)
