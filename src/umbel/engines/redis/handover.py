"""Going back to Celery on Redis: the due sets and the lanes are emptied into the shared lists.

Theory of operation. The queues are found by a walk over umbel's keys. Each queue is emptied by
scripts of a bounded size, each an atomic step: so who is interrupted may begin again, and a script
that is sent again after a lost reply finds less to do.
"""

from __future__ import annotations

from umbel.engines.redis.commands import script
from umbel.engines.redis.connection import Connection
from umbel.engines.redis.keys import BrokerKeys
from umbel.engines.redis.resp import Argument
from umbel.ports.handover import HandedOver

_KINDS = ("due", "lane", "suspects", "verdicts")
# Keys that one look of the walk goes over, and due messages to one script.
_STEP = 1000


class RedisHandover:
    """See ``umbel.ports.handover.Handover`` for what it promises."""

    def __init__(self, connection: Connection, names: BrokerKeys) -> None:
        self._connection = connection
        self._names = names

    def queues(self) -> list[str]:
        """By the names of the keys."""
        starts = [self._names.own(f"{kind}:".encode()) for kind in _KINDS]
        pattern = _escaped(self._names.own(b"")) + b"*"
        found: set[str] = set()
        cursor = b"0"
        while True:
            cursor, keys = self._connection.command(
                "SCAN", cursor, "MATCH", pattern, "COUNT", _STEP
            )
            for key in keys:
                for start in starts:
                    if key.startswith(start):
                        found.add(key[len(start) :].decode(errors="surrogateescape"))
            if cursor == b"0":
                return sorted(found)

    def hand_over(self, queue: str) -> HandedOver:
        """Page by page."""
        due = lost = 0
        while True:
            arguments: list[Argument] = [
                self._names.prefix,
                queue.encode(errors="surrogateescape"),
                _STEP,
            ]
            paged, more_lost, verdicts, joins = self._connection.script(
                script("hand_over"), (), arguments
            )
            due += paged
            lost += more_lost
            if paged < _STEP:
                return HandedOver(queue, due, lost, verdicts, joins)


def _escaped(prefix: bytes) -> bytes:
    for sign in (b"\\", b"*", b"?", b"[", b"]"):
        prefix = prefix.replace(sign, b"\\" + sign)
    return prefix
