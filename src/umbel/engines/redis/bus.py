"""Notices on Redis: fanout channels to say things on, and Celery's reply lists as boxes.

Theory of operation. What is said goes out as one write of PUBLISH commands. Nothing fences them, so
they are not sent again once they may have arrived (a command like "one child more" must not be
heard twice); instead a connection that the server has closed meanwhile is noticed before anything
is sent. A listener is a connection of its own, so that a slow one costs nobody else anything. Of
one that breaks, and of one that the server ends because it did not read, the owner is told.

A box is a member of the binding table of its exchange, and a list. Members of Celery's clients look
the same, so each kind answers the other. A list that nobody empties is gone after an hour; the
table's deadline (Celery sweeps tables) is moved on by each opening.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from umbel.engines.redis import resp
from umbel.engines.redis.channels import Channels, Tuning
from umbel.engines.redis.commands import script
from umbel.engines.redis.connection import Connection, ConnectionBroken
from umbel.engines.redis.keys import BrokerKeys
from umbel.engines.redis.urls import Address
from umbel.model.clock import monotonic_s
from umbel.model.errors import OperationalError
from umbel.ports.bus import Notice

_BOX_TTL_S = 3600
# Answers to one command.
_BATCH = 1000
# Far below the patience with a reply: a pop that blocks is none that hangs.
_LONGEST_POP_S = 5.0


class RedisBus:
    """See ``umbel.ports.bus.Bus`` for what it promises."""

    def __init__(
        self, connection: Connection, address: Address, names: BrokerKeys, channels: Channels
    ) -> None:
        self._connection = connection
        self._address = address
        self._names = names
        self._channels = channels

    def say(self, notices: Sequence[Notice]) -> int:
        """Publish, in one round trip, once."""
        if not notices:
            return 0
        payload = b"".join(
            [
                resp.pack(("PUBLISH", self._channels.channel(exchange, key), raw))
                for exchange, key, raw in notices
            ]
        )
        self._connection.be_fresh()
        try:
            replies = self._connection.once(payload, len(notices))
        except ConnectionBroken as error:
            raise OperationalError(
                f"the connection to {self._address.url} was lost while saying something: {error}"
            ) from error
        return max(int(self._connection.checked(reply)) for reply in replies)

    def listen(self, exchange: str, routing_keys: Sequence[str] = ("#",)) -> RedisListener:
        """Subscribe, on a connection of its own."""
        return RedisListener(self._address, exchange, self._channels.tuning(exchange, routing_keys))

    def open_box(self, exchange: str, box: str) -> None:
        """Become a member of the binding table."""
        table, _ = self._names.bindings(exchange)
        arguments: list[resp.Argument] = [
            table,
            self._names.prefix + b"_kombu.binding_deadlines",
            exchange,
            self._member(exchange, box),
            _BOX_TTL_S * 1000,
        ]
        self._connection.script(script("open_box"), (), arguments)

    def put(self, notice: Notice) -> bool:
        """Push, where the table has the member."""
        exchange, box, raw = notice
        table, _ = self._names.bindings(exchange)
        arguments: list[resp.Argument] = [
            table,
            self._member(exchange, box),
            self._lists(exchange, box)[0],
            raw,
            _BOX_TTL_S,
        ]
        return bool(self._connection.script(script("answer"), (), arguments))

    def take(self, exchange: str, box: str, timeout_s: float) -> list[bytes]:
        """Pop what is there; block for the first."""
        lists = self._lists(exchange, box)
        deadline = monotonic_s() + timeout_s
        while True:
            popped = self._connection.commands(*[("RPOP", key, _BATCH) for key in lists])
            found: list[bytes] = [answer for answers in popped for answer in answers or ()]
            left_s = deadline - monotonic_s()
            if found or left_s <= 0:
                return found
            longest_s = min(_LONGEST_POP_S, self._address.reply_timeout_s / 2)
            # Rounded up to what Redis counts in: zero would block for ever.
            pop_s = max(round(min(left_s, longest_s), 3), 0.001)
            first = self._connection.command("BRPOP", *lists, pop_s)
            if first is not None:
                return [first[1], *self.take(exchange, box, 0)]

    def close_box(self, exchange: str, box: str) -> None:
        """Leave the table, and delete the lists."""
        table, permanent = self._names.bindings(exchange)
        member = self._member(exchange, box)
        self._connection.commands(
            ("SREM", table, member),
            ("SREM", permanent, member),
            ("DEL", *self._lists(exchange, box)),
        )

    def _member(self, exchange: str, box: str) -> bytes:
        separator = self._names.separator
        return separator.join([box.encode(), b"", f"{box}.{exchange}".encode()])

    def _lists(self, exchange: str, box: str) -> list[bytes]:
        return self._names.lists(f"{box}.{exchange}")


class RedisListener:
    """See ``umbel.ports.bus.Listener``."""

    def __init__(self, address: Address, exchange: str, tuning: Tuning) -> None:
        self._url = address.url
        self._exchange = exchange
        self._tuning = tuning
        self._pid = os.getpid()
        self._connection = Connection(address)
        # With patience; what follows is sent once.
        self._connection.command("PING")
        payload = b"".join([resp.pack(command) for command in tuning.commands()])
        try:
            # The reply to PING comes behind the subscriptions, which are pushes themselves.
            _, pushes = self._connection.exchange(payload + resp.pack(("PING",)), 1)
        except ConnectionBroken as error:
            raise self._lost(error) from error
        self._early = self._notices(pushes)

    def fileno(self) -> int:
        """The socket."""
        return self._connection.fileno()

    def arrived(self, timeout_s: float = 0.0) -> list[Notice]:
        """What was pushed."""
        found, self._early = self._early, []
        deadline = monotonic_s() + timeout_s
        while not found:
            left_s = max(deadline - monotonic_s(), 0.0)
            try:
                found = self._notices(self._connection.listen(left_s))
            except ConnectionBroken as error:
                raise self._lost(error) from error
            if not left_s:
                break
        return found

    def close(self) -> None:
        """End the connection, where it is ours."""
        with suppress(OSError):
            self._connection.close()

    def _notices(self, pushes: Sequence[Any]) -> list[Notice]:
        found = []
        for push in pushes:
            if push[0] == b"pmessage":
                _, pattern, channel, raw = push
                key = self._tuning.key_of(pattern, channel, raw)
                if key is not None:
                    found.append(Notice(self._exchange, key, raw))
        return found

    def _lost(self, error: Exception) -> OperationalError:
        return OperationalError(
            f"the connection to {self._url} on which {self._exchange!r} was listened to is lost: "
            f"{error}"
        )
