"""How the HTTP engine of the send path is set up: one place, so that what is proven is what is used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pyreqwest.client import ClientBuilder
from pyreqwest.proxy import ProxyBuilder


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds per phase.

    `connect` covers name, socket and TLS. `read` is the longest wait for the next bytes of the answer:
    Twilio gives up on a request itself after about 26 s, so 35 turn doubt into answers. `total` runs from
    connecting to the last byte. `pool` is the wait for one of the connections. `pool_idle` is how long an
    unused one is kept: shorter than Twilio's front door keeps it, so that few requests meet a closing one.
    `unacknowledged` is how long the system (Linux only) goes on to send again what nobody has acknowledged,
    also after we gave up. Without a bound it does so for up to 102 s: what was in doubt, looked for and sent
    anew meanwhile would arrive as well. It must be less than what doubt waits for (`settle_seconds`).

    Raises ValueError unless connect < read < total: the engine starts all three clocks at once, and only the
    connect clock's end proves that nothing was sent.
    """

    connect: float = 5.0
    read: float = 35.0
    total: float = 60.0
    pool: float = 5.0
    pool_idle: float = 30.0
    unacknowledged: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.connect < self.read < self.total:
            raise ValueError(f"timeouts must grow: 0 < connect < read < total, not {self}")


DEFAULT_TIMEOUTS: Final = Timeouts()


def client_builder(
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    *,
    concurrency: int,
    proxy: str | None = None,
    root_pem: bytes | None = None,
) -> ClientBuilder:
    """Return a builder for HTTP/1.1 over at most `concurrency` connections.

    It follows no redirect (a 307 would post again), keeps no cookies, asks for no compression and reads no
    proxy from the environment. `proxy` is a URL, `root_pem` certificates to trust besides the system's.
    """
    builder = (
        ClientBuilder()
        .http1_only()
        .no_proxy()
        .follow_redirects(False)
        .referer(False)
        .default_cookie_store(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .max_connections(concurrency)
        .pool_max_idle_per_host(concurrency)
        .pool_idle_timeout(timedelta(seconds=timeouts.pool_idle))
        .pool_timeout(timedelta(seconds=timeouts.pool))
        .connect_timeout(timedelta(seconds=timeouts.connect))
        .read_timeout(timedelta(seconds=timeouts.read))
        .timeout(timedelta(seconds=timeouts.total))
        .tcp_user_timeout(timedelta(seconds=timeouts.unacknowledged))
        .user_agent("broadcaster")
    )
    if proxy is not None:
        builder = builder.proxy(ProxyBuilder.all(proxy))
    if root_pem is not None:
        builder = builder.add_root_certificate_pem(root_pem)
    return builder
