"""One connection a thread, none shared with another process."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from umbel import Celery
from umbel.model.errors import ImproperlyConfigured, NotBuiltYet


@pytest.fixture
def filed(tmp_path: Path) -> Any:
    with Celery(
        "shop", broker=f"sqlite:///{tmp_path}/a.db", backend=f"sqlite:///{tmp_path}/a.db"
    ) as app:
        yield app


def test_a_thread_keeps_its_pair_and_shares_it_with_nobody(filed: Celery) -> None:
    pair = filed.connections.pair
    others: list[Any] = []

    def other() -> None:
        others.extend([pair().broker, pair().broker])
        filed.close()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()

    assert pair().broker is pair().broker
    assert others[0] is others[1]
    assert others[0] is not pair().broker


def test_settings_of_other_things_leave_the_pair_alone(filed: Celery) -> None:
    before = filed.connections.pair().broker

    filed.conf.task_always_eager = False

    assert filed.connections.pair().broker is before


def test_another_url_is_another_pair(filed: Celery, tmp_path: Path) -> None:
    before = filed.connections.pair().broker

    filed.conf.broker_url = f"sqlite:///{tmp_path}/b.db"

    assert filed.connections.pair().broker is not before
    assert str(filed.connections.pair().broker.url).endswith("b.db")


def test_a_closed_app_opens_anew(filed: Celery) -> None:
    before = filed.connections.pair().broker

    filed.close()
    filed.close()

    assert filed.connections.pair().broker is not before


def test_a_forked_child_sends_on_a_connection_of_its_own(filed: Celery) -> None:
    task = filed.task(lambda: None, name="t")
    task.delay()

    child = os.fork()
    if child == 0:
        try:
            task.delay()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    task.delay()

    pair = filed.open_pair()
    assert status == 0
    assert pair.broker is not None
    assert pair.broker.depth("celery").ready == 3
    pair.broker.close()


def test_workers_may_read_elsewhere() -> None:
    app = Celery("shop", broker="redis://a/0", broker_read_url="redis://r/0")

    assert app.connections.broker_url() == "redis://a/0"
    assert app.connections.broker_url(reading=True) == "redis://r/0"


@pytest.mark.parametrize(
    ("url", "error", "text"),
    [
        ("reddis://localhost", ImproperlyConfigured, "did you mean redis://"),
        ("amqp://u:hunter2@localhost", NotBuiltYet, "RabbitMQ is not built yet"),
    ],
)
def test_a_url_that_nobody_speaks_is_named(url: str, error: type[Exception], text: str) -> None:
    task = Celery("shop", broker=url).task(lambda: None, name="t")

    with pytest.raises(error, match=text) as raised:
        task.delay()

    assert "hunter2" not in str(raised.value)


def test_a_backend_alone_keeps_messages_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Celery("shop", backend="redis://results/0")

    assert app.connections.broker_url() == f"sqlite:///{tmp_path}/umbel.db"
    assert app.connections.result_url() == "redis://results/0"


def test_parts_of_a_redis_result_backend_make_a_url() -> None:
    app = Celery("shop", broker="redis://b", backend="redis", redis_host="far", redis_db=3)

    assert app.connections.result_url() == "redis://far:6379/3"
