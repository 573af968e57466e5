"""Sending: in batches, with joins in their place, and again after a lost connection."""

from __future__ import annotations

import json
import timeit
from collections.abc import Iterator
from typing import Any

import pytest

from umbel import Celery
from umbel.app import signals
from umbel.app.publisher import BATCH
from umbel.app.retrying import RetryPolicy, policy_of, with_retries
from umbel.model.call import Call
from umbel.model.errors import EncodeError, OperationalError, PublishOutcomeUnknown
from umbel.model.join import JoinOpening
from umbel.ports.engine import Pair


def calls(number: int) -> Iterator[Call]:
    return (Call("t", (place,), {}, f"id-{place}") for place in range(number))


@pytest.fixture
def task(app: Celery) -> Any:
    return app.task(lambda *args: None, name="t")


def test_batches_are_sent_while_the_calls_are_read(task: Any, app: Celery, broker: Any) -> None:
    read: list[int] = []

    def noticed() -> Iterator[Call]:
        for call in calls(2 * BATCH + 1):
            read.append(len(broker.batches))
            yield call

    app.send(noticed())

    assert [len(messages) for messages, _ in broker.batches] == [BATCH, BATCH, 1]
    assert (read[BATCH - 1], read[BATCH], read[-1]) == (0, 1, 2)
    assert [message.id for message in broker.messages][:2] == ["id-0", "id-1"]


@pytest.mark.parametrize("before", [3, BATCH])
def test_an_opening_goes_with_the_next_call(
    before: int, task: Any, app: Celery, broker: Any
) -> None:
    opening = JoinOpening("g", before + 1)

    app.send([*calls(before), opening, Call("t", (), {}, "last")])

    with_opening = [messages for messages, openings in broker.batches if openings == [opening]]
    assert len(with_opening) == 1
    assert with_opening[0][-1].id == "last"


def test_where_results_are_elsewhere_the_join_is_opened_first(
    task: Any, app: Celery, broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Store:
        url = "elsewhere://"

        def apply(self, documents: Any, opens: Any = (), **_: Any) -> list[Any]:
            order.append(f"opened {opens[0].group_id} after {len(broker.batches)} batches")
            return []

    store: Any = Store()
    monkeypatch.setattr(app.connections, "pair", lambda: Pair(broker, store, False))

    app.send([JoinOpening("g", 1), *calls(1)])

    assert order == ["opened g after 0 batches"]
    assert broker.batches[0][1] == []


def test_a_chord_without_a_result_backend_says_what_is_missing(
    task: Any, app: Celery, broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.connections, "pair", lambda: Pair(broker, None, False))

    with pytest.raises(NotImplementedError, match="set result_backend"):
        app.send([JoinOpening("g", 1), *calls(1)])


def test_a_lost_connection_is_retried(task: Any, app: Celery, broker: Any) -> None:
    broker.errors = [OperationalError("gone"), OperationalError("gone")]

    task.delay()

    assert len(broker.messages) == 1


def test_retries_end_with_the_brokers_own_error(task: Any, app: Celery, broker: Any) -> None:
    app.conf.task_publish_retry_policy = {"max_retries": 2, "interval_step": 0.0}
    broker.errors = [OperationalError(f"redis://host/0 refused {n}") for n in range(9)]

    with pytest.raises(OperationalError, match="redis://host/0 refused 2"):
        task.delay()


def test_a_call_has_its_own_policy(task: Any, app: Celery, broker: Any) -> None:
    def tries(**options: Any) -> int:
        broker.errors = [OperationalError("gone")] * 9
        with pytest.raises(OperationalError):
            task.apply_async(**options)
        return 9 - len(broker.errors)

    assert tries(retry=False) == 1
    assert tries(retry_policy={"max_retries": 1, "interval_step": 0}) == 2
    app.conf.task_publish_retry = False
    assert tries() == 1
    assert tries(retry=True, retry_policy={"max_retries": 1}) == 2


def test_a_publish_whose_outcome_is_unknown_is_never_repeated(
    task: Any, app: Celery, broker: Any
) -> None:
    broker.errors = [PublishOutcomeUnknown("who knows")]

    with pytest.raises(PublishOutcomeUnknown):
        task.delay()

    assert broker.messages == []


def test_pauses_grow_to_their_maximum() -> None:
    policy = policy_of(
        {"interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.4}, RetryPolicy()
    )

    assert [round(policy.pause_s(n), 1) for n in range(4)] == [0.1, 0.3, 0.4, 0.4]
    assert policy.max_retries == 3


def test_no_limit_means_until_it_works() -> None:
    left = [OperationalError("gone")] * 20

    def send() -> None:
        if left:
            raise left.pop()

    with_retries(send, RetryPolicy(max_retries=None, interval_step=0))

    assert left == []


def test_what_can_not_be_written_is_named(task: Any, app: Celery, broker: Any) -> None:
    with pytest.raises(EncodeError, match="set.*call of t"):
        task.delay({1, 2})


def test_receivers_may_change_headers_before_a_publish(task: Any, app: Celery, broker: Any) -> None:
    seen: list[Any] = []

    def before(sender, headers, body, properties, exchange, routing_key, **_):
        headers["trace"] = "abc"
        body[1]["extra"] = 1
        seen.append((sender, routing_key, properties["correlation_id"] == headers["id"]))

    def after(sender, headers, body, **_):
        seen.append((sender, headers["task"], body[0]))

    signals.before_task_publish.connect(before)
    signals.after_task_publish.connect(after, sender="t")
    app.task(lambda **kwargs: None, name="t2").apply_async(kwargs={"a": 1})
    task.delay(7)
    signals.before_task_publish.disconnect(before)
    signals.after_task_publish.disconnect(after, sender="t")

    import base64

    envelope = json.loads(broker.messages[0].raw)
    assert envelope["headers"]["trace"] == "abc"
    assert json.loads(base64.b64decode(envelope["body"]))[1] == {"a": 1, "extra": 1}
    assert seen == [("t2", "celery", True), ("t", "celery", True), ("t", "t", (7,))]


def test_tags_are_unique(task: Any, app: Celery, broker: Any) -> None:
    app.send(calls(3))
    task.apply_async(countdown=1)

    assert len({message.tag for message in broker.messages}) == 4


def test_settings_that_change_change_what_is_sent(task: Any, app: Celery, broker: Any) -> None:
    task.delay()
    app.conf.task_default_queue = "other"
    task.delay()

    assert [message.queue for message in broker.messages] == ["celery", "other"]


def test_a_delay_costs_microseconds_before_it_reaches_the_broker(
    task: Any, app: Celery, broker: Any
) -> None:
    task.delay(1, 2)

    best = min(timeit.repeat(lambda: task.delay(1, 2), number=1000, repeat=7)) / 1000

    assert best < 40e-6  # 9.6 us measured on an idle machine (bench/delay.py)
