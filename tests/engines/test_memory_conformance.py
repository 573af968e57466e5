"""Memory keeps every promise of the doors that one process can ask for."""

import pytest

pytest.register_assert_rewrite("umbel.testing.conformance")

from umbel.engines.memory.broker import MemoryBroker  # noqa: E402
from umbel.engines.memory.house import House  # noqa: E402
from umbel.engines.memory.store import MemoryStore  # noqa: E402
from umbel.engines.placing import Steps  # noqa: E402
from umbel.model.clock import unix_s  # noqa: E402
from umbel.ports.engine import Pair  # noqa: E402
from umbel.testing.conformance import EngineCases, Harness  # noqa: E402


class MemoryHarness(Harness):
    """A house of its own for each case, and a clock that can be put forward."""

    def __init__(self):
        super().__init__()
        self._house = House(self.now)
        self._ahead_s = 0.0

    def connect(self, *, is_atomic):
        broker = MemoryBroker("memory://", self._house, Steps(), keeps_results=is_atomic)
        return Pair(broker, MemoryStore("memory://", self._house), is_atomic)

    def now(self):
        return unix_s() + self._ahead_s

    def advance(self, seconds):
        self._ahead_s += seconds


@pytest.fixture
def engine():
    harness = MemoryHarness()
    yield harness
    harness.close()


class TestMemory(EngineCases):
    pass
