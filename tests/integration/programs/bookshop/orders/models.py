"""What the shop keeps."""

from django.db import models


class Order(models.Model):
    """A book that somebody wants."""

    title = models.CharField(max_length=100)
    is_sent = models.BooleanField(default=False)
