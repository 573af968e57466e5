"""The broker on Redis.

Theory of operation. Every method is one script, so a crash of this process leaves either all or
nothing of it; what stands where is described in ``keys.py``.

*Numbers.* Each broker object is a *writer* with a random name. Its publishes and its cycles are
numbered, and the scripts refuse a number that they have seen: so after a lost reply the same bytes
are sent again without harm, and bytes that lay in a frozen server's buffer count for nothing when
they are read at last. A cycle that is sent again gets the answer of the first.

*Waiting.* A claim that found nothing ends with a read of the keys that it looked at. The server
tracks it for this connection (``CLIENT TRACKING``) and says so when anybody writes one of them, a
Celery producer too. So there is no moment between looking and listening in which a message could
be missed. Servers before 7.2 track the declared keys of a script that reads, newer ones the keys
that were read; the script gives both. Our own writes tell nothing (NOLOOP), so ``wait``
returns at once after them. A connection that ends is a wake-up too: the next claim looks.

*Giving.* Who is about to wait says so in that claim, and then the next single message is
leased to it by the script that publishes it, and told on its channel. That saves the way to the
server and back between waking and work: of six wake-ups of a process from call to result, two. What
is told may be lost, but tokens are counted: the next claim gives what was leased and never heard
of. The channel has a connection of its own, because a server ends a subscriber whose replies grow
large, as those of a claim may.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from umbel.engines.redis import resp
from umbel.engines.redis.bus import RedisBus
from umbel.engines.redis.channels import Channels
from umbel.engines.redis.commands import (
    NOT_ENLISTED,
    TOO_LATE,
    Commands,
    Results,
    script,
    unroutable,
)
from umbel.engines.redis.connection import Connection, ConnectionBroken, listen
from umbel.engines.redis.durability import durability_warnings
from umbel.engines.redis.graveyard import RedisGraveyard
from umbel.engines.redis.handover import RedisHandover
from umbel.engines.redis.keys import BrokerKeys, Slots, held_of, lease_of
from umbel.engines.redis.resp import Argument
from umbel.engines.redis.revocations import RedisRevocations
from umbel.engines.redis.urls import Address, Manners
from umbel.model.clock import monotonic_s
from umbel.model.errors import LeaseLost, OperationalError, QueueNotFound
from umbel.model.history import WITH_ITS_WORKER
from umbel.model.join import JoinOpening
from umbel.model.lease import Lease, Loss
from umbel.model.message import Message
from umbel.model.settlement import Settlement
from umbel.ports.broker import Depth, Held, SweepPolicy, Swept

_TRACKING = ("CLIENT", "TRACKING", "ON", "NOLOOP")
# Lua passes at most some thousand values to a command.
_MOST_LEASES = 1000
_CONSUMERS_A_SWEEP = 50
_DUE_A_SWEEP = 5000
_SWEEPS = 1000


class _Begun(NamedTuple):
    consumer: str
    settlement: Settlement
    slots: Slots
    keys: list[bytes]
    arguments: list[Argument]


class RedisBroker:
    """One connection to a broker. See ``umbel.ports.broker.Broker`` for what it promises."""

    ordered_ids = False

    def __init__(self, address: Address, manners: Manners, results: Results | None) -> None:
        self.url = address.url
        self._connection = Connection(address)
        self._ear = Connection(address, is_second=True)
        self._names = BrokerKeys(manners.prefix, manners.separator, manners.steps)
        channels = Channels(
            manners.prefix, address.db, manners.fanout_prefix, has_keys=manners.fanout_patterns
        )
        self._commands = Commands(
            self._names,
            address.db,
            results,
            channel_of=channels.channel,
            queues_of=self._bound_to,
        )
        self.graveyard = RedisGraveyard(self._connection, self._names)
        self.revocations = RedisRevocations(self._connection, self._names)
        self.handover = RedisHandover(self._connection, self._names)
        self.bus = RedisBus(self._connection, address, self._names, channels)
        self._order = manners.order
        self._turn = 0
        self._slots: dict[tuple[str, ...], Slots] = {}
        # The queues that the last cycle found empty, so that the server tells of what comes. None
        # where it did not look, or we have written since: our own writes are not told.
        self._empty: tuple[str, ...] | None = None
        self._passed_over = 0  # by the connection when that cycle had its answer
        # The consumer that claims, the last token that it has seen, the number of the claim after
        # which it waits (0: it does not), and what it was given then.
        self._claimer, self._seen, self._waits_since = "", 0, 0
        self._given: list[Lease] = []
        self._begun: _Begun | None = None
        self._become_writer()

    def _become_writer(self) -> None:
        self._pid = os.getpid()
        self._writer = os.urandom(8).hex()
        self._producer_key = self._names.own(b"p:" + self._writer.encode())
        self._number = 0
        # Where this object is told of what it is given.
        self._ear.greeting = [("SUBSCRIBE", self._names.own(b"h:" + self._writer.encode()))]

    def _next_number(self) -> int:
        if self._pid != os.getpid():
            # After a fork the parent goes on with its name.
            self._become_writer()
        self._number += 1
        return self._number

    # - Sending

    def publish(self, messages: Sequence[Message], openings: Sequence[JoinOpening] = ()) -> None:
        """Store messages, and open joins, in one step."""
        if any(message.exchange for message in messages):
            messages = [copy for message in messages for copy in self._routed(message)]
        if not messages and not openings:
            return
        number = self._next_number()
        publish, arguments = self._commands.publish(
            (self._producer_key, number), messages, openings
        )
        self._empty = None
        self._connection.script(publish, (), arguments, is_publish=True)

    def _routed(self, message: Message) -> list[Message]:
        """One copy for each queue that is bound; the message itself where it names its queue."""
        if not message.exchange or message.is_fanout:
            return [message]
        queues = self._bound_to(message)
        if not queues:
            raise QueueNotFound(unroutable(message))
        return [message._replace(queue=queue, exchange="") for queue in queues]

    def _bound_to(self, message: Message) -> list[str]:
        separator = self._names.separator
        table, _ = self._names.bindings(message.exchange)
        queues: dict[str, None] = {}
        for member in sorted(self._connection.command("SMEMBERS", table)):
            key, pattern, queue = (part.decode() for part in member.split(separator, 2))
            if re.match(pattern, message.routing_key) if pattern else key == message.routing_key:
                queues[queue] = None
        return list(queues)

    def bind(self, exchange: str, kind: str, queue: str, routing_key: str) -> None:
        """Let messages of an exchange reach a queue."""
        if kind not in ("direct", "topic", "fanout"):
            raise ValueError(f"exchange {exchange!r} is of kind {kind!r}; wanted direct or topic")
        pattern = _pattern(routing_key) if kind == "topic" else ""
        member = self._names.separator.join(
            [routing_key.encode(), pattern.encode(), queue.encode()]
        )
        table, permanent = self._names.bindings(exchange)
        self._connection.commands(("SADD", table, member), ("SADD", permanent, member))

    # - Consumers

    def enlist(self, consumer: str, lease_s: float) -> None:
        """Make a consumer known."""
        self._claimer, self._waits_since, self._given = "", 0, []
        self._connection.script(script("enlist"), (), [self._names.prefix, consumer, lease_s])

    def renew(self, consumers: Sequence[str], lease_s: float) -> list[str]:
        """Let consumers live on; gives those that are not enlisted."""
        if not consumers:
            return []
        arguments: list[Argument] = [self._names.prefix, lease_s, *consumers]
        lost = self._connection.script(script("renew"), (), arguments)
        return [name.decode() for name in lost]

    def retire(self, consumer: str) -> int:
        """Give back all that a consumer holds, and forget it."""
        arguments = self._commands.recover(consumer, (), (0, b"", b""))
        self._empty = None
        return int(self._connection.script(script("recover"), (), arguments))

    def cycle(
        self,
        consumer: str,
        settlements: Sequence[Settlement],
        queues: Sequence[str],
        limit: int,
        *,
        waits: bool = False,
    ) -> tuple[list[bool], list[Lease]]:
        """Settle, and lease up to ``limit`` messages."""
        given: list[Lease] = []
        seen: int | None = None
        if limit > 0 and consumer == self._claimer:
            seen = self._seen
            given, self._given = self._given, []
            if given and not settlements:
                return [], given
            limit -= len(given)
        slots = self._slots_of(queues) if limit > 0 and queues else None
        limit = min(limit, _MOST_LEASES) if slots else 0
        number = self._next_number()
        if slots is not None:
            self._track()
            if waits and not self._ear.is_open():
                self._ear.command("PING")
        keys, arguments = self._commands.cycle(
            consumer,
            (self._writer, number),
            settlements,
            slots,
            limit,
            waits=waits and limit > 0,
            seen=seen,
        )
        self._empty, self._waits_since = None, 0
        reply = self._connection.script(
            script("cycle"), keys, arguments, again=lambda: self._commands.again(arguments)
        )
        answers, leases = self._cycled(consumer, reply, settlements, slots)
        if limit:
            if consumer != self._claimer:
                self._claimer, self._given = consumer, []
            self._seen = leases[-1].token if leases else int(reply[1])
            if not leases:
                self._empty = tuple(queues)
                self._waits_since = number if waits else 0
                self._passed_over = self._connection.passed_over
        return answers, given + leases

    def _cycled(
        self, consumer: str, reply: Any, settlements: Sequence[Settlement], slots: Slots | None
    ) -> tuple[list[bool], list[Lease]]:
        if reply == NOT_ENLISTED:
            raise LeaseLost(
                f"{consumer} is not enlisted at {self.url}: a sweep has given it up, "
                "and what it held runs elsewhere"
            )
        if reply == TOO_LATE:
            raise OperationalError(f"{self.url} had a later cycle of {consumer} already")
        answers, leases = self._commands.cycled(reply, settlements, slots)
        if leases:
            self.revocations.epoch = int(reply[3])
        return answers, leases

    def run_ahead(
        self, consumer: str, settlement: Settlement, queues: Sequence[str]
    ) -> Lease | None:
        """Send a settlement whose one message this consumer is to lease; ``confirm`` it later."""
        slots = self._slots_of(queues)
        message = self._commands.only_successor(settlement)
        if message is None or message.queue not in slots.owners:
            return None
        if consumer != self._claimer or self._given:
            return None
        keys, arguments = self._commands.cycle(
            consumer,
            (self._writer, self._next_number()),
            (settlement,),
            slots,
            1,
            seen=self._seen,
            runs_ahead=True,
        )
        self._empty = None
        self._begun = _Begun(consumer, settlement, slots, keys, arguments)
        self._connection.begin(
            resp.pack((b"EVALSHA", script("cycle").sha, len(keys), *keys, *arguments))
        )
        self._seen += 1
        return Lease(self._seen, message.queue, message.raw, body=message.body)

    def confirm(self) -> bool:
        """Whether what was run ahead is ours."""
        begun = self._begun
        assert begun is not None, "nothing was run ahead"
        try:
            reply = self._connection.finish()
        except ConnectionBroken:
            # It may be there already; it is numbered.
            again = self._commands.again(begun.arguments)
            reply = self._connection.script(script("cycle"), begun.keys, again)
        self._begun = None
        answers, leases = self._cycled(begun.consumer, reply, [begun.settlement], begun.slots)
        if answers == [True] and [lease.token for lease in leases] == [self._seen]:
            return True
        # The next claim gives what else was leased, if anything.
        self._seen -= 1
        return False

    def _slots_of(self, queues: Sequence[str]) -> Slots:
        names = tuple(queues)
        if self._order == "sorted":
            names = tuple(sorted(names))
        elif self._order == "round_robin":
            self._turn = (self._turn + 1) % len(names)
            names = names[self._turn :] + names[: self._turn]
        slots = self._slots.get(names)
        if slots is None:
            slots = self._slots[names] = self._names.slots(names)
        return slots

    def _track(self) -> None:
        if not self._connection.greeting:
            self._connection.greeting.append(_TRACKING)
            self._connection.command(*_TRACKING)

    def release(self, consumer: str, tokens: Sequence[int]) -> int:
        """Give leases back to the consuming end."""
        if not tokens:
            return 0
        newest_first = sorted(tokens, reverse=True)
        self._empty = None
        return int(
            self._connection.script(
                script("release"),
                (),
                [self._names.prefix, consumer, self._names.suspect(consumer), *newest_first],
            )
        )

    def recover(self, consumer: str, losses: Sequence[Loss], policy: SweepPolicy) -> int:
        """Take over from a consumer whose process is dead."""
        judgement = (policy.max_deliveries, policy.poison, policy.begun)
        arguments = self._commands.recover(consumer, losses, judgement)
        self._empty = None
        return int(self._connection.script(script("recover"), (), arguments))

    def sweep(self, policy: SweepPolicy) -> Swept:
        """Give up consumers whose lease has passed, and move what is due."""
        arguments: list[Argument] = [
            self._names.prefix,
            policy.lease_s,
            policy.interval_s,
            policy.max_deliveries,
            policy.poison,
            policy.begun,
            _CONSUMERS_A_SWEEP,
            _DUE_A_SWEEP,
            WITH_ITS_WORKER,
        ]
        consumers: list[str] = []
        messages = 0
        next_due_s: float | None = None
        self._empty = None
        # In pieces, so that the server serves others between them.
        for _ in range(_SWEEPS):
            given_up, moved, due, more = self._connection.script(script("sweep"), (), arguments)
            consumers += [name.decode() for name in given_up]
            messages += moved
            next_due_s = max(float(due), 0.0) if due else None
            if more != b"1":
                break
        return Swept(tuple(consumers), messages, next_due_s)

    def wait(self, queues: Sequence[str], timeout_s: float, wake_fd: int | None) -> bool:
        """Block until ``queues`` may have messages, ``wake_fd`` is readable or the time is up."""
        if self._empty != tuple(queues) or self._passed_over != self._connection.passed_over:
            return True
        connections = [self._connection]
        if self._ear.is_open():
            connections.append(self._ear)
        deadline = monotonic_s() + timeout_s
        try:
            while True:
                left_s = max(deadline - monotonic_s(), 0.0)
                pushes = listen(connections, left_s, wake_fd)
                if not pushes:
                    return False
                for push in pushes:
                    if push[0] == b"message":
                        self._take(push[2])
                if any(push[0] in (b"invalidate", b"message") for push in pushes):
                    return True
        except ConnectionBroken:
            return True

    def _take(self, told: bytes) -> None:
        """A message was given to us: "<seq> <token> <epoch of revocations> <value>"."""
        number, token, epoch, value = told.split(b" ", 3)
        # Else it is old: it has come with a claim, or belongs to somebody else by now.
        if int(number) == self._waits_since:
            self._seen = int(token)
            self.revocations.epoch = int(epoch)
            self._given.append(lease_of(self._seen, value))

    # - Looking

    def depth(self, queue: str) -> Depth:
        """How many messages a queue has."""
        arguments: list[Argument] = [self._names.prefix, queue, *self._names.lists(queue)]
        return Depth(*self._connection.script(script("depth"), (), arguments))

    def peek(self, queue: str, limit: int) -> list[bytes]:
        """The next ready envelopes of a queue."""
        if limit <= 0:
            return []
        special = self._names.slots([queue]).special
        lists = self._names.lists(queue)
        ends = [("LRANGE", key, -limit, -1) for key in [*special, *lists]]
        found: list[bytes] = []
        for place, values in enumerate(self._connection.commands(*ends)):
            if place < len(special):
                values = [lease_of(0, value).raw for value in values]
            found += reversed(values)
        return found[:limit]

    def leased(self, consumers: Sequence[str]) -> list[Held]:
        """What consumers hold."""
        if not consumers:
            return []
        own = self._names.own
        hashes = self._connection.commands(
            *[("HGETALL", own(b"i:" + consumer.encode())) for consumer in consumers]
        )
        return [
            held
            for consumer, fields in zip(consumers, hashes, strict=True)
            for held in held_of(consumer, fields)
        ]

    def due(self, queue: str, limit: int) -> list[tuple[float, bytes]]:
        """What waits for its time, the earliest first."""
        if limit <= 0:
            return []
        own, name = self._names.own, queue.encode()
        found = self._connection.command("ZRANGE", own(b"due:" + name), 0, limit - 1, "WITHSCORES")
        if not found:
            return []
        tags = [tag for tag, _ in found]
        values = self._connection.command("HMGET", own(b"parked:" + name), *tags)
        # One that has become due between the two looks is there no more.
        return [
            (at, lease_of(0, value).raw)
            for (_, at), value in zip(found, values, strict=True)
            if value is not None
        ]

    def purge(self, queue: str) -> int:
        """Delete the ready and due messages of a queue."""
        arguments: list[Argument] = [self._names.prefix, queue, *self._names.lists(queue)]
        return int(self._connection.script(script("purge"), (), arguments))

    def workers(self) -> list[str]:
        """Who works here."""
        consumers = self._connection.script(script("workers"), (), [self._names.prefix])
        return sorted({name.decode().rsplit(".", 2)[0] for name in consumers})

    def warnings(self) -> list[str]:
        """What the settings of the server do to the promises, a sentence each."""
        return durability_warnings(self._connection)

    def close(self) -> None:
        """End the connections."""
        self._connection.close()
        self._ear.close()


def _pattern(routing_key: str) -> str:
    """A topic key as the regular expression that kombu writes: ``*`` is a word, ``#`` any words."""
    words = {"*": r"[^\.]+", "#": ".*?"}
    return "^" + r"\.".join([words.get(word, word) for word in routing_key.split(".")]) + "$"
