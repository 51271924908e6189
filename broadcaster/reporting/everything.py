"""What stops the whole installation, if something does: said above every list of what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.reporting.replicas import missing_replicas
from broadcaster.reporting.waits import Everything, stops_everything

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def everything_stopped(store: Store) -> str:
    """Say what keeps every message from leaving, "" if nothing does. Raises redis' errors."""
    paused, rewind = await store.redis.hmget(store.keys.plain("account"), "paused", "rewind")
    missing = await missing_replicas(store)
    stop = stops_everything(Everything((paused or b"").decode(), int(rewind or 0), missing=missing))
    return stop.words if stop else ""
