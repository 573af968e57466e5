"""Loggers for tasks: ``from umbel.log import get_task_logger`` (Celery's ``celery.utils.log``)."""

from umbel.app.logs import get_task_logger

__all__ = ["get_task_logger"]
