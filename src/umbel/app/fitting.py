"""What programs and libraries do with an app beyond tasks: classes of it, and facts about it.

A subclass that says what umbel would not look at, a ``loader_cls`` for one, is refused when it is
made.
"""

from __future__ import annotations

import platform
from typing import Any

from umbel.app.refusals import refuse_overrides


class Fitting:
    """A part of the app's surface."""

    SYSTEM = platform.system()
    IS_macOS = platform.system() == "Darwin"  # noqa: N815 - Celery's name
    IS_WINDOWS = platform.system() == "Windows"
    _fixups: list[Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_overrides(cls)

    @property
    def fixups(self) -> list[Any]:
        """What has prepared this app for a framework, such as Django's."""
        return self._fixups

    def subclass_with_self(
        self,
        Class: Any,  # noqa: N803 - Celery's name
        name: str | None = None,
        attribute: str = "app",
        reverse: str | None = None,
        keep_reduce: bool = False,
        **kw: Any,
    ) -> Any:
        """A subclass of ``Class`` (or of what ``module:name`` names) that knows this app.

        With ``reverse`` and without ``keep_reduce``, an instance is not to be pickled: a
        ``TypeError``.
        """
        # Not at the top: hardly any program asks.
        from umbel.app.making import named

        base = named(Class)
        facts: dict[str, Any] = {
            attribute: self,
            "__module__": base.__module__,
            "__doc__": base.__doc__,
            **kw,
        }
        if reverse and not keep_reduce:
            facts["__reduce__"] = _refuse_pickling(f"subclass_with_self(reverse={reverse!r})")
        return type(name or base.__name__, (base,), facts)


def _refuse_pickling(where: str) -> Any:
    def refuse(_self: Any) -> Any:
        raise TypeError(f"{where}: an app can't be pickled; use keep_reduce=True")

    return refuse
