"""TLS contexts from Celery's settings for Redis. Imported only where TLS is asked for."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from typing import Any

from umbel.model.errors import ImproperlyConfigured

logger = logging.getLogger(__name__)

_REQUIREMENTS = {
    "required": ssl.CERT_REQUIRED,
    "optional": ssl.CERT_OPTIONAL,
    "none": ssl.CERT_NONE,
}


def context_of(given: Mapping[str, Any]) -> ssl.SSLContext:
    """A context for a client. Certificates are checked unless ``cert_reqs`` says otherwise."""
    requirement = _requirement(given.get("cert_reqs", "required"))
    context = ssl.create_default_context(cafile=given.get("ca_certs"))
    check = given.get("check_hostname", requirement is ssl.CERT_REQUIRED)
    if isinstance(check, str):
        check = check.lower() in ("1", "true", "yes", "on")
    context.check_hostname = bool(check) and requirement is ssl.CERT_REQUIRED
    context.verify_mode = requirement
    if requirement is not ssl.CERT_REQUIRED:
        logger.warning(
            "ssl_cert_reqs is %s: whoever can come between can read and change everything",
            requirement.name,
        )
    if given.get("certfile"):
        context.load_cert_chain(given["certfile"], given.get("keyfile"))
    if given.get("ciphers"):
        context.set_ciphers(given["ciphers"])
    return context


def _requirement(given: Any) -> ssl.VerifyMode:
    if isinstance(given, str):
        found = _REQUIREMENTS.get(given.lower().removeprefix("cert_"))
        if found is None:
            raise ImproperlyConfigured(
                f"ssl_cert_reqs is {given!r}; wanted CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE"
            )
        return found
    if given is None:
        return ssl.CERT_NONE
    return ssl.VerifyMode(given)
