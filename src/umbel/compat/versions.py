"""What umbel says when a program asks Celery or kombu for a version.

Programs compare these to decide which API they may use, so they name the release whose API and
wire umbel speaks; the local part says who is speaking.
"""

from __future__ import annotations

from typing import NamedTuple

from umbel.model.version import VERSION as UMBEL_VERSION


class version_info_t(NamedTuple):  # noqa: N801 - Celery's name for it
    """A version in parts."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: str


__version__ = f"5.7.0+umbel.{UMBEL_VERSION}"
VERSION = version_info = version_info_t(5, 7, 0, "", "")
SERIES = "umbel"
VERSION_BANNER = f"{__version__} ({SERIES})"

KOMBU_VERSION_TEXT = __version__
KOMBU_VERSION = VERSION

BILLIARD_VERSION_TEXT = "4.3.2"
BILLIARD_VERSION = version_info_t(4, 3, 2, "", "")
