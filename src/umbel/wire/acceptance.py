"""Whether a worker of Celery survives a message, and runs it.

What umbel keeps as a dead letter may be what ends Celery's workers one after the other, or what
they take out and drop without a word (``tests/vectors/tolerance.json`` has the cases). So nothing
is put before them that this room has a complaint about.
"""

from __future__ import annotations

from collections.abc import Container

from umbel.model.clock import parse_iso8601
from umbel.model.errors import UmbelError
from umbel.wire import envelope, protocol

_PICKLE = "application/x-python-serialize"


def complaint(raw: bytes, accept: Container[str]) -> str | None:
    """Why a worker of Celery must not get this; None where it may.

    ``accept``: the content types that such workers accept. A pickle is not looked into.
    """
    try:
        opened = envelope.decode(raw)
        if opened.content_type not in accept:
            return f"its content type is {opened.content_type!r}, which is not in accept_content"
        request = protocol.request_of(opened)
        if not request.id or not request.task:
            return "it has no id, or names no task"
        if request.eta is not None and not isinstance(request.eta, str):
            return "its eta is no text"
        if request.eta:
            parse_iso8601(request.eta)
        if opened.content_type != _PICKLE:
            _, kwargs, _ = protocol.payload_of(opened, accept)
            if not isinstance(kwargs, dict):
                return "its keyword arguments are no mapping"
    except (UmbelError, ValueError) as error:
        return str(error)
    return None
