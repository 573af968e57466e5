"""Settings of the project; the tests name its database, and how long its connections live."""

import os

SECRET_KEY = "only for tests"
USE_TZ = True
TIME_ZONE = "Europe/Lisbon"
INSTALLED_APPS = ["bookshop.orders.apps.OrdersConfig"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["SHOP_DATABASE"],
        "CONN_MAX_AGE": None if os.environ.get("SHOP_KEEPS_CONNECTIONS") else 0,
        "OPTIONS": {"timeout": 20},
    }
}
CELERY_TASK_DEFAULT_QUEUE = "shop"
CELERY_TASK_TRACK_STARTED = True
CELERY_WORKER_CONCURRENCY = 2
