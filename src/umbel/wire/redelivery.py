"""A message that goes back to its queue, marked as Celery marks it.

On a broker that keeps plain bytes there is no room beside a message for what is known of it, so the
mark stands in the envelope, in both places where Celery's readers look. The delivery tag is a new
one: what follows from a delivery is sent once per tag, and this is the next delivery.
"""

from __future__ import annotations

from umbel.model.message import Message
from umbel.wire.envelope import decode, encode


def redelivered(raw: bytes, *, id: str, task: str, queue: str, tag: str) -> Message:
    """The message of ``raw`` for another delivery. Raises ``DecodeError``."""
    envelope = decode(raw)
    properties = envelope.properties
    where = {**properties["delivery_info"], "redelivered": True}
    marked = envelope._replace(
        headers={**envelope.headers, "redelivered": True},
        properties={**properties, "delivery_info": where, "delivery_tag": tag},
    )
    priority = properties.get("priority")
    return Message(
        id=id,
        task=task,
        queue=queue,
        priority=priority if type(priority) is int else 0,
        tag=tag,
        raw=encode(marked),
    )
