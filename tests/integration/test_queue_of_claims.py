"""Where the claim of a completed chord waits when the child that completed it can't take it."""

import pytest

from umbel import Celery, Exchange, Queue, chord
from umbel.engines.memory.broker import MemoryBroker
from umbel.testing.running import running_worker


@pytest.fixture
def app(request):
    url = f"memory://{request.node.name}"
    app = Celery("claims", broker=url, backend=url, set_as_current=False)
    app.conf.task_queues = [Queue("celery"), Queue("logs", Exchange("logs", "topic"), "a.#")]
    app.task(lambda x: x, name="member")
    app.task(sum, name="body")
    yield app
    app.close()


def test_it_waits_in_the_queue_that_the_last_member_came_by(app, monkeypatch):
    claims = []
    cycle = MemoryBroker.cycle

    def spying(self, consumer, settlements, queues, limit, **options):
        claims.extend(part.claim for settlement in settlements for part in settlement.parts)
        return cycle(self, consumer, settlements, queues, limit, **options)

    monkeypatch.setattr(MemoryBroker, "cycle", spying)
    with running_worker(app):
        member = app.tasks["member"].s(1)
        member.set(exchange="logs", exchange_type="topic", routing_key="a.b")
        result = chord([member, member], app.tasks["body"].s()).apply_async()
        value = result.get(timeout=10)

    assert value == 2
    assert {claim().queue for claim in claims} == {"logs"}
