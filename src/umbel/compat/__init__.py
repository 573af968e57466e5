"""Old names and neighbours: ``import celery`` and ``import kombu`` resolve to umbel."""

from umbel.compat.finder import install_as_celery

__all__ = ["install_as_celery"]
