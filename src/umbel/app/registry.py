"""The tasks of an app, by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from umbel.model.errors import NotRegistered


class TaskRegistry(dict[str, Any]):
    """A dictionary of tasks whose missing keys raise ``NotRegistered``."""

    NotRegistered = NotRegistered

    def __missing__(self, name: str) -> Any:
        raise NotRegistered(name)

    def register(self, task: Any) -> Any:
        """Add a task, or an instance of a task class; gives the instance."""
        instance = task() if isinstance(task, type) else task
        if not instance.name:
            raise ValueError(f"task {instance!r} has no name; give it one: name = 'module.name'")
        self[instance.name] = instance
        return instance

    def unregister(self, name: Any) -> None:
        """Remove a task, by itself or by name; raises ``NotRegistered``."""
        key = getattr(name, "name", name)
        if key not in self:
            raise NotRegistered(key)
        del self[key]

    def regular(self) -> Iterator[tuple[str, Any]]:
        """(name, task) of all tasks."""
        return iter(self.items())


def task_name(main: str | None, name: str, module: str) -> str:
    """The automatic name: ``module.function``.

    In a program that is run as a script the module is called ``__main__``, which no worker could
    import: then the app's ``main`` takes its place, else the name of the script's file.
    """
    if module == "__main__":
        module = main or _script_name()
    return ".".join(part for part in (module, name) if part)


def _script_name() -> str:
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if not path:
        return "__main__"
    return str(path).replace("\\", "/").rpartition("/")[2].removesuffix(".py")
