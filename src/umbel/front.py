"""``Celery(...)``: the App and what only the top of the house can offer.

Starting a worker from a program is the command line's business, which an App may not know. And
this room says how the default app is made, for programs that never make one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from umbel.app.app import App
from umbel.app.proxy import Proxy
from umbel.model.errors import ImproperlyConfigured
from umbel.ports import current

DEFAULT_CONFIG = "celeryconfig"


class Celery(App):
    """A Celery application.

    ``Celery("shop")`` keeps messages and results in one SQLite file; ``broker=`` and ``backend=``
    take URLs. https://docs.celeryq.dev/en/stable/userguide/application.html
    """

    def start(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Run the command line for this app, by default that of this program."""
        # Not at the top: click is for those who run commands.
        from umbel.cli.main import main

        main(self._with_app(list(sys.argv[1:] if argv is None else argv)))

    def worker_main(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Run a worker for this app: ``app.worker_main(["worker", "-l", "INFO"])``."""
        given = list(sys.argv[1:] if argv is None else argv)
        if "worker" not in given:
            raise ValueError(f"worker_main() needs the command: ['worker', ...], got {given!r}")
        self.start(given)

    def _with_app(self, argv: list[str]) -> list[str]:
        if any(word in ("-A", "--app") or word.startswith("--app=") for word in argv):
            return argv
        return ["-A", self._place(), *argv]

    def _place(self) -> str:
        """Where a worker's own processes can import this app from: ``module:name``."""
        for module_name, module in list(sys.modules.items()):
            for name, value in list(getattr(module, "__dict__", {}).items()):
                if value is self and not name.startswith("_"):
                    place: str = _script_module() if module_name == "__main__" else module_name
                    return f"{place}:{name}"
        raise ImproperlyConfigured(
            f"{self!r} is not a variable of any module, so a worker's processes can't import it"
        )


def _script_module() -> str:
    path = getattr(sys.modules["__main__"], "__file__", None)
    if path is None:
        raise ImproperlyConfigured("an app that was made in an interactive session has no module")
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name)
    return os.path.splitext(os.path.basename(str(path)))[0]


def _default_app() -> Celery:
    # Celery's default app reads ``celeryconfig`` from the working directory, if it is there.
    module = os.environ.get("CELERY_CONFIG_MODULE")
    return Celery(
        "default",
        set_as_current=False,
        config_source=module or DEFAULT_CONFIG,
        config_source_silent=module is None,
    )


current.set_default_factory(_default_app)


def _current_task() -> Any:
    from umbel.model.request import current_request

    request = current_request()
    return None if request is None else current.current_app().tasks.get(request.task or "")


current_app: Any = Proxy(current.current_app, name="current_app")
current_task: Any = Proxy(_current_task, name="current_task")


def bugreport(app: Any = None) -> str:
    """What a bug report should say."""
    found: str = (app or current.current_app()).bugreport()
    return found
