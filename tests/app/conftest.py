"""Apps of the tests' own, and a broker that only notes what it is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from umbel import Celery
from umbel.ports import current
from umbel.ports.engine import Pair


@pytest.fixture(autouse=True)
def _no_app_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CELERY_CONFIG_MODULE", "UMBEL_DB"):
        monkeypatch.delenv(name, raising=False)
    yield
    current.set_current_app(None)
    current.set_default_app(None)


@pytest.fixture
def app() -> Celery:
    return Celery("shop", broker="memory://app-tests", backend="memory://app-tests")


class NotingBroker:
    """Stands for a server where a test asks what is sent, or needs it to fail on command."""

    url = "noting://"
    ordered_ids = False

    def __init__(self) -> None:
        self.batches: list[tuple[list[Any], list[Any]]] = []
        self.errors: list[BaseException] = []  # raised by the next publishes, in order

    @property
    def messages(self) -> list[Any]:
        return [message for messages, _ in self.batches for message in messages]

    def publish(self, messages: Any, openings: Any = ()) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.batches.append((list(messages), list(openings)))

    def close(self) -> None:
        pass


@pytest.fixture
def broker(app: Celery, monkeypatch: pytest.MonkeyPatch) -> NotingBroker:
    noting: Any = NotingBroker()
    monkeypatch.setattr(app.connections, "pair", lambda: Pair(noting, None, True))
    return noting
