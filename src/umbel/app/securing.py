"""``app.setup_security()``: keys and certificates from files, for the serializer ``auth``.

It refuses settings under which signing would protect nothing: tasks that are sent unsigned, or
unsigned content that is accepted beside signed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from glob import glob
from typing import Any

from umbel.model.errors import ImproperlyConfigured, SecurityError
from umbel.wire.security import DIGEST, NAME, Certificates, Signer


def setup_security(
    allowed_serializers: Iterable[str] | None = None,
    key: str | None = None,
    key_password: bytes | str | None = None,
    cert: str | None = None,
    store: str | None = None,
    digest: str | None = None,
    serializer: str = "json",
    app: Any = None,
) -> None:
    """Sign what this process sends and verify what it reads, with RSA keys in PEM files.

    ``key``, ``cert`` and ``store`` are paths, by default the settings ``security_key``,
    ``security_certificate`` and ``security_cert_store`` (a directory, or a pattern). Below the
    signature lies ``serializer``; ``allowed_serializers`` are read there too. Raises
    ``ImproperlyConfigured``, and ``SecurityError`` where a file is not what it should be.
    """
    if app is None:
        from umbel.ports.current import current_app

        app = current_app()
    conf = app.conf
    if conf.task_serializer != NAME or list(conf.accept_content or ()) != [NAME]:
        raise ImproperlyConfigured(
            f"messages are signed with task_serializer = {NAME!r}, and verified where nothing else"
            f" is accepted: accept_content = [{NAME!r}]; found {conf.task_serializer!r} and"
            f" {conf.accept_content!r}"
        )
    paths = {
        "security_key": key or conf.security_key,
        "security_certificate": cert or conf.security_certificate,
        "security_cert_store": store or conf.security_cert_store,
    }
    missing = [name for name, path in paths.items() if not path]
    if missing:
        raise ImproperlyConfigured(f"signing needs the settings {', '.join(missing)}")
    password = key_password if key_password is not None else conf.security_key_password
    Signer(
        _content("security_key", paths["security_key"]),
        _content("security_certificate", paths["security_certificate"]),
        Certificates(_store(paths["security_cert_store"])),
        password=password,
        digest=digest or conf.security_digest or DIGEST,
        serializer=serializer,
        allowed=allowed_serializers or (),
    ).register()


def _store(path: str) -> list[bytes]:
    pattern = os.path.join(path, "*") if os.path.isdir(path) else path
    found = [_content("security_cert_store", name) for name in sorted(glob(pattern))]
    if not found:
        raise ImproperlyConfigured(f"security_cert_store {path!r} holds no certificate")
    return found


def _content(setting: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SecurityError(f"{setting}: {path!r} can't be read: {error.strerror}") from None
