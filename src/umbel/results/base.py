"""``ResultBase``: what every kind of result is an instance of, for who asks with ``isinstance``."""

from __future__ import annotations

from typing import Any


class ResultBase:
    """The base of results."""

    parent: Any = None  # the result of what came before, in a chain
