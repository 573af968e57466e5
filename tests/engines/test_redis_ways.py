"""Ways to a server: Unix sockets, TLS, passwords, Sentinel, no hiredis."""

import shutil
import socket
import subprocess
import time

import pytest

from umbel.engines.redis import open_broker, open_pair, resp, same_server
from umbel.model.errors import ImproperlyConfigured, OperationalError
from umbel.model.message import Message
from umbel.ports.engine import EngineOptions

pytestmark = pytest.mark.redis

OPTIONS = EngineOptions()


def message(name: str) -> Message:
    return Message(name, "tasks.any", "q", 0, f"tag-{name}", name.encode())


def works(url: str, options: EngineOptions = OPTIONS) -> bool:
    pair = open_pair(url, url, options, options)
    try:
        pair.broker.publish([message("a")])
        pair.broker.enlist("w.0.1", 60)
        _, leases = pair.broker.cycle("w.0.1", (), ("q",), 5)
        pair.broker.retire("w.0.1")
        pair.broker.purge("q")
        return [one.raw for one in leases] == [b"a"] and pair.store.get(["none"]) == [None]
    finally:
        pair.broker.close()
        pair.store.close()


def test_a_unix_socket(start_redis, tmp_path):
    path = tmp_path / "redis.sock"
    server = start_redis("--unixsocket", str(path))

    assert works(f"redis+socket://{path}?virtual_host=2")
    assert same_server(f"redis+socket://{path}", server.url, OPTIONS, OPTIONS)


def test_a_password_and_a_user(start_redis):
    server = start_redis(
        "--requirepass", "se/cret", "--user", "worker", "on", ">other", "~*", "&*", "+@all"
    )
    where = f"127.0.0.1:{server.port}/1"

    assert works(f"redis://:se%2Fcret@{where}")
    assert works(f"redis://worker:other@{where}")
    for login in ("", ":wrong@"):
        with pytest.raises(OperationalError) as caught:
            works(f"redis://{login}{where}")
        assert "wrong" not in str(caught.value).replace("WRONGPASS", "")


def test_the_same_server_is_known_by_itself(redis_server, redis_url, start_redis):
    other = start_redis()
    by_name = redis_url.replace("127.0.0.1", "localhost").replace("/0", "/3")

    assert same_server(redis_url, by_name, OPTIONS, OPTIONS)
    assert not same_server(redis_url, other.url, OPTIONS, OPTIONS)
    assert not open_pair(redis_url, other.url, OPTIONS, OPTIONS).is_atomic


def test_tls_with_and_without_a_check(start_redis, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on PATH")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start_redis(
        *("--tls-port", str(port), "--tls-cert-file", str(tmp_path / "cert.pem")),
        *("--tls-key-file", str(tmp_path / "key.pem"), "--tls-auth-clients", "no"),
        *("--tls-ca-cert-file", str(tmp_path / "cert.pem")),
    )
    where = f"rediss://127.0.0.1:{port}/0"

    assert works(f"{where}?ssl_cert_reqs=required&ssl_ca_certs={tmp_path / 'cert.pem'}")
    assert works(f"{where}?ssl_cert_reqs=CERT_NONE")
    with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
        works(where, EngineOptions(connect_timeout_s=0.5))
    with pytest.raises(ImproperlyConfigured, match="ssl_cert_reqs is 'maybe'"):
        works(f"{where}?ssl_cert_reqs=maybe")


def test_tls_waits_and_wakes(start_redis, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not on PATH")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-subj", "/CN=x"],
        check=True,
        capture_output=True,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    plain = start_redis(
        *("--tls-port", str(port), "--tls-cert-file", str(tmp_path / "cert.pem")),
        *("--tls-key-file", str(tmp_path / "key.pem"), "--tls-auth-clients", "no"),
        *("--tls-ca-cert-file", str(tmp_path / "cert.pem")),
    )
    broker = open_broker(f"rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none", OPTIONS, None)
    other = open_broker(plain.url, OPTIONS, None)
    broker.enlist("w.0.1", 60)
    broker.cycle("w.0.1", (), ("q",), 5)

    quiet = broker.wait(("q",), 0.1, None)
    other.publish([message("a")])

    assert not quiet
    assert broker.wait(("q",), 5, None)
    broker.close()
    other.close()


@pytest.mark.slow
def test_sentinel_leads_to_the_master_and_to_the_next_one(start_redis):
    master = start_redis()
    replica = start_redis("--replicaof", "127.0.0.1", str(master.port))
    config = master.directory / "sentinel.conf"
    config.write_text(
        f"sentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds mymaster 300\n"
        "sentinel failover-timeout mymaster 2000\n"
    )
    sentinel = start_redis("--sentinel", config=config)
    options = EngineOptions(transport={"master_name": "mymaster"}, connect_timeout_s=20.0)
    url = f"sentinel://127.0.0.1:{sentinel.port}/0"
    broker = open_broker(url, options, None)
    broker.publish([message("a")])
    _until(lambda: b"$1\r\na" in replica.say("LRANGE q 0 -1"))
    _until(lambda: b"slaves=1" in sentinel.say("INFO sentinel"))

    master.kill()
    broker.publish([message("b")])

    assert broker.peek("q", 9) == [b"a", b"b"]
    assert b"$1\r\nb" in replica.say("LRANGE q 0 -1")
    broker.close()


def test_a_master_that_becomes_a_replica_is_left(start_redis):
    first, second = start_redis(), start_redis()
    urls = f"{first.url};{second.url}"
    broker = open_broker(urls, EngineOptions(connect_timeout_s=3.0), None)
    broker.publish([message("a")])

    first.say(f"REPLICAOF 127.0.0.1 {second.port}")
    broker.publish([message("b")])

    assert b"$1\r\nb" in second.say("LRANGE q 0 -1")
    broker.close()


def test_without_hiredis(redis_server, redis_url, monkeypatch):
    monkeypatch.setattr(resp, "pack", resp.plain_pack)
    monkeypatch.setattr(resp, "new_reader", resp.PlainReader)
    monkeypatch.setattr(resp, "ReplyError", resp.PlainReplyError)
    monkeypatch.setattr(resp, "Push", resp.PlainPush)

    assert works(redis_url)
    broker = open_broker(redis_url, OPTIONS, None)
    broker.enlist("w.0.1", 60)
    broker.cycle("w.0.1", (), ("q",), 5)
    other = open_broker(redis_url, OPTIONS, None)
    other.publish([message("a")])
    assert broker.wait(("q",), 5, None)
    redis_server.say("SET broken 1")
    with pytest.raises(OperationalError, match="WRONGTYPE"):
        other.publish([message("a")._replace(queue="broken")])
    broker.close()
    other.close()


def test_a_cluster_is_refused_by_name(start_redis):
    server = start_redis("--cluster-enabled", "yes")

    with pytest.raises(NotImplementedError, match="Redis Cluster"):
        works(server.url)


def _until(is_so, within_s=10.0):
    limit = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < limit
        time.sleep(0.02)
