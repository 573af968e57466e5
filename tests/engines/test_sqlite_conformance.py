"""SQLite keeps every promise of the doors."""

import pytest

from umbel.engines.placing import Steps
from umbel.engines.sqlite.broker import SqliteBroker
from umbel.engines.sqlite.location import location_of
from umbel.engines.sqlite.store import SqliteStore
from umbel.model.clock import unix_s
from umbel.ports.engine import EngineOptions, Pair
from umbel.testing.conformance import CrashCases, EngineCases, Harness


class SqliteHarness(Harness):
    """A file of its own for each case, and a clock that can be put forward."""

    def __init__(self, folder):
        super().__init__()
        self._location = location_of(f"sqlite:///{folder}/umbel.db", EngineOptions())
        self._ahead_s = 0.0

    def connect(self, *, is_atomic):
        broker = SqliteBroker(self._location, Steps(), keeps_results=is_atomic, clock=self.now)
        return Pair(broker, SqliteStore(self._location, clock=self.now), is_atomic)

    def now(self):
        return unix_s() + self._ahead_s

    def advance(self, seconds):
        self._ahead_s += seconds


@pytest.fixture
def engine(tmp_path):
    harness = SqliteHarness(tmp_path)
    yield harness
    harness.close()


class TestSqlite(EngineCases):
    pass


class TestSqliteCrashes(CrashCases):
    pass
