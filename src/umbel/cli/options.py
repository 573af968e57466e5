"""What the commands share of click: option sections, the types of their values, near misses.

Nothing here knows a command. The types check what can be checked without an app, so that a typing
error is answered before anything is imported.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import click

from umbel.model.clock import parse_iso8601
from umbel.model.errors import NotBuiltYet

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The few of ``known`` that ``name`` may have been meant to be, best first."""
    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence to append to an error, or nothing where nothing is near."""
    near = nearest(name, known)
    return f" Did you mean {' or '.join(near)}?" if near else ""


class SectionOption(click.Option):
    """An option that is shown under a headline of its own in the help text."""

    def __init__(self, *args: Any, section: str = "Options", **kwargs: Any) -> None:
        self.section = section
        super().__init__(*args, **kwargs)


class RefusedOption(click.Option):
    """An option of Celery that is not built: hidden, understood, and refused by name when given."""

    def __init__(self, *args: Any, instead: str, **kwargs: Any) -> None:
        self.instead = instead
        kwargs.update(hidden=True, expose_value=False, callback=self.refuse, default=None)
        super().__init__(*args, **kwargs)

    def refuse(self, context: click.Context, parameter: click.Parameter, value: Any) -> None:
        """Raise ``NotBuiltYet`` if the option was given."""
        if value not in (None, False):
            raise NotBuiltYet(f"{'/'.join(self.opts)} is not built yet: {self.instead}")


class SectionCommand(click.Command):
    """A command whose help groups its options, and that says where a global option belongs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            root = ctx.find_root()
            if any(error.option_name in option.opts for option in root.command.params):
                raise click.UsageError(
                    f"{error.option_name} stands before the command: "
                    f"{root.info_name} {error.option_name} ... {self.name}",
                    ctx,
                ) from None
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            line = parameter.get_help_record(ctx)
            if line is not None and isinstance(parameter, click.Option):
                title = getattr(parameter, "section", "Options")
                sections.setdefault(title, []).append(line)
        sections["Options"] = sections.pop("Options", [])  # last, whatever was declared first
        for title, lines in sections.items():
            with formatter.section(title):
                formatter.write_dl(lines)


def names(value: str) -> str:
    """A list of names with commas between them; kept as text, less the blanks."""
    found = [part.strip() for part in value.split(",") if part.strip()]
    if not found:
        raise click.BadParameter(f"{value!r} names nothing; wanted names with commas between them")
    return ",".join(found)


def json_array(value: str) -> list[Any]:
    """A JSON array."""
    parsed = _json(value, "'[1, 2]'")
    if not isinstance(parsed, list):
        raise click.BadParameter(f"{value!r} is no JSON array; wanted e.g. '[1, 2]'")
    return parsed


def json_object(value: str) -> dict[str, Any]:
    """A JSON object."""
    example = "'{\"x\": 1}'"
    parsed = _json(value, example)
    if not isinstance(parsed, dict):
        raise click.BadParameter(f"{value!r} is no JSON object; wanted e.g. {example}")
    return parsed


def _json(value: str, example: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no JSON ({error}); wanted e.g. {example}") from None


def date(value: str) -> datetime:
    """A date and time in ISO 8601."""
    try:
        return parse_iso8601(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no ISO 8601 date; wanted e.g. 2031-05-17T14:30:00Z"
        ) from None


def date_or_seconds(value: str) -> datetime | float:
    """A number of seconds, or a date and time in ISO 8601."""
    try:
        return float(value)
    except ValueError:
        return date(value)


def level(value: str) -> str:
    """The name of a log level, in any case."""
    found = value.upper()
    if found not in LOG_LEVELS:
        hint = did_you_mean(found, LOG_LEVELS) or f" Wanted one of {', '.join(LOG_LEVELS)}."
        raise click.BadParameter(f"{value!r} is no log level.{hint}")
    return found
