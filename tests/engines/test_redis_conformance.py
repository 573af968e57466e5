"""Redis keeps what every engine promises."""

import time

import pytest

pytest.register_assert_rewrite("umbel.testing.conformance")

from umbel.engines.redis import open_broker, open_pair, open_store  # noqa: E402
from umbel.model.settlement import Fate, Settlement  # noqa: E402
from umbel.ports.engine import EngineOptions, Pair  # noqa: E402
from umbel.testing.conformance import CrashCases, EngineCases, Harness  # noqa: E402
from umbel.testing.conformance.harness import drain, lease, messages, names, settle  # noqa: E402

pytestmark = pytest.mark.redis

OPTIONS = EngineOptions()


class RedisHarness(Harness):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

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
