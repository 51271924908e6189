"""How far Redis' clock is ahead of this host's, measured now and then by a process that does not send."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics

LOOK_SECONDS: Final = 15.0
#: An answer that took longer says too little about when it was made.
_ROUND_TRIP_SECONDS: Final = 0.1


async def watch_clock(store: Store, metrics: Metrics) -> None:
    """Look every 15 seconds until canceled: an acceptance goes by this host's clock, a POST by Redis'."""
    while True:
        try:
            ahead = await redis_ahead(store)
        except (RedisError, OSError):
            ahead = None  # whoever works with Redis says so
        if ahead is not None:
            metrics.clock_skewed("redis", ahead)
        await asyncio.sleep(LOOK_SECONDS)


async def redis_ahead(store: Store) -> float | None:
    """Return how many seconds Redis' clock is ahead; None if its answer took long. Raises redis' errors."""
    began, asked = time.monotonic(), time.time()
    seconds, micros = await store.redis.time()
    took = time.monotonic() - began
    if took > _ROUND_TRIP_SECONDS:
        return None
    return float(seconds + micros / 1e6 - (asked + took / 2))
