"""What a command from outside may reach of a worker, and how it answers: values and small verbs.

Made by the supervisor once the app is known. What needs the app is not here: the supervisor must
not wait for it, so a command gives ``FromApp`` and the answer follows when the nursery has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from umbel.model.lamport import LamportClock
from umbel.ports.broker import Broker
from umbel.worker.autoscale import Autoscaler
from umbel.worker.briefing import Briefing
from umbel.worker.orders import OrderBook
from umbel.worker.staff import Staff
from umbel.worker.upkeep import Upkeep


class Verbs(Protocol):
    """What commands may have the supervisor do."""

    def order(self, **changes: Any) -> Any:
        """Change the children's orders. Raises ``ValueError``."""
        ...

    def stop(self, by: str) -> None:
        """Finish what runs, and end."""
        ...

    def beat(self) -> None:
        """Send a heartbeat event, where events are sent."""
        ...

    def restart_pool(self) -> None:
        """Import the app anew, then replace all children."""
        ...


class Desk(NamedTuple):
    """One worker, as its commands see it."""

    node: str
    worker: str  # the id of this run
    started_s: float  # monotonic
    briefing: Briefing
    broker: Broker
    staff: Staff
    upkeep: Upkeep
    orders: OrderBook
    clock: LamportClock
    verbs: Verbs
    autoscaler: Autoscaler | None = None  # where the worker scales itself

    @property
    def queues(self) -> tuple[str, ...]:
        """What is consumed now."""
        ordered = self.orders.read()[1].queues
        return self.briefing.queues if ordered is None else ordered


class FromApp(NamedTuple):
    """An answer that the nursery gives."""

    method: str
    arguments: Mapping[str, Any]
    # What is still to be made of it here; None: it is the answer.
    finish: Callable[[Any], Any] | None = None


class Silence:
    """No answer at all, as for ``shutdown``."""


SILENCE = Silence()
