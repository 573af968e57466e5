"""From values to the keys and arguments of a script, and from its reply back to values. Pure.

The scripts are the files in ``scripts/``; the first line of one may name the files that it needs
in front of it. What each wants and gives stands at its top.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha1
from math import ceil
from typing import Any, NamedTuple

from umbel.engines.redis import keys
from umbel.engines.redis.keys import BrokerKeys, ResultKeys, Slots
from umbel.engines.redis.resp import Argument
from umbel.model.join import JOIN_TASK, JoinClosing, JoinGrowth, JoinOpening, JoinPart
from umbel.model.lease import Lease, Loss
from umbel.model.message import Message
from umbel.model.record import Document
from umbel.model.settlement import Fate, Settlement

_FOLDER = os.path.join(os.path.dirname(__file__), "scripts")
# Scripts may not make globals; these are what the files in front expect to be set.
_SHARED = "local P, ORDERED, JOIN_TTL, DONE_TTL\n"

NOT_ENLISTED = -1
TOO_LATE = -2

_DONE = Fate.DONE
# Bytes of a message that may be told on a channel, whose readers a server bounds.
_MOST_GIVEN = 1 << 16


class Script(NamedTuple):
    """A Lua script, as servers know it."""

    name: str
    sha: bytes
    source: bytes


@cache
def script(name: str) -> Script:
    """A script with what it needs in front."""
    body = _read(name)
    first, _, _ = body.partition("\n")
    needed = first.removeprefix("-- needs: ").split(", ") if first.startswith("-- needs: ") else []
    source = (_SHARED + "".join([_read(part) for part in needed]) + body).encode()
    return Script(name, sha1(source).hexdigest().encode(), source)


def _read(name: str) -> str:
    with open(os.path.join(_FOLDER, f"{name}.lua"), encoding="utf-8") as file:
        return file.read()


class Results(NamedTuple):
    """The result store, as a script on the broker's server reaches it."""

    keys: ResultKeys
    db: int
    is_chord_ordered: bool = True


class Commands:
    """What a broker and a store say to the server."""

    def __init__(
        self,
        names: BrokerKeys,
        db: int,
        results: Results | None,
        *,
        channel_of: Callable[[str, str], bytes] | None = None,
        queues_of: Callable[[Message], Sequence[str]] | None = None,
    ) -> None:
        self.names = names
        self.db = db
        self.results = results
        # Where a fanout is heard, and what is bound to other exchanges: a broker's are given.
        self._channel_of = channel_of
        self._queues_of = queues_of

    # - Messages

    def place(self, message: Message) -> tuple[bytes, bytes]:
        """The list that a message is pushed to, and what is pushed."""
        if message.task == JOIN_TASK:
            # A Celery worker must never see it: it knows no such task, and would drop it.
            return self.names.lane(message.queue), self._claim(message)
        return self.names.list_of(message.queue, message.priority), message.raw

    def _claim(self, message: Message) -> bytes:
        suffix = self.names.suffix(message.priority)
        return keys.header(message.queue.encode(), suffix, b"j") + message.raw

    def _runs(self, messages: Iterable[Message]) -> tuple[int, list[Argument]]:
        """Messages in order, those that follow each other into one list together."""
        out: list[Argument] = []
        runs = 0
        last: bytes | None = None
        count_at = 0
        count = 0
        for message in self._routed(messages):
            if message.exchange:
                if count:
                    out[count_at] = count
                runs += 1
                last, count = None, 0
                out += self._elsewhere(message)
                continue
            key, value = self.place(message)
            if message.due is not None and message.task != JOIN_TASK:
                queue = message.queue.encode()
                head = keys.header(queue, self.names.suffix(message.priority))
                out += (key, -1, repr(message.due), message.tag, queue, head, value)
                if count:
                    out[count_at] = count
                runs += 1
                last, count = None, 0
                continue
            if key != last:
                if count:
                    out[count_at] = count
                runs += 1
                last = key
                out += (key, 0)
                count_at = len(out) - 1
                count = 0
            out.append(value)
            count += 1
        if count:
            out[count_at] = count
        return runs, out

    def _routed(self, messages: Iterable[Message]) -> Iterator[Message]:
        """A copy for each queue that is bound; fanouts, and what leads nowhere, as they are."""
        for message in messages:
            if not message.exchange or message.is_fanout or self._queues_of is None:
                yield message
                continue
            queues = self._queues_of(message)
            if not queues:
                yield message
            for queue in queues:
                yield message._replace(queue=queue, exchange="")

    def _elsewhere(self, message: Message) -> list[Argument]:
        if message.is_fanout and self._channel_of is not None:
            return [self._channel_of(message.exchange, message.routing_key), -2, message.raw]
        return [b"", -3, message.raw, unroutable(message)]

    def _successor(self, message: Message) -> tuple[Argument, ...] | None:
        """The run of one message that may be leased at once; None where it is none of that kind."""
        if message.due is not None or message.task == JOIN_TASK or message.exchange:
            return None
        key = self.names.list_of(message.queue, message.priority)
        head = keys.header(message.queue.encode(), self.names.suffix(message.priority))
        return key, -4, len(head), head + message.raw

    def publish(
        self,
        producer: tuple[bytes, int],
        messages: Sequence[Message],
        openings: Sequence[JoinOpening],
    ) -> tuple[Script, list[Argument]]:
        """The script and its arguments for one batch."""
        head: list[Argument] = [*producer, keys.PRODUCER_TTL_S]
        only = messages[0] if len(messages) == 1 and not openings else None
        if only is not None and only.due is None and not only.exchange:
            head += self.place(only)
            if only.task != JOIN_TASK and len(only.raw) <= _MOST_GIVEN:
                suffix = self.names.suffix(only.priority)
                head += (self.names.prefix, keys.header(only.queue.encode(), suffix))
            return script("publish_one"), head
        head += (self.names.prefix, len(openings))
        if openings:
            results = self._results()
            head += (self.db, results.db, keys.JOIN_TTL_S)
            head += self._openings(openings)
        return script("publish"), head + self._runs(messages)[1]

    # - Settle and claim

    def cycle(
        self,
        consumer: str,
        writer: tuple[str, int],
        settlements: Sequence[Settlement],
        slots: Slots | None,
        limit: int,
        *,
        waits: bool = False,
        seen: int | None = None,
        runs_ahead: bool = False,
    ) -> tuple[list[bytes], list[Argument]]:
        """Keys and arguments of ``cycle.lua``."""
        results = self.results
        mark = self.names.suspect(consumer)
        queues = len(slots.special) // 3 if slots else 0
        arguments: list[Argument] = [
            self.names.prefix,
            consumer,
            *writer,
            limit,
            queues,
            len(slots.lists) if slots else 0,
            len(settlements),
            0,  # 1 where it was sent before: see ``again``
            self.db,
            self.db if results is None else results.db,
            mark,
            "1" if results is None or results.is_chord_ordered else "0",
            keys.JOIN_TTL_S,
            keys.JOIN_DONE_TTL_S,
            keys.FOLLOWED_TTL_S,
        ]
        # Of the parts of one join the last one's: who ended last is the parent of the body.
        claims = {part.group_id: part.claim for one in settlements for part in one.parts}
        arguments += (len(claims), "" if seen is None else seen, int(waits), int(runs_ahead))
        for claim in claims.values():
            message = claim()
            arguments += (message.queue, self._claim(message))
        places = {group_id: place for place, group_id in enumerate(claims)}
        for settlement in settlements:
            self._settlement(arguments, settlement, places)
        if slots is None:
            return [], arguments
        arguments += slots.headers
        # The last one is read only to be told of: a message that is due sooner than all others
        # lets an idle child wake, and its supervisor look when that is.
        return [*slots.special, *slots.lists, mark, self.names.own(b"due")], arguments

    def only_successor(self, settlement: Settlement) -> Message | None:
        """The one message of a task that has ended, where nothing else follows it."""
        _, fate, _, messages, opens, parts, grows, closes, *_ = settlement
        if fate is not _DONE or len(messages) != 1 or opens or parts or grows or closes:
            return None
        return messages[0] if self._successor(messages[0]) else None

    def again(self, arguments: Sequence[Argument]) -> list[Argument]:
        """The arguments of a cycle for a second sending: the first may be there already."""
        return [*arguments[:8], 1, *arguments[9:]]

    def _settlement(self, out: list[Argument], one: Settlement, claims: Mapping[str, int]) -> None:
        token, fate, documents, messages, opens, parts, grows, closes, due, cause, delivery = one
        if fate is _DONE and not (messages or opens or grows or closes):
            if not (documents or parts):
                out += (token, "x")
                return
            if len(documents) == 1 and len(parts) <= 1:
                out += (token, "p" if parts else "r")
                out += self._document(documents[0])
                for part in parts:
                    out += (*self._part(part), claims[part.group_id])
                return
        extra: Argument
        if fate is _DONE:
            extra = delivery.encode(errors="replace")
        else:
            extra = cause.encode(errors="replace") if fate is Fate.DEAD else repr(due or 0.0)
        out += (token, int(fate), extra, len(documents))
        for document in documents:
            out += self._document(document)
        out.append(len(opens))
        out += self._openings(opens)
        out.append(len(grows))
        out += self._growths(grows)
        out.append(len(parts))
        for part in parts:
            out += (*self._part(part), claims[part.group_id])
        out.append(len(closes))
        out += self._closings(closes)
        if len(messages) == 1 and (successor := self._successor(messages[0])):
            out.append(1)
            out += successor
            return
        runs, pushed = self._runs(messages)
        out.append(runs)
        out += pushed

    def cycled(
        self, reply: list[Any], settlements: Sequence[Settlement], slots: Slots | None
    ) -> tuple[list[bool], list[Lease]]:
        """Answers and leases from the reply of ``cycle.lua``, which followed ``settlements``."""
        answers: bytes = reply[0]
        given = reply[2]
        leases = [
            keys.lease_of(given[place], given[place + 1]) for place in range(0, len(given), 2)
        ]
        if len(reply) > 4 and slots is not None:
            token = reply[1]
            owners = slots.owners
            for place in range(4, len(reply), 2):
                queue = owners[reply[place] - 1]
                found = reply[place + 1]
                if type(found) is int:
                    # The message is one of ours, and isn't sent back to us.
                    message = settlements[found - 1].messages[0]
                    token += 1
                    leases.append(Lease(token, queue, message.raw, body=message.body))
                    continue
                for raw in found:
                    token += 1
                    leases.append(Lease(token, queue, raw))
        return [answer == 49 for answer in answers], leases

    # - Giving up

    def recover(
        self,
        consumer: str,
        losses: Sequence[Loss],
        judgement: tuple[int, bytes, bytes],
    ) -> list[Argument]:
        """Arguments of ``recover.lua``; ``judgement``: most deliveries, poison, begun."""
        out: list[Argument] = [self.names.prefix, consumer, self.names.suspect(consumer)]
        out += judgement
        for loss in losses:
            out += (loss.token, loss.verdict or b"", int(loss.counted), loss.how)
        return out

    # - Results

    def put(self, documents: Sequence[Document]) -> list[Argument]:
        """Arguments of ``put.lua``."""
        out: list[Argument] = []
        for document in documents:
            out += self._document(document)
        return out

    def apply(
        self,
        documents: Sequence[Document],
        opens: Sequence[JoinOpening],
        parts: Sequence[JoinPart],
        grows: Sequence[JoinGrowth],
        closes: Sequence[JoinClosing],
    ) -> list[Argument]:
        """Arguments of ``apply.lua``."""
        ordered = "1" if self._results().is_chord_ordered else "0"
        out: list[Argument] = [ordered, keys.JOIN_TTL_S, keys.JOIN_DONE_TTL_S, len(documents)]
        out += self.put(documents)
        out.append(len(opens))
        out += self._openings(opens)
        out.append(len(grows))
        out += self._growths(grows)
        out.append(len(parts))
        for part in parts:
            out += self._part(part)
        out.append(len(closes))
        out += self._closings(closes)
        return out

    def _results(self) -> Results:
        if self.results is None:
            raise ValueError(
                "records and joins need a result store on the broker's server; "
                "this broker was opened without one"
            )
        return self.results

    def _document(self, document: Document) -> tuple[Argument, ...]:
        task_id, status, data, ttl_s = document
        ttl = max(1, ceil(ttl_s)) if ttl_s else 0
        return self._results().keys.task(task_id), status, ttl, data

    def _openings(self, opens: Sequence[JoinOpening]) -> list[Argument]:
        out: list[Argument] = []
        for opening in opens:
            out += (self._results().keys.group(opening.group_id), opening.size)
        return out

    def _growths(self, grows: Sequence[JoinGrowth]) -> list[Argument]:
        out: list[Argument] = []
        for growth in grows:
            out += (self._results().keys.group(growth.group_id), growth.by)
        return out

    def _part(self, part: JoinPart) -> tuple[Argument, ...]:
        position = "+inf" if part.position is None else part.position
        return self._results().keys.group(part.group_id), part.task_id, position, part.part

    def _closings(self, closes: Sequence[JoinClosing]) -> list[Argument]:
        out: list[Argument] = []
        for closing in closes:
            out += (self._results().keys.group(closing.group_id), int(closing.failed))
        return out


def unroutable(message: Message) -> str:
    """Why a message has nowhere to go."""
    return (
        f"no queue is bound to exchange {message.exchange!r} with a key that fits "
        f"{message.routing_key!r}; start a worker that consumes one, or name the queue"
    )
