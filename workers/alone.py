"""Settling, and polling, is one process's work at a time: several would ask Twilio the same."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from broadcaster.store.ending import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.store.connection import Store

LOCK_SECONDS: Final = 6


@asynccontextmanager
async def alone_with(store: Store, work: str = "settling") -> AsyncIterator[bool]:
    """Keep other processes from the same work at the same time; yields whether this one may do it."""
    key, mine = store.keys.plain(work), secrets.token_hex(8).encode()
    if not await store.redis.set(key, mine, nx=True, px=LOCK_SECONDS * 1000):
        yield False
        return

    async def keep() -> None:
        while True:
            await asyncio.sleep(LOCK_SECONDS / 3)
            await store.redis.pexpire(key, LOCK_SECONDS * 1000)

    keeping = asyncio.create_task(keep())
    try:
        yield True
    finally:
        await end([keeping])
        if await store.redis.get(key) == mine:
            await store.redis.delete(key)
