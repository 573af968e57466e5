"""The app's configuration: it uses the database while Django is set up, which is not rare."""

import os

from django.apps import AppConfig
from django.core.checks import Warning, register
from django.db import connection
from django.db.backends.signals import connection_created

# Which process has opened which connection.
opened_by = {}


def note(connection, **_signal):
    opened_by[id(connection.connection)] = os.getpid()


def warn_of_the_weather(**_facts):
    return [Warning("it may rain", id="orders.W001")]


class OrdersConfig(AppConfig):
    """Orders."""

    name = "bookshop.orders"

    def ready(self):
        connection_created.connect(note)
        register(warn_of_the_weather)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
