"""Queues that were made with kombu's own classes, where kombu is installed beside umbel."""

import pytest

from umbel import Celery


def test_a_queue_of_kombus_own_class_is_understood():
    kombu = pytest.importorskip("kombu")
    app = Celery("shop", set_as_current=False)

    app.conf.task_queues = [kombu.Queue("mail", kombu.Exchange("mail"), routing_key="mail.send")]

    assert app.routing.queues["mail"].routing_key == "mail.send"
