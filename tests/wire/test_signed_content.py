"""The serializer ``auth`` beside the real Celery's, with keys that are made here."""

from __future__ import annotations

import datetime as dt
from base64 import b64decode, b64encode

import pytest
from celery.security.certificate import Certificate, CertStore
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from umbel.model.errors import ContentDisallowed, DecodeError, ImproperlyConfigured, SecurityError
from umbel.wire import security, serializers
from umbel.wire.security import SEPARATOR, Certificates, Signer

VALUE = [[1, "käse"], {"a": None}, {"callbacks": None, "chain": [{"task": "t"}]}]


def key_and_certificate(name, *, days=10, password=None, key=None):
    """PEM texts of a private key and of a certificate that it has signed itself."""
    key = key or rsa.generate_private_key(public_exponent=65537, key_size=2048)
    full = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Umbel & Söhne"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(full)
        .issuer_name(full)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=30))
        .not_valid_after(now + dt.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    way = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    encoding = serialization.Encoding.PEM
    return (
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, way),
        certificate.public_bytes(encoding),
    )


@pytest.fixture(scope="module")
def alice():
    return key_and_certificate("alice")


@pytest.fixture(scope="module")
def mallory():
    return key_and_certificate("mallory")


def celerys(pair, digest="sha256"):
    """The real Celery's serializer with the same keys."""
    certificate = Certificate(pair[1])
    store = CertStore()
    store.add_cert(certificate)
    return SecureSerializer(PrivateKey(pair[0]), certificate, store, digest, "json")


def signer(pair, *believed, **options):
    return Signer(*pair, Certificates([pem for _, pem in (pair, *believed)]), **options)


@pytest.mark.parametrize("digest", ["sha256", "sha512", "SHA384"])
def test_celery_reads_what_we_sign_and_we_read_what_it_signs(alice, digest):
    ours, theirs = signer(alice, digest=digest), celerys(alice, digest)

    assert theirs.deserialize(ours.encode(VALUE)) == VALUE
    assert ours.decode(theirs.serialize(VALUE)) == VALUE


def test_our_fields_are_those_of_celery(alice):
    ours = b64decode(signer(alice).encode(VALUE)).split(SEPARATOR)
    theirs = b64decode(celerys(alice).serialize(VALUE)).split(SEPARATOR)

    assert ours[0] == theirs[0]  # the signer
    assert ours[2:4] == theirs[2:4] == [b"application/json", b"utf-8"]
    assert ours[4] == theirs[4]  # the body, byte for byte


def test_one_who_is_not_known_is_not_believed(alice, mallory):
    with pytest.raises(SecurityError, match=r"Unknown certificate: .*mallory"):
        signer(alice).decode(signer(mallory).encode(VALUE))


def test_one_signature_is_not_good_for_another_value(alice):
    fields = b64decode(signer(alice).encode([1])).split(SEPARATOR)
    forged = b64encode(SEPARATOR.join([*fields[:4], b"[2]"]))

    with pytest.raises(SecurityError, match="Bad signature"):
        signer(alice).decode(forged)


def test_known_names_do_not_lend_each_other_their_keys(alice, mallory):
    fields = b64decode(signer(mallory).encode([1])).split(SEPARATOR)
    alices = b64decode(signer(alice).encode([1])).split(SEPARATOR)
    forged = b64encode(SEPARATOR.join([alices[0], *fields[1:]]))

    with pytest.raises(SecurityError, match="Bad signature"):
        signer(alice, mallory).decode(forged)


@pytest.mark.parametrize("data", [b"", b"[1]", b"AAAA", b64encode(SEPARATOR * 4), b"\xff\xfe"])
def test_what_is_not_signed_content_is_an_error_of_ours(alice, data):
    with pytest.raises(SecurityError):
        signer(alice).decode(data)


def test_a_signed_pickle_is_decoded_only_where_that_was_allowed(alice):
    pickled = signer(alice, serializer="pickle").encode({1, 2})

    assert signer(alice, allowed=["pickle"]).decode(pickled) == {1, 2}
    with pytest.raises(ContentDisallowed, match="untrusted content"):
        signer(alice).decode(pickled)


def test_keys_that_are_none_are_told_apart(alice):
    expired = key_and_certificate("old", days=-1)
    locked = key_and_certificate("locked", password=b"open sesame")
    elliptic = key_and_certificate("elliptic", key=ec.generate_private_key(ec.SECP256R1()))

    with pytest.raises(SecurityError, match=r"Expired certificate: .*old"):
        signer(expired)
    with pytest.raises(SecurityError, match="Invalid private key"):
        signer(locked)
    with pytest.raises(SecurityError, match="Invalid private key") as caught:
        signer(locked, password="open barley")
    with pytest.raises(SecurityError, match="only RSA keys"):
        signer(elliptic)
    with pytest.raises(SecurityError, match="Duplicate certificate"):
        Certificates([alice[1], alice[1]])
    with pytest.raises(ImproperlyConfigured, match="security_digest is 'sha0'"):
        signer(alice, digest="sha0")
    assert signer(locked, password="open sesame").decode(
        signer(locked, password=b"open sesame").encode(VALUE)
    )
    assert "barley" not in str(caught.value)


def test_registered_it_is_a_serializer_like_others(alice):
    signer(alice).register()
    try:
        encoded = serializers.dumps(VALUE, "auth")

        accept = serializers.content_types(["auth"])
        assert encoded.content_type == security.CONTENT_TYPE
        assert serializers.loads(encoded.data, *encoded[:2], accept) == VALUE
        with pytest.raises(DecodeError, match="SecurityError"):
            serializers.loads(b"W10=", *encoded[:2], accept)
    finally:
        serializers.unregister("auth")
