"""Signed tasks on a worker: ours and Celery's are run, unsigned ones are dead letters."""

from __future__ import annotations

import datetime as dt

import celery
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from umbel import Celery, chain, chord
from umbel.model.errors import ImproperlyConfigured, SecurityError
from umbel.testing.running import running_worker
from umbel.wire import serializers


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """The settings of one key, as files."""
    directory = tmp_path_factory.mktemp("keys")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fleet")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    way = serialization.BestAvailableEncryption(b"open sesame")
    (directory / "fleet.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, way)
    )
    (directory / "certs").mkdir()
    (directory / "certs" / "fleet.pem").write_bytes(certificate.public_bytes(pem))
    return {
        "security_key": str(directory / "fleet.key"),
        "security_key_password": b"open sesame",
        "security_certificate": str(directory / "certs" / "fleet.pem"),
        "security_cert_store": str(directory / "certs" / "*.pem"),
        "security_digest": "sha512",
        "task_serializer": "auth",
        "result_serializer": "auth",
        "accept_content": ["auth"],
    }


@pytest.fixture
def signing(redis_url, keys):
    app = Celery("signing", broker=redis_url, backend=redis_url, set_as_current=False)
    app.conf.update(keys)
    app.setup_security()

    @app.task(name="add")
    def add(x, y):
        return x + y

    @app.task(name="total")
    def total(numbers):
        return sum(numbers)

    yield app
    app.close()
    serializers.unregister("auth")


@pytest.mark.redis
def test_signed_workflows_run_and_their_results_are_signed(signing):
    add, total = signing.tasks["add"], signing.tasks["total"]

    with running_worker(signing):
        assert chain(add.s(1, 2), add.s(3)).apply_async().get(timeout=10) == 6
        assert chord([add.s(i, i) for i in range(3)], total.s()).apply_async().get(timeout=10) == 6


@pytest.mark.redis
def test_a_task_that_celery_has_signed_is_run_and_celery_reads_the_result(signing, keys, redis_url):
    theirs = celery.Celery("theirs", broker=redis_url, backend=redis_url, set_as_current=False)
    # Celery's own setup_security takes all other serializers away from the whole process.
    theirs.conf.update(keys)
    theirs.conf.result_accept_content = ["auth"]
    register_celerys_auth(keys)

    with running_worker(signing):
        sent = theirs.send_task("add", (20, 22))

        assert sent.get(timeout=10) == 42


def register_celerys_auth(keys):
    from celery.security.serialization import register_auth

    with open(keys["security_key"]) as key, open(keys["security_certificate"]) as certificate:
        register_auth(
            key.read(),
            keys["security_key_password"],
            certificate.read(),
            keys["security_cert_store"],
            keys["security_digest"],
        )


@pytest.mark.redis
def test_an_unsigned_task_is_a_dead_letter_and_runs_nothing(signing, redis_url):
    outsider = Celery("outsider", broker=redis_url, backend=redis_url, set_as_current=False)

    with running_worker(signing):
        outsider.send_task("add", (1, 2))
        signed = signing.tasks["add"].delay(3, 4)
        assert signed.get(timeout=10) == 7

    (letter,) = signing.dead.list()
    assert "untrusted content of type application/json" in letter.cause
    outsider.close()


def test_settings_under_which_signing_protects_nothing_are_refused(keys, tmp_path):
    app = Celery("loose", broker="memory://", set_as_current=False)
    app.conf.update(keys)

    for wrong in (
        {"accept_content": ["auth", "json"]},
        {"task_serializer": "json"},
        {"security_key": None},
        {"security_cert_store": str(tmp_path)},
    ):
        app.conf.update({**keys, **wrong})
        with pytest.raises(ImproperlyConfigured):
            app.setup_security()
    app.conf.update({**keys, "security_key": str(tmp_path / "none")})
    with pytest.raises(SecurityError, match="can't be read"):
        app.setup_security()


def test_without_keys_the_serializer_says_what_to_call(keys):
    app = Celery("forgotten", broker="memory://forgotten", set_as_current=False)
    app.conf.update(keys)

    with pytest.raises(Exception, match=r"call app\.setup_security\(\)"):
        app.send_task("add")
