"""TLS to Redis: what is checked, and what is said where it fails. A proxy speaks it for the run's server."""

from __future__ import annotations

import shutil
import ssl
from typing import TYPE_CHECKING

import pytest
from certificates import Authority, authority
from tls_servers import tls_before

from broadcaster.domain import redis_tls
from broadcaster.reporting.health import Level
from broadcaster.reporting.health_connection import connection
from broadcaster.reporting.health_redis import check_redis
from broadcaster.settings import SettingsError, load_settings
from broadcaster.store.connection import open_store
from broadcaster.store.errors import Unreachable

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.embedded import EmbeddedServer

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("tls-other"), "redis.example", name="other")


@needs_openssl
async def test_a_ca_of_ones_own_by_setting_or_by_url(redis_server: EmbeddedServer, made: Authority) -> None:
    async with tls_before(redis_server.socket_path, made) as port:
        url = address = f"rediss://127.0.0.1:{port}/0"
        by_setting = load_settings(None, redis_url=url, redis_tls_ca=made.ca).redis_address or ""
        for address in (by_setting, f"{url}?ssl_ca_certs={made.ca}"):
            store = await open_store(address)
            assert await store.redis.ping()
            await store.close()
        checks = {check.name: check for check in await check_redis(address, "bc:")}
        assert checks["redis connection"].level is Level.OK
        assert str(made.ca) in checks["redis connection"].found


async def told(port: int, query: str, scheme: str = "rediss") -> str:
    """Return what is said where nothing can be opened: the same by a process and by doctor, in one line."""
    url = f"{scheme}://:hush@127.0.0.1:{port}/0{query}"
    with pytest.raises(Unreachable) as raised:
        await open_store(url)
    (check,) = await check_redis(url, "bc:")
    assert check.level is Level.FAIL
    assert check.found == str(raised.value)
    assert "hush" not in check.found
    assert "\n" not in check.found
    return check.found


@needs_openssl
async def test_whom_it_does_not_trust_it_tells_apart(
    redis_server: EmbeddedServer, made: Authority, other: Authority
) -> None:
    async with tls_before(redis_server.socket_path, made) as port:
        assert "REDIS_TLS_CA" in await told(port, "")
        assert "REDIS_TLS_CA" in await told(port, f"?ssl_ca_certs={other.ca}")
        assert "begins with rediss://" in await told(port, "", "redis")
    async with tls_before(redis_server.socket_path, other) as port:
        assert "for another name" in await told(port, f"?ssl_ca_certs={other.ca}")
        unchecked = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={other.ca}&ssl_check_hostname=false"
        await (await open_store(unchecked)).close()
        assert connection(unchecked).level is Level.WARN


@pytest.mark.slow
@needs_openssl
async def test_a_server_without_tls(redis_server: EmbeddedServer, made: Authority) -> None:
    """It waits for the end of what it takes for a command; so we wait, too."""
    assert "speaks no TLS at this port" in await told(redis_server.port or 0, f"?ssl_ca_certs={made.ca}")


@needs_openssl
async def test_a_certificate_of_ours(redis_server: EmbeddedServer, made: Authority, other: Authority) -> None:
    async with tls_before(redis_server.socket_path, made, clients=ssl.CERT_REQUIRED) as port:
        files = {"redis_url": f"rediss://127.0.0.1:{port}/0", "redis_tls_ca": made.ca}
        with pytest.raises(Unreachable, match="REDIS_TLS_CERT"):
            await open_store(load_settings(None, **files).redis_address or "")
        shown = {"redis_tls_cert": made.certificate, "redis_tls_key": made.key}
        store = await open_store(load_settings(None, **files, **shown).redis_address or "")
        await store.close()
        wrong = {"redis_tls_cert": other.certificate, "redis_tls_key": other.key}
        with pytest.raises(Unreachable):
            await open_store(load_settings(None, **files, **wrong).redis_address or "")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"redis_tls_ca": "/nowhere/ca.pem", "redis_url": "rediss://a"}, "REDIS_TLS_CA must be a file"),
        ({"redis_tls_ca": __file__, "redis_url": "redis://a"}, "REDIS_URL speaks no TLS"),
        ({"redis_tls_ca": __file__}, "REDIS_URL speaks no TLS"),
        ({"redis_tls_cert": __file__, "redis_url": "rediss://a"}, "REDIS_TLS_KEY is not"),
    ],
)
def test_files_that_do_not_fit_are_refused(given: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_settings(None, **given)


@pytest.mark.parametrize(
    ("url", "level", "told"),
    [
        ("unix:///run/redis.sock", Level.OK, "a socket of this machine"),
        ("redis://127.0.0.1:6379/0", Level.OK, "on this machine"),
        ("redis://:pw@[::1]:6379/0", Level.OK, "on this machine"),
        ("redis://redis:6379/0", Level.OK, "not encrypted: whoever"),
        ("redis://10.1.2.3/0", Level.OK, "not encrypted: whoever"),
        ("redis://:pw@redis.example.com:6379", Level.WARN, "not encrypted: whoever"),
        ("redis+sentinel://a:1,[::2]:3/main", Level.WARN, "not encrypted, its sentinels too"),
        ("redis+sentinel://a:1,b/main", Level.OK, "not encrypted, its sentinels too"),
        ("rediss://redis.example.com", Level.OK, "encrypted; its certificate is checked"),
        ("rediss+sentinel://a/main", Level.OK, "encrypted, its sentinels too; its certificate is checked"),
        ("rediss://a?ssl_cert_reqs=none", Level.WARN, "is not checked"),
        ("rediss://a?ssl_check_hostname=False", Level.WARN, "whoever has a certificate of a CA"),
    ],
)
def test_doctor_says_what_is_encrypted(url: str, level: Level, told: str) -> None:
    check = connection(url)
    assert check.level is level, check
    assert told in check.found
    assert "pw" not in check.found


def test_what_the_url_names_itself_stays(tmp_path: Path) -> None:
    files = {"ca": tmp_path / "a b.pem", "certificate": None, "key": None}
    assert redis_tls.with_files("rediss://h/0?ssl_ca_certs=/x", **files) == "rediss://h/0?ssl_ca_certs=/x"
    added = redis_tls.with_files("rediss://h/0?client_name=me", **files)
    assert redis_tls.query_of(added) == {"client_name": "me", "ssl_ca_certs": str(tmp_path / "a b.pem")}
    assert redis_tls.with_files("rediss://h", **dict.fromkeys(files)) == "rediss://h"


def test_the_certificates_name_is_checked_unless_said_otherwise() -> None:
    assert redis_tls.options({}) == {"ssl_check_hostname": True}
    assert redis_tls.options({"ssl_cert_reqs": "none"})["ssl_check_hostname"] is False
    assert redis_tls.options({"ssl_check_hostname": "no", "db": "1"}) == {"ssl_check_hostname": False}
