"""Connections to whoever is the primary of a Redis under Sentinel (`domain/sentinel_url.py`)."""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

from broadcaster.domain import redis_tls
from broadcaster.domain.sentinel_url import parse

#: Each sentinel is asked in turn who the primary is: one that is gone must not hold the others up.
ASK_SECONDS: Final = 1.0


class PrimaryPool(SentinelConnectionPool, BlockingConnectionPool):
    """A bounded pool of connections to whoever is the primary when each is made."""

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """Close those to the sentinels too."""
        await super().disconnect(inuse_connections)
        for sentinel in self.sentinel_manager.sentinels:
            await sentinel.aclose()


def primary_pool(
    url: str, *, connections: dict[bool, type[Any]], pool: dict[str, Any], options: dict[str, Any]
) -> PrimaryPool:
    """Make a pool for the primary of a Sentinel URL.

    `connections` are the connection classes without and with TLS; `pool` and `options` go to the pool and to
    each connection.
    """
    address = parse(url)
    kind = connections[address.tls]
    own, ours = address.sentinel_options, address.options
    # what is said of TLS is said of the sentinels too, unless something else is said of them
    tls = {name: value for name, value in ours.items() if name.startswith("ssl_")}
    to_sentinels = redis_tls.options(tls | own) if address.tls else {}
    to_primary = redis_tls.options(tls) if address.tls else {}
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        address.hosts,
        sentinel_kwargs={
            "socket_timeout": ASK_SECONDS,
            "socket_connect_timeout": ASK_SECONDS,
            "ssl": address.tls,
            **own,
            **to_sentinels,
        },
    )
    return PrimaryPool(  # type: ignore[no-untyped-call]
        address.service,
        sentinel,
        connection_class=kind,
        **pool,
        **options,
        **(ours | to_primary),
        db=address.db,
    )
