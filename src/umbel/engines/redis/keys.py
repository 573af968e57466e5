"""The keys: everything that stands in Redis, whose it is, and how long it stays.

P is the broker's ``global_keyprefix`` (as is), R the result store's (with ``_`` behind it unless it
ends in ``: _ - .``). SEP is the option ``sep``, the bytes 06 16. Names below are after the prefix.

Shared with Celery, byte for byte (broker's database, P):
  <queue>, <queue>SEP3, SEP6, SEP9   list    ready messages; LPUSH in, RPOP out; a priority goes to
                                             the largest step <= it; step 0 is served first
  _kombu.binding.<exchange>          set     <routing key> SEP <pattern> SEP <queue>
  _kombu.binding_permanent.<exchange>  set   the same; keeps Celery's sweep from deleting the first
  _kombu.binding_deadlines   zset    exchange -> unix milliseconds; Celery may sweep its table then
  <box>.<exchange>           list    answers for a caller (``bus.py``), bound in the exchange's
                                     table as <box> SEP SEP <list>; umbel gives it a TTL of 1 hour
Shared with Celery (result store's database, R):
  celery-task-meta-<id>              string  result record, also the channel it is told on; TTL
  celery-taskset-meta-<id>           string  saved group; TTL
  celery-taskset-meta-<id> + .j .t .s .d .c  a join: parts (zset, or list where
                                             ``result_chord_ordered`` is off), growth, size, counted
                                             members "<task id>:<position>" (those of Celery 5.6
                                             have only their part), claim ("umbel",
                                             or "umbel <counted member>" where the broker is on
                                             another server, or a Celery worker's token, or "done");
                                             TTL 30 days

umbel's own (broker's database, P). No TTL, because they hold accepted messages or fence them:
  umbel:consumers            zset    consumer -> deadline, unix seconds by the server's clock
  umbel:c:<consumer>         string  the consumer is enlisted while this stands: "<writer> <seq>
                                     <last token> <suspect token or 0> <first token before the last
                                     cycle's> <answers of the last cycle>"; a cycle that is sent
                                     again after a lost reply finds its answer here
  umbel:i:<consumer>         hash    token -> value; what the consumer has leased
  umbel:waiting              hash    list of ready messages -> "<seq> <last token> <consumer>": who
                                     waits for it and is given the next one, as long as its
                                     state names these as the last; it is told on the channel
                                     umbel:h:<writer>: "<seq> <token> <epoch of revocations>
                                     <value>"
  umbel:verdicts:<queue>     list    values with a verdict, to be settled without running
  umbel:lane:<queue>         list    values that were leased by a process that died, and claims of
                                     joins
  umbel:suspects:<queue>     list    values that were lost with two whole workers or more
  umbel:suspect:<worker>     string  "<consumer> <token>" of the one suspect that runs there; it
                                     counts only while that token is in that consumer's hash
  umbel:due                  zset    queue -> the earliest time in its due set
  umbel:due:<queue>          zset    delivery tag -> unix seconds
  umbel:parked:<queue>       hash    delivery tag -> value
  umbel:swept                string  unix seconds of the last sweep
  umbel:dead                 zset    number -> unix seconds
  umbel:dead:number          string  the last number
  umbel:dead:<number>        hash    raw, cause, queue, suffix, flags (j or none), deliveries, id,
                                     task, time, history
  umbel:revoked              zset    revoked task id -> the epoch that it came with
  umbel:revoked:until        zset    the same id -> unix seconds until which it is remembered
  umbel:revoked:epoch        string  the last epoch; each revocation makes a new one
Markers, with a TTL:
  umbel:p:<writer>           string  sequence number of a producer's last batch; 1 hour
  umbel:d:<queue>:<tag>      string  this delivery has sent its follow-ups; 3 hours
  umbel:final:<record key>   string  (result store's database) checksum of the record, where it is
                                     a SUCCESS and its bytes do not say so
  umbel:claim:<group key>    string  (result store's database) the claim of a join that has parts,
                                     but is not opened yet

A *value* is a header in front of the envelope, which no script looks into (one exception: the
delivery tag is searched for, to park and to guard follow-ups):
  <deliveries>,<losses>,<flags>,<verdict length>,<queue length>,<suffix length>:
  then queue, suffix (SEP and step), verdict, raw. Flags: b = has begun and must not begin again,
  j = the claim of a join, which must never stand in a list that a Celery worker reads, r (alone, or
  behind j) = was leased by a process that died, and did not count. One that somebody has died with
  has two more numbers in front of the colon, ",<history length>,<tries>", and its history
  (model/history.py) behind the verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from umbel.model.errors import ImproperlyConfigured
from umbel.model.lease import Lease
from umbel.ports.broker import Held

SEPARATOR = b"\x06\x16"
PRIORITY_STEPS = (0, 3, 6, 9)

PRODUCER_TTL_S = 3600
FOLLOWED_TTL_S = 3 * 3600
JOIN_TTL_S = 30 * 24 * 3600
JOIN_DONE_TTL_S = 300


class Slots(NamedTuple):
    """Where the messages of some queues may be claimed, in the order in which they are."""

    special: list[bytes]  # three keys per queue: verdicts, lane, suspects
    lists: list[bytes]  # step by step, within a step queue by queue
    headers: list[bytes]  # one per list: what stands before a message that was claimed from it
    owners: list[str]  # one per list: its queue


class BrokerKeys:
    """Names in the broker's database."""

    def __init__(
        self,
        prefix: str = "",
        separator: bytes = SEPARATOR,
        steps: Sequence[int] = PRIORITY_STEPS,
    ) -> None:
        if not steps or list(steps) != sorted(set(steps)):
            raise ImproperlyConfigured(
                f"priority_steps is {list(steps)!r}; wanted numbers in growing order, as [0, 3, 6]"
            )
        self.prefix = prefix.encode()
        self.separator = separator
        self.steps = tuple(steps)
        # Celery writes no suffix for step 0 only; the first step of other lists has one.
        self.suffixes = [separator + str(step).encode() if step else b"" for step in self.steps]
        clamped = [min(max(priority, 0), 9) for priority in range(10)]
        self._suffix_of = [
            self.suffixes[max((n for n, s in enumerate(self.steps) if s <= p), default=0)]
            for p in clamped
        ]
        self._lists: dict[tuple[str, int], bytes] = {}

    def own(self, name: bytes) -> bytes:
        """One of umbel's keys."""
        return self.prefix + b"umbel:" + name

    def suffix(self, priority: int) -> bytes:
        """What a priority adds to the name of the queue."""
        return self._suffix_of[priority if 0 <= priority <= 9 else 0 if priority < 0 else 9]

    def list_of(self, queue: str, priority: int) -> bytes:
        """The list that a message of this priority goes to."""
        key = self._lists.get((queue, priority))
        if key is None:
            key = self.prefix + queue.encode() + self.suffix(priority)
            if len(self._lists) > 10_000:  # names made up by the million must not stay
                self._lists.clear()
            self._lists[queue, priority] = key
        return key

    def lists(self, queue: str) -> list[bytes]:
        """All lists of a queue, the one that is served first in front."""
        return [self.prefix + queue.encode() + suffix for suffix in self.suffixes]

    def lane(self, queue: str) -> bytes:
        """What was lost with a process, and claims of joins."""
        return self.own(b"lane:" + queue.encode())

    def slots(self, queues: Sequence[str]) -> Slots:
        """Where the messages of these queues are."""
        special: list[bytes] = []
        for queue in queues:
            name = queue.encode()
            special += [self.own(kind + name) for kind in (b"verdicts:", b"lane:", b"suspects:")]
        lists: list[bytes] = []
        headers: list[bytes] = []
        owners: list[str] = []
        for suffix in self.suffixes:
            for queue in queues:
                name = queue.encode()
                lists.append(self.prefix + name + suffix)
                headers.append(header(name, suffix))
                owners.append(queue)
        return Slots(special, lists, headers, owners)

    def suspect(self, consumer: str) -> bytes:
        """The mark of the one suspect that a worker runs. Its name is the consumer's less two."""
        worker = consumer.rsplit(".", 2)[0] if consumer.count(".") > 1 else consumer
        return self.own(b"suspect:" + worker.encode())

    def bindings(self, exchange: str) -> tuple[bytes, bytes]:
        """Both tables of an exchange."""
        name = exchange.encode()
        return (
            self.prefix + b"_kombu.binding." + name,
            self.prefix + b"_kombu.binding_permanent." + name,
        )


class ResultKeys:
    """Names in the result store's database."""

    def __init__(self, prefix: str = "") -> None:
        if prefix and prefix[-1] not in ":_-.":
            prefix += "_"
        self._task = f"{prefix}celery-task-meta-".encode()
        self._group = f"{prefix}celery-taskset-meta-".encode()

    def task(self, task_id: str) -> bytes:
        """A record, and the channel that it is told on."""
        return self._task + task_id.encode()

    def task_id(self, key: bytes) -> str:
        """The other way round."""
        return key[len(self._task) :].decode(errors="surrogateescape")

    def group(self, group_id: str) -> bytes:
        """A saved group; also what the keys of a join begin with."""
        return self._group + group_id.encode()


def header(queue: bytes, suffix: bytes, flags: bytes = b"") -> bytes:
    """What stands before a message that nothing has happened to."""
    return b"0,0,%b,0,%d,%d:%b%b" % (flags, len(queue), len(suffix), queue, suffix)


def lease_of(token: int, value: Any) -> Lease:
    """A lease from a value in an in-flight hash."""
    head, _, rest = value.partition(b":")
    deliveries, losses, flags, verdict, queue, suffix, *more = head.split(b",")
    name = rest[: int(queue)]
    start = int(queue) + int(suffix)
    end = start + int(verdict)
    raw = end + int(more[0]) if more else end
    was_leased = b"r" in flags or int(deliveries) > 0 or int(losses) > 0 or end > start
    return Lease(
        token,
        name.decode(),
        rest[raw:],
        int(deliveries),
        was_leased,
        rest[start:end] if end > start else None,
        int(more[1]) if more else 0,
        rest[end:raw].decode(errors="replace"),
    )


def held_of(consumer: str, fields: Mapping[bytes, bytes]) -> list[Held]:
    """What stands in an in-flight hash, in order of tokens."""
    found = []
    for token in sorted(map(int, fields)):
        value = fields[b"%d" % token]
        lease = lease_of(token, value)
        is_begun = value.split(b",", 3)[2] == b"b"
        found.append(Held(consumer, token, lease.raw, lease.deliveries, is_begun))
    return found
