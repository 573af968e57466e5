"""Serializers of your own, and types that JSON is to carry, where programs look for them.

``register`` is kombu's ``kombu.serialization.register``; ``register_type`` is
``kombu.utils.json.register_type``.
"""

from umbel.wire.json_forms import register_type
from umbel.wire.serializers import dumps, loads, register, unregister

__all__ = ["dumps", "loads", "register", "register_type", "unregister"]
