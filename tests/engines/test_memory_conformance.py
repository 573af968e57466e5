"""Memory keeps every promise of the doors that one process can ask for."""

import pytest

from umbel.engines.memory.broker import MemoryBroker
from umbel.engines.memory.house import House
from umbel.engines.memory.store import MemoryStore
from umbel.engines.placing import Steps
from umbel.model.clock import unix_s
from umbel.ports.engine import Pair
from umbel.testing.conformance import EngineCases, Harness


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
