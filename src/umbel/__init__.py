"""umbel: a distributed task queue that speaks Celery's language."""

__version__ = "0.1.0"
