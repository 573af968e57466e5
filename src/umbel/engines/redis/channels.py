"""The channels that notices are published on, as kombu names them. Pure.

Pub/sub knows no databases, so the channel of a fanout exchange carries the number of one:
``<global_keyprefix>/<db>.<exchange>``, and ``/<routing key>`` behind it where there is one. The
transport option ``fanout_prefix`` puts something else (or, False, nothing) in front of the
exchange; ``fanout_patterns`` False leaves the routing key out, and then whoever listens reads it
from the envelope.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from umbel.engines.placing import is_bound
from umbel.engines.redis.resp import Command

DEFAULT_PREFIX = "/{db}."


class Channels:
    """Names of channels, for one database."""

    def __init__(self, prefix: str, db: int, fanout_prefix: str, *, has_keys: bool) -> None:
        self._prefix = f"{prefix}{fanout_prefix.replace('{db}', str(db))}"
        self._has_keys = has_keys

    def channel(self, exchange: str, routing_key: str) -> bytes:
        """Where a notice is published."""
        if routing_key and self._has_keys:
            return f"{self._prefix}{exchange}/{routing_key}".encode()
        return f"{self._prefix}{exchange}".encode()

    def tuning(self, exchange: str, routing_keys: Sequence[str]) -> Tuning:
        """What to subscribe to, to hear an exchange under these keys."""
        return Tuning(self, exchange, routing_keys, has_keys=self._has_keys)


class Tuning:
    """The subscriptions of one listener, and what each push that they bring means."""

    def __init__(
        self, channels: Channels, exchange: str, routing_keys: Sequence[str], *, has_keys: bool
    ) -> None:
        self._keys = tuple(dict.fromkeys(routing_keys))
        self._base = channels.channel(exchange, "")
        self._has_keys = has_keys
        # Pattern -> key; None is the channel without one. What several fit, the first hears alone.
        self._patterns: dict[bytes, str | None] = {}
        bare = _escaped(self._base.decode()).encode()
        if not has_keys:
            self._patterns[bare] = None
            return
        for key in self._keys:
            if is_bound("topic", key, ""):
                self._patterns.setdefault(bare, None)
            if key:
                # Redis's star is greedier than ours: what it lets through is looked at again.
                star = _escaped(key.replace("#", _STAR).replace("*", _STAR)).replace(_STAR, "*")
                self._patterns.setdefault(bare + b"/" + star.encode(), key)

    def commands(self) -> list[Command]:
        """The subscriptions: patterns, because a plain name is one too."""
        return [("PSUBSCRIBE", *self._patterns)]

    def key_of(self, pattern: bytes, channel: bytes, raw: bytes) -> str | None:
        """The routing key of a push; None where it is not for us, or was heard already."""
        if not self._has_keys:
            key = _key_within(raw)
            return key if any(is_bound("topic", wanted, key) for wanted in self._keys) else None
        if channel == self._base:
            return ""
        key = channel[len(self._base) + 1 :].decode(errors="replace")
        for one, wanted in self._patterns.items():
            if wanted is not None and is_bound("topic", wanted, key):
                return key if one == pattern else None
        return None


_STAR = "\0"


def _escaped(name: str) -> str:
    return name.translate({ord(sign): f"\\{sign}" for sign in "*?[]\\"})


def _key_within(raw: bytes) -> str:
    try:
        return str(json.loads(raw)["properties"]["delivery_info"]["routing_key"] or "")
    except (ValueError, LookupError, TypeError):
        return ""
