"""``umbel events``: what workers and tasks do, live on a terminal, as lines, or for a camera.

On a terminal it is a picture that follows the events; elsewhere, and with ``--dump`` or
``--json``, a line per event. It ends with Ctrl-C, goes on through a broker that is away for a
while, and works on every engine.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from umbel.app.finding import look_here_too
from umbel.cli.dumping import Dumper, as_json
from umbel.cli.invocation import Invocation
from umbel.cli.options import RefusedOption, SectionCommand, level
from umbel.model.errors import ImproperlyConfigured

_SERVICE = "let the service manager (systemd, a container, supervisord) do it."


class CameraOptions(NamedTuple):
    """When a camera takes pictures, and where it logs."""

    frequency_s: float
    maxrate: str | None
    loglevel: str
    logfile: str | None


@click.command("events", cls=SectionCommand)
@click.option("-d", "--dump", is_flag=True, help="Print a line per event.")
@click.option("--json", "is_json", is_flag=True, help="Print each event as JSON, one a line.")
@click.option("-c", "--camera", metavar="CLASS", help="Take pictures with this Polaroid class.")
@click.option(
    "-F",
    "--frequency",
    "--freq",
    type=click.FloatRange(min=0.01),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Camera: between two pictures.",
)
@click.option(
    "-r", "--maxrate", metavar="RATE", help="Camera: at most so many pictures, e.g. 10/m."
)
@click.option("-l", "--loglevel", type=level, default="INFO", metavar="LEVEL", help="Camera.")
@click.option("-f", "--logfile", metavar="PATH", help="Camera: where to log; else stderr.")
@click.option("-D", "--detach", is_flag=True, cls=RefusedOption, instead=_SERVICE)
@click.option("--pidfile", cls=RefusedOption, instead=_SERVICE)
@click.option("--uid", cls=RefusedOption, instead=_SERVICE)
@click.option("--gid", cls=RefusedOption, instead=_SERVICE)
@click.option("--umask", cls=RefusedOption, instead=_SERVICE)
@click.option("--executable", cls=RefusedOption, instead=_SERVICE)
@click.pass_obj
def events(
    invocation: Invocation,
    /,
    dump: bool,
    is_json: bool,
    camera: str | None,
    frequency: float,
    maxrate: str | None,
    loglevel: str,
    logfile: str | None,
) -> None:
    """Watch workers and tasks.

    Tasks are seen of workers that were started with -E, or told to with `umbel control
    enable_events`.
    """
    app = invocation.load_app()
    if camera is not None:
        run = _with_camera(app, camera, CameraOptions(frequency, maxrate, loglevel, logfile))
    elif is_json:
        run = _lines(app, as_json)
    elif dump:
        run = _dump(app)
    else:
        run = _live(app)
    try:
        run()
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        # The reader of our lines has had enough, and the interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _capture(app: Any, handler: Callable[[dict[str, Any]], Any]) -> None:
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": handler})
        receiver.capture(limit=None, timeout=None, wakeup=True)


def _lines(app: Any, line_of: Callable[[dict[str, Any]], str]) -> Callable[[], None]:
    def show(event: dict[str, Any]) -> None:
        print(line_of(event), flush=True)

    return lambda: _capture(app, show)


def _dump(app: Any) -> Callable[[], None]:
    click.echo("-> evdump: starting capture...", err=True)
    return _lines(app, Dumper().line)


def _live(app: Any) -> Callable[[], None]:
    if not sys.stdout.isatty():
        return _dump(app)
    try:
        from umbel.cli.watching import watch
    except ImportError:
        click.echo("A line per event; for a picture: pip install 'umbel[terminal]'", err=True)
        return _dump(app)
    return lambda: watch(app)


def _with_camera(app: Any, name: str, options: CameraOptions) -> Callable[[], None]:
    kind = _camera_class(name)
    app.log.setup_logging_subsystem(options.loglevel, options.logfile)
    state = app.events.State()
    camera = kind(state, freq=options.frequency_s, maxrate=options.maxrate, app=app)

    def run() -> None:
        click.echo(f"-> evcam: Taking snapshots with {name} (every {options.frequency_s} secs.)")
        camera.install()
        try:
            _capture(app, state.event)
        finally:
            camera.cancel()

    return run


def _camera_class(name: str) -> Any:
    look_here_too()
    module, _, attribute = name.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError, ValueError) as error:
        raise ImproperlyConfigured(
            f"--camera {name}: {error}; wanted a subclass of umbel.events.camera.Polaroid, as"
            " module.Class"
        ) from None
