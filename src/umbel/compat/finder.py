"""``install_as_celery()``: from then on ``import celery`` and ``import kombu`` give umbel.

One finder at the head of ``sys.meta_path`` answers for the names in ``names.py`` and for nothing
else. Its modules are stand-ins that fill themselves when they are asked, so installing costs
nothing but this module.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType
from typing import Any

from umbel.model.errors import ImproperlyConfigured

ROOTS = ("celery", "kombu", "billiard")


class AliasLoader:
    """Makes the stand-in module of one name."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """The empty stand-in; its names are looked up later."""
        from umbel.compat.names import WRITTEN_THROUGH, children_of, instead_of, targets_of
        from umbel.compat.standins import StandIn

        name = spec.name
        return StandIn(
            name,
            targets_of(name),
            children_of(name),
            instead_of(name),
            is_written_through=name in WRITTEN_THROUGH,
        )

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs: there is no source."""

    def get_code(self, name: str) -> CodeType | None:
        """The program behind ``python -m celery``."""
        if name != "celery.__main__":
            return None
        source = "from umbel.cli.main import main\nmain(program='celery')\n"
        return compile(source, "<umbel as celery>", "exec")


class AliasFinder:
    """Finds the names of Celery in umbel."""

    def __init__(self, roots: Sequence[str]) -> None:
        self.roots = frozenset(roots)

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for a name under one of the roots; None for all others."""
        if name.partition(".")[0] not in self.roots:
            return None
        from umbel.compat.names import has_module, is_package

        if not has_module(name):
            self._refuse(name)
            return None
        # importlib's typing wants a loader with its own base class; duck typing is its contract.
        loader: Any = AliasLoader()
        return importlib.machinery.ModuleSpec(name, loader, is_package=is_package(name))

    @staticmethod
    def _refuse(name: str) -> None:
        """Say of a part of Celery that it is missing here, rather than that it does not exist."""
        from umbel.compat.names import MISSING
        from umbel.compat.standins import NotBuiltModule

        if name in MISSING:
            raise NotBuiltModule(f"{name} is not part of umbel yet: {MISSING[name]}", name=name)


def install_as_celery(*, roots: Sequence[str] = ROOTS) -> None:
    """Make ``import celery`` (and what Celery programs take from ``kombu``) resolve to umbel.

    Call it before the first import of celery. Where the real Celery is installed too, this process
    uses umbel. Calling it twice is harmless. Raises ``ImproperlyConfigured`` where the real Celery
    has been imported already: two halves of two task queues in one program help nobody.
    """
    if any(isinstance(finder, AliasFinder) for finder in sys.meta_path):
        return
    if "celery" in sys.modules and "celery" in roots:
        raise ImproperlyConfigured(
            "celery was imported before install_as_celery() was called: call it first, at the top"
            " of the program"
        )
    # A real kombu that is loaded already belongs to somebody else: leave it whole.
    free = [root for root in roots if root not in sys.modules]
    sys.meta_path.insert(0, AliasFinder(free))
