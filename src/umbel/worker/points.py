"""Named steps in the life of a message in a child, so that a test can end the process between two.

``claimed``, ``begins``, ``ended``, ``settles``, ``settled``: in this order for one message. A test
sets ``passing`` in the module of its app; nothing else does, and unset it costs one comparison.
"""

from __future__ import annotations

from collections.abc import Callable

NAMES = ("claimed", "begins", "ended", "settles", "settled")

passing: Callable[[str], None] | None = None


def passed(name: str) -> None:
    """The child is at this step."""
    if passing is not None:
        passing(name)
