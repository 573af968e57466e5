"""Tasks of the shop; this module is found by autodiscovery only."""

import os
import time

from django.db import connection

from bookshop.orders import apps
from bookshop.orders.models import Order
from umbel import shared_task


@shared_task
def send(order_id):
    order = Order.objects.get(pk=order_id)
    order.is_sent = True
    order.save()
    return order.title


@shared_task
def look_at_connection():
    """What the task finds before it uses the database, and what it uses then."""
    found = connection.connection is not None
    Order.objects.count()
    return {
        "pid": os.getpid(),
        "found_one": found,
        "opened_by": apps.opened_by.get(id(connection.connection)),
        "uses": id(connection.connection),
    }


@shared_task
def both_look(path, names):
    """Waits for the others, so that each child has one."""
    (path_of := os.path.join(path, str(os.getpid()))) and open(path_of, "w").close()
    limit = time.monotonic() + 10
    while len(os.listdir(path)) < names and time.monotonic() < limit:
        time.sleep(0.01)
    return look_at_connection.run()
