"""Whether what goes to Redis, numbers and texts, can be read on the way."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from broadcaster.domain import sentinel_url
from broadcaster.domain.public_names import is_private
from broadcaster.domain.redis_tls import encrypted, options, query_of
from broadcaster.reporting.health import Check, ok, warn

_NAME: Final = "redis connection"
_HERE: Final = ("localhost", "127.0.0.1", "::1")


def connection(url: str) -> Check:
    """Say what is encrypted on the way to the server, or the sentinels, of a Redis URL."""
    if url.startswith("unix:"):
        return ok(_NAME, "a socket of this machine")
    sentinels = ", its sentinels too" if sentinel_url.under_sentinel(url) else ""
    return _with_tls(query_of(url), sentinels) if encrypted(url) else _plain(_hosts(url), sentinels)


def _hosts(url: str) -> list[str]:
    if sentinel_url.under_sentinel(url):
        return [host for host, _ in sentinel_url.parse(url).hosts]
    return [urlsplit(url).hostname or "localhost"]


def _plain(hosts: list[str], sentinels: str) -> Check:
    if all(host in _HERE for host in hosts):
        return ok(_NAME, "on this machine")
    found = f"not encrypted{sentinels}: whoever is on the way reads numbers and texts"
    if all(is_private(host) for host in hosts):
        return ok(_NAME, f"{found}; in a network of your own that may do")
    return warn(_NAME, found, "Let Redis speak TLS and use rediss://, or keep it in a network of your own.")


def _with_tls(query: dict[str, str], sentinels: str) -> Check:
    if query.get("ssl_cert_reqs") == "none":
        found = f"encrypted{sentinels}, to whoever answers: its certificate is not checked"
        return warn(_NAME, found, "Leave ssl_cert_reqs out of REDIS_URL, and name the CA in REDIS_TLS_CA.")
    if not options(query)["ssl_check_hostname"]:
        found = f"encrypted{sentinels}, to whoever has a certificate of a CA that is trusted"
        return warn(_NAME, found, "Leave ssl_check_hostname out of REDIS_URL.")
    against = f" against {query['ssl_ca_certs']}" if "ssl_ca_certs" in query else ""
    ours = ", and we show one of our own" if "ssl_certfile" in query else ""
    return ok(_NAME, f"encrypted{sentinels}; its certificate is checked{against}{ours}")
