"""A child's side of the broker: one identity that claims and settles, through every trouble.

What it promises to the loops above it: ``exchange`` returns only when the settlements are safe or
refused, and nothing that was claimed is forgotten. Three kinds of trouble are healed here:

- the broker can't be reached: settle again, with back-off and jitter, until it can (settling is
  guarded by the lease, so twice is once);
- the reply to a claim was lost: messages may be leased to us that we never saw. As soon as nothing
  runs here, this identity is retired, which gives all of them back, and a new epoch begins;
- a sweep gave us up (``LeaseLost``): what we hold runs elsewhere; drop it and begin a new epoch.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from umbel.model.clock import monotonic_s
from umbel.model.errors import LeaseLost, OperationalError
from umbel.model.join import JoinClosing
from umbel.model.lease import Lease
from umbel.model.settlement import Settlement
from umbel.ports.engine import Pair
from umbel.worker.revoked import Revoked
from umbel.worker.waiting import readable

logger = logging.getLogger(__name__)

Found = TypeVar("Found")

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 5.0
# How long a stopping child goes on trying to settle on a broker that is away. What is left then is
# recovered, and runs again, when the broker is back.
STOP_PATIENCE_S = 10.0


class Identity(Protocol):
    """Names the consumer; a worker's ``Slot``."""

    def open_epoch(self) -> int: ...

    def consumer(self, worker: str) -> str: ...


class Consumer:
    """Claims and settles for one child."""

    def __init__(
        self,
        pair: Pair,
        identity: Identity,
        *,
        worker: str,
        queues: Sequence[str],
        lease_s: float,
        wake_fd: int,
        revoked: Revoked,
        is_stopping: Callable[[], bool],
    ) -> None:
        if pair.broker is None:
            raise ValueError("a worker needs a broker")
        self._broker = pair.broker
        self._store = pair.store
        self._is_atomic = pair.is_atomic or pair.store is None
        self._identity = identity
        self._worker = worker
        self._queues = list(queues)
        self._lease_s = lease_s
        self._wake_fd = wake_fd
        self._revoked = revoked
        self._is_stopping = is_stopping
        # A claim may have leased messages that we never saw: retire when nothing runs.
        self._is_doubtful = False
        self.name = ""

    def enlist(self) -> None:
        """Begin a new epoch."""
        self._identity.open_epoch()
        self.name = self._identity.consumer(self._worker)
        self._through_trouble(lambda: self._broker.enlist(self.name, self._lease_s))
        self._is_doubtful = False

    def exchange(
        self,
        settlements: Sequence[Settlement],
        limit: int,
        *,
        holding: int = 0,
        waits: bool = False,
    ) -> list[Lease]:
        """Settle, and claim up to ``limit``. ``holding``: leases that are kept meanwhile.

        ``waits``: where nothing is found, ``idle`` is called next.
        Raises ``LeaseLost`` after a new epoch has begun; everything held is to be dropped then.
        """
        try:
            return self._exchange(settlements, limit, holding, waits)
        except LeaseLost:
            self._start_anew()
            raise

    def _start_anew(self) -> None:
        logger.warning("the lease of %s was lost: what it held runs elsewhere", self.name)
        self.enlist()

    def _exchange(
        self, settlements: Sequence[Settlement], limit: int, holding: int, waits: bool
    ) -> list[Lease]:
        if self._is_doubtful and limit:
            if holding:
                limit = 0
            else:
                self._through_trouble(lambda: self._settle_only(settlements))
                settlements = ()
                self._through_trouble(lambda: self._broker.retire(self.name))
                self.enlist()
        try:
            leases = self._cycle(settlements, limit, waits)
        except OperationalError as error:
            self._is_doubtful = True
            logger.warning("broker trouble: %s; trying again", error)
            self._through_trouble(lambda: self._settle_only(settlements), is_told=True)
            return []
        if self._revoked.is_outdated:
            self._through_trouble(self._revoked.learn)
        return leases

    def run_ahead(self, settlement: Settlement) -> Lease | None:
        """Send what ended, and lease its successor; ``confirm`` before anything else is asked.

        None where that can't be; then nothing was sent.
        """
        if not self._is_atomic or self._is_doubtful:
            return None
        return self._broker.run_ahead(self.name, settlement, self._queues)

    def confirm(self) -> bool:
        """Whether the settlement counted, and what was leased by ``run_ahead`` is ours.

        Raises ``LeaseLost`` as ``exchange`` does.
        """
        found: list[bool] = []
        try:
            # The same cycle again and again: it is numbered, and carried out once.
            self._through_trouble(lambda: found.append(self._broker.confirm()))
        except LeaseLost:
            self._start_anew()
            raise
        if self._revoked.is_outdated:
            self._through_trouble(self._revoked.learn)
        if not found[0]:
            logger.warning(
                "a settlement of %s was refused: it had been lost or settled; "
                "what was run behind it counts for nothing",
                self.name,
            )
        return found[0]

    def read(self, step: Callable[[], Found]) -> Found:
        """Read what a settlement needs, however long its server is away."""
        found: list[Found] = []
        self._through_trouble(lambda: found.append(step()))
        return found[0]

    def idle(self, timeout_s: float) -> bool:
        """Wait until there may be work (then True), or the wake pipe is written to."""
        has_work = False
        try:
            has_work = self._broker.wait(self._queues, timeout_s, self._wake_fd)
        except OperationalError as error:
            logger.warning("broker trouble: %s; trying again", error)
            self._through_trouble(lambda: self._broker.renew([self.name], self._lease_s), True)
        self.clear_wake()
        return has_work

    def sleep_on(self, fd: int) -> None:
        """Wait until a sibling lets us watch, or the wake pipe is written to."""
        readable([fd, self._wake_fd], None)
        self.clear_wake()

    def clear_wake(self) -> None:
        """Empty the wake pipe; the reason for the wake is found by looking."""
        try:
            while len(os.read(self._wake_fd, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def set_queues(self, queues: Sequence[str]) -> None:
        """Consume these from now on."""
        self._queues = list(queues)

    def retire(self) -> None:
        """Give back everything and leave."""
        self._through_trouble(lambda: self._broker.retire(self.name))

    def _cycle(self, settlements: Sequence[Settlement], limit: int, waits: bool) -> list[Lease]:
        closes: list[Sequence[JoinClosing]] = []
        if not self._is_atomic:
            closes = [settlement.closes for settlement in settlements]
            settlements = [self._with_store_first(settlement) for settlement in settlements]
        settled, leases = self._broker.cycle(
            self.name, settlements, self._queues, limit, waits=waits
        )
        for settlement, was_ours in zip(settlements, settled, strict=True):
            if not was_ours:
                logger.warning(
                    "settlement of lease %s of %s was refused: it had been lost or settled",
                    settlement.token,
                    self.name,
                )
        self._close_joins(
            [
                closing
                for ours, all_of_it in zip(settled, closes, strict=False)
                if ours
                for closing in all_of_it
            ]
        )
        return leases

    def _close_joins(self, closes: Sequence[JoinClosing]) -> None:
        """On another server: after the body was sent, and by who has sent it.

        A closed join has no parts any more, so closed before, and the process killed in between,
        it would never be sent. Not closed, it expires.
        """
        if not closes or self._store is None:
            return
        try:
            self._store.apply((), closes=closes)
        except OperationalError as error:
            logger.warning("a chord that has been joined is not forgotten at once: %s", error)

    def _settle_only(self, settlements: Sequence[Settlement]) -> None:
        if settlements:
            self._cycle(settlements, 0, waits=False)

    def _with_store_first(self, settlement: Settlement) -> Settlement:
        # Two servers: the record and the join first, then follow-ups and acknowledgement in one
        # step. A crash between repeats the task; the join counts a part once. What is joined is
        # closed last.
        if self._store is None:
            return settlement
        claims = self._store.apply(
            settlement.documents,
            settlement.opens,
            settlement.parts,
            settlement.grows,
        )
        return settlement._replace(
            documents=(),
            opens=(),
            parts=(),
            grows=(),
            closes=(),
            messages=settlement.messages + tuple(claims),
        )

    def _through_trouble(self, step: Callable[[], object], is_told: bool = False) -> None:
        pause_s = FIRST_PAUSE_S
        stop_at: float | None = None
        while True:
            try:
                step()
            except OperationalError as error:
                if not is_told:
                    logger.warning("broker trouble: %s; trying again", error)
                    is_told = True
            else:
                return
            if self._is_stopping():
                stop_at = stop_at or monotonic_s() + STOP_PATIENCE_S
                if monotonic_s() >= stop_at:
                    raise OperationalError(
                        "the broker stayed away while this child was stopping; "
                        "what it held is recovered when the broker is back"
                    )
                readable([], pause_s)
            else:
                readable([self._wake_fd], pause_s * random.uniform(0.5, 1.0))
                self.clear_wake()
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
