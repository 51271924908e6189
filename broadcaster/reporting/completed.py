"""A broadcast's one canonical line in the log, when nothing of it moves any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from broadcaster.reporting.broadcasts import read_broadcast

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

log = structlog.get_logger("broadcast")


async def say_completed(store: Store, broadcast: str) -> None:
    """Write the line; where Redis is away just then, nobody does."""
    try:
        view = await read_broadcast(store, broadcast)
    except (RedisError, OSError):
        return
    if view is not None:
        log.info("broadcast.completed", **view.summary())
