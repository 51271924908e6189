"""How a command reaches Redis: REDIS_URL, else the embedded server of the data directory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from broadcaster.cli.options import settings_from
from broadcaster.runtime import opened_store
from broadcaster.store.embedded import redis_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from broadcaster.store.connection import Store

_T = TypeVar("_T")


def with_store(env_file: Path | None, work: Callable[[Store], Awaitable[_T]]) -> _T:
    """Carry out `work` with the store. Raises `SettingsError`, `EmbeddedServerError` or `StoreError`."""
    settings = settings_from(env_file)

    async def run(url: str) -> _T:
        async with opened_store(settings, url) as store:
            return await work(store)

    with redis_for(settings.redis_address, settings.data_dir) as url:
        return asyncio.run(run(url))
