"""The URL of a Redis under Sentinel: what it says, and what is wrong with one that can't be used."""

from __future__ import annotations

from typing import Any

import pytest

from broadcaster.domain.sentinel_url import SentinelAddress, parse, under_sentinel
from broadcaster.settings import SettingsError, load_settings
from broadcaster.store.connection import client


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+sentinel://a/main", SentinelAddress((("a", 26379),), "main")),
        (
            "redis+sentinel://a:1,b:2,[::1]:3/main/4",
            SentinelAddress((("a", 1), ("b", 2), ("::1", 3)), "main", 4),
        ),
        ("rediss+sentinel://a:1/main", SentinelAddress((("a", 1),), "main", tls=True)),
        (
            "redis+sentinel://me:p%40ss@a:1/main?sentinel_password=other&client_name=bc",
            SentinelAddress(
                (("a", 1),),
                "main",
                options={"client_name": "bc", "username": "me", "password": "p@ss"},
                sentinel_options={"password": "other"},
            ),
        ),
    ],
)
def test_what_it_says(url: str, expected: SentinelAddress) -> None:
    assert under_sentinel(url)
    assert parse(url) == expected


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis+sentinel://a:1", "must name the primary"),
        ("redis+sentinel://a:1/main/x", "must name the primary"),
        ("redis+sentinel://a:one/main", "host:port"),
        ("redis+sentinel://:pw@/main", "host:port"),
        ("redis+sentinel://a:1,,b:2/main", "host:port"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as raised:
        load_settings(None, redis_url=url)
    assert "pw" not in str(raised.value)


def test_intents_want_a_replica_only_under_sentinel() -> None:
    assert load_settings(None).replicas_to_confirm == 0
    assert load_settings(None, redis_url="redis://a").replicas_to_confirm == 0
    assert load_settings(None, redis_url="redis+sentinel://a/main").replicas_to_confirm == 1
    both = load_settings(None, redis_url="redis+sentinel://a/main", confirm_replicas=2)
    assert both.replicas_to_confirm == 2


def test_its_password_is_in_no_repr() -> None:
    address = parse("redis+sentinel://:hush@a/main?sentinel_password=hush")
    assert "hush" not in repr(address)
    assert "hush" not in repr(client("redis+sentinel://:hush@a/main"))


def test_what_is_said_of_tls_is_said_of_the_sentinels_too_unless_they_are_named() -> None:
    url = "rediss+sentinel://a/main?ssl_ca_certs=/ca&ssl_check_hostname=no&sentinel_ssl_ca_certs=/other"
    pool: Any = client(url).connection_pool
    assert pool.connection_kwargs["ssl_ca_certs"] == "/ca"
    assert pool.connection_kwargs["ssl_check_hostname"] is False
    (sentinel,) = pool.sentinel_manager.sentinels
    told = sentinel.connection_pool.connection_kwargs
    assert (told["ssl_ca_certs"], told["ssl_check_hostname"]) == ("/other", False)
    plain: Any = client("rediss://a?ssl_ca_certs=/ca").connection_pool
    assert plain.connection_kwargs["ssl_check_hostname"] is True
