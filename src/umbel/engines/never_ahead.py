"""For brokers in or beside this process: there is no answer to wait for, so nothing runs ahead."""

from __future__ import annotations

from collections.abc import Sequence

from umbel.model.lease import Lease
from umbel.model.settlement import Settlement


class NeverAhead:
    """The part of a broker that settles before a successor begins."""

    def run_ahead(
        self, consumer: str, settlement: Settlement, queues: Sequence[str]
    ) -> Lease | None:
        """None, always."""
        return None

    def confirm(self) -> bool:
        """Never called, because nothing was begun."""
        raise AssertionError("nothing was run ahead")
