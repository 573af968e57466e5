"""Redis keeps what every engine promises."""

import time

import pytest

pytest.register_assert_rewrite("umbel.testing.conformance")

from umbel.engines.redis import open_broker, open_pair, open_store  # noqa: E402
from umbel.engines.redis.connection import Connection  # noqa: E402
from umbel.engines.redis.urls import address_of  # noqa: E402
from umbel.model.settlement import Fate, Settlement  # noqa: E402
from umbel.ports.engine import EngineOptions, Pair  # noqa: E402
from umbel.testing.conformance import CrashCases, EngineCases, Harness  # noqa: E402
from umbel.testing.conformance.harness import drain, lease, messages, names, settle  # noqa: E402

pytestmark = pytest.mark.redis

OPTIONS = EngineOptions()


# Time passes for a server when every time that it has noted lies further back.
PASS = """
local function back(key)
  for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    redis.call('ZINCRBY', key, -ARGV[1], member)
  end
end
for db = 0, 1 do
  redis.call('SELECT', db)
  for _, key in ipairs(redis.call('KEYS', '*')) do
    local left = redis.call('PTTL', key)
    if left > 0 then redis.call('PEXPIRE', key, math.ceil(left - ARGV[1] * 1000)) end
    if key == 'umbel:consumers' or string.match(key, '^umbel:due')
      or key == 'umbel:revoked:until' then back(key) end
    if key == 'umbel:swept' then redis.call('SET', key, redis.call('GET', key) - ARGV[1]) end
  end
end
"""


class RedisHarness(Harness):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._passed_s = 0.0

    def now(self) -> float:
        return super().now() + self._passed_s

    def advance(self, seconds: float) -> None:
        connection = Connection(address_of(self._url, OPTIONS))
        connection.command("EVAL", PASS, 0, seconds)
        connection.close()
        self._passed_s += seconds

    def connect(self, *, is_atomic: bool) -> Pair:
        # Another database of the same server: the harder case.
        results = self._url.replace("/0", "/1")
        if is_atomic:
            return open_pair(self._url, results, OPTIONS, OPTIONS)
        return Pair(open_broker(self._url, OPTIONS, None), open_store(results, OPTIONS), False)


@pytest.fixture
def engine(redis_url, redis_server):
    # A worker swept here half a minute ago. Where none ever did, a message that is not due yet goes
    # to the list, as Celery does it, and the child that reads it parks it.
    redis_server.say(f"SET umbel:swept {time.time() - 30}")
    harness = RedisHarness(redis_url)
    yield harness
    harness.close()


class TestRedis(EngineCases, CrashCases):
    def test_a_requeued_message_is_served_last(self, engine: Harness) -> None:
        # Without ``redelivered``: the message stands in Celery's list again, byte for byte as it
        # came, and there is no room beside it for what we know of it.
        broker = engine.open().broker
        broker.enlist("w.0.1", 60)
        broker.publish(messages("a b c"))
        (held,) = lease(broker, "w.0.1", 1)

        settle(broker, "w.0.1", Settlement(held.token, Fate.REQUEUE))

        assert names(drain(broker, "w.0.1")) == "b c a"
