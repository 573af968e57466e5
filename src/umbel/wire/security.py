"""Signed content: the serializer ``auth`` (``application/data``), as Celery writes and reads it.

    base64( base64(signer) SEP base64(signature) SEP content type SEP content encoding SEP body )

SEP is the bytes 0 and 1. ``body`` is the value in an inner serializer; the signature is RSA-PSS of
it (MGF1, the longest salt, all over one digest). The signer is the name of its certificate: the
values of the issuer's name, and the serial number, between spaces. What is read is verified before
it is decoded, and decoded only by the serializers that were allowed when the keys were set: a
signature says who wrote a pickle, not that it may run code here.
https://docs.celeryq.dev/en/stable/userguide/security.html#message-signing
"""

from __future__ import annotations

import binascii
import importlib
from base64 import b64decode, b64encode
from collections.abc import Container, Iterable
from typing import Any

from umbel.model.clock import utc_now
from umbel.model.errors import ImproperlyConfigured, SecurityError
from umbel.wire import serializers

NAME = "auth"
CONTENT_TYPE = "application/data"
SEPARATOR = b"\x00\x01"
DIGEST = "sha256"
_FIELDS = 5


class Certificates:
    """Whose signatures are believed, by the names of their certificates (PEM)."""

    def __init__(self, pems: Iterable[bytes]) -> None:
        x509 = _cryptography("x509")
        self._keys: dict[str, Any] = {}
        for pem in pems:
            certificate = _certificate(x509, pem)
            name = name_of(certificate)
            if _has_expired(certificate):
                raise SecurityError(f"Expired certificate: {name!r}")
            if name in self._keys:
                raise SecurityError(f"Duplicate certificate: {name!r}")
            self._keys[name] = certificate.public_key()

    def verify(self, signer: str, signature: bytes, body: bytes, digest: str) -> None:
        """Raise ``SecurityError`` unless ``signer`` is known here and has signed ``body``."""
        key = self._keys.get(signer)
        if key is None:
            raise SecurityError(f"Unknown certificate: {signer!r}")
        padding, hashed = _scheme(digest)
        invalid = _cryptography("exceptions").InvalidSignature
        try:
            key.verify(signature, body, padding, hashed)
        except invalid:
            raise SecurityError(
                f"Bad signature: it is not by {signer!r}, or of something else"
            ) from None

    def __repr__(self) -> str:
        return f"<Certificates: {sorted(self._keys)!r}>"


class Signer:
    """One private key with its certificate, and whom it believes."""

    def __init__(
        self,
        key: bytes,
        certificate: bytes,
        believed: Certificates,
        *,
        password: bytes | str | None = None,
        digest: str = DIGEST,
        serializer: str = "json",
        allowed: Iterable[str] = (),
    ) -> None:
        _scheme(digest)
        self._key = _private_key(key, password)
        own = _certificate(_cryptography("x509"), certificate)
        self.name = name_of(own)
        self._believed = believed
        self._digest = digest
        self._serializer = serializer
        self._allowed: Container[str] = serializers.content_types(["json", serializer, *allowed])

    def encode(self, value: Any) -> str:
        """A value, signed. Raises ``EncodeError``."""
        content_type, content_encoding, body = serializers.dumps(value, self._serializer)
        padding, hashed = _scheme(self._digest)
        fields = (
            b64encode(self.name.encode()),
            b64encode(self._key.sign(body, padding, hashed)),
            content_type.encode(),
            content_encoding.encode(),
            body,
        )
        return b64encode(SEPARATOR.join(fields)).decode("ascii")

    def decode(self, data: bytes | str) -> Any:
        """The value of signed content. Raises ``SecurityError``, ``DecodeError``."""
        try:
            fields = b64decode(data).split(SEPARATOR, _FIELDS - 1)
            signer, signature = b64decode(fields[0]).decode(), b64decode(fields[1])
            content_type, content_encoding = fields[2].decode(), fields[3].decode()
            body = fields[4]
        except (binascii.Error, IndexError, ValueError) as error:
            raise SecurityError(f"not signed content: {error}") from None
        self._believed.verify(signer, signature, body, self._digest)
        return serializers.loads(body, content_type, content_encoding, self._allowed)

    def register(self) -> None:
        """Be the serializer ``auth`` of this process, in place of an earlier one."""
        serializers.register(NAME, self.encode, self.decode, CONTENT_TYPE, "utf-8")

    def __repr__(self) -> str:
        return f"<Signer: {self.name!r}>"


def name_of(certificate: Any) -> str:
    """What a signature calls its certificate."""
    issuer = " ".join(str(attribute.value) for attribute in certificate.issuer)
    return f"{issuer} {certificate.serial_number}"


def _cryptography(module: str) -> Any:
    try:
        return importlib.import_module(f"cryptography.{module}")
    except ImportError:
        raise ImproperlyConfigured(
            "the auth serializer needs cryptography: pip install 'umbel[security]'"
        ) from None


def _scheme(digest: str) -> tuple[Any, Any]:
    """The padding and the hash of signatures."""
    hashes = _cryptography("hazmat.primitives.hashes")
    padding = _cryptography("hazmat.primitives.asymmetric.padding")
    kind = getattr(hashes, str(digest).upper(), None)
    if kind is None:
        raise ImproperlyConfigured(
            f"security_digest is {digest!r}, which cryptography does not know; sha256 is usual"
        )
    hashed = kind()
    return padding.PSS(mgf=padding.MGF1(hashed), salt_length=padding.PSS.MAX_LENGTH), hashed


def _certificate(x509: Any, pem: bytes) -> Any:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise SecurityError(f"Invalid certificate: {error}") from None
    rsa = _cryptography("hazmat.primitives.asymmetric.rsa")
    if not isinstance(certificate.public_key(), rsa.RSAPublicKey):
        raise SecurityError("Invalid certificate: only RSA keys are supported")
    return certificate


def _has_expired(certificate: Any) -> bool:
    return bool(utc_now() >= certificate.not_valid_after_utc)


def _private_key(pem: bytes, password: bytes | str | None) -> Any:
    serialization = _cryptography("hazmat.primitives.serialization")
    rsa = _cryptography("hazmat.primitives.asymmetric.rsa")
    secret = password.encode() if isinstance(password, str) else password
    try:
        key = serialization.load_pem_private_key(pem, password=secret)
    except (ValueError, TypeError) as error:
        raise SecurityError(f"Invalid private key: {error}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SecurityError("Invalid private key: only RSA keys are supported")
    return key
