"""A small Django project, made as the guides of Django and Celery say."""

from bookshop.celery import app as celery_app

__all__ = ["celery_app"]
