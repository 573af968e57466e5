"""What the settings of a server do to the promise that nothing accepted is lost."""

from __future__ import annotations

from umbel.engines.redis.connection import Connection
from umbel.model.errors import OperationalError

_ADVICE = {
    ("appendonly", b"no"): (
        "appendonly is no: what was accepted since the last snapshot is lost when the server "
        "stops; set it to yes, with appendfsync always"
    ),
    ("appendfsync", b"everysec"): (
        "appendfsync is everysec: a crash of the server's machine may lose the last second; "
        "set it to always"
    ),
    ("appendfsync", b"no"): (
        "appendfsync is no: a crash of the server's machine may lose the last half minute; "
        "set it to always"
    ),
}


def durability_warnings(connection: Connection) -> list[str]:
    """A sentence for each setting that breaks a promise; none where the server does not tell."""
    names = ("maxmemory-policy", "appendonly", "appendfsync")
    found: dict[str, bytes] = {}
    try:
        for name in names:
            answer = connection.command("CONFIG", "GET", name)
            found |= {key.decode(): value for key, value in answer.items()}
    except OperationalError:
        # Hosted servers often refuse CONFIG, and say in their own papers how durable they are.
        return []
    sentences = []
    policy = found.get("maxmemory-policy", b"noeviction")
    if policy != b"noeviction":
        sentences.append(
            f"maxmemory-policy is {policy.decode()}: a full server throws queues and results "
            "away; set it to noeviction"
        )
    for name in names[1:]:
        if name == "appendfsync" and found.get("appendonly") == b"no":
            continue
        advice = _ADVICE.get((name, found.get(name, b"")))
        if advice:
            sentences.append(advice)
    return [f"{connection.address.url}: {sentence}" for sentence in sentences]
