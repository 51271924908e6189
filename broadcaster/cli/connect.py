"""How a command reaches Redis: REDIS_URL, else the embedded server of the data directory."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from broadcaster.cli.home import Home
from broadcaster.cli.options import settings_from
from broadcaster.runtime import opened_store
from broadcaster.store.embedded import redis_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from broadcaster.store.connection import Store

_T = TypeVar("_T")


def with_store(env_file: Path | None, work: Callable[[Store], Awaitable[_T]]) -> _T:
    """Carry out `work` with the store. Raises `SettingsError`, `EmbeddedServerError` or `StoreError`."""
    settings = settings_from(env_file)
    _log_beside_output()

    async def run(url: str) -> _T:
        async with opened_store(settings, url) as store:
            return await work(store)

    with redis_for(settings.redis_address, settings.data_dir) as url:
        return asyncio.run(run(url))


def with_home(env_file: Path | None, work: Callable[[Store, Home | None], Awaitable[_T]]) -> _T:
    """Do as `with_store` does; without REDIS_URL `work` also gets what can start a worker."""
    settings = settings_from(env_file)
    _log_beside_output()

    async def run(home: Home | None, url: str) -> _T:
        async with opened_store(settings, url) as store:
            return await work(store, home)

    at_hand: AbstractContextManager[Home | None] = (
        nullcontext() if settings.redis_address else Home(settings, env_file)
    )
    with at_hand as home:
        return asyncio.run(run(home, settings.redis_address or (home.url if home else "")))


def _log_beside_output() -> None:
    """Let warnings go to standard error: structlog's default is standard output, where JSON is awaited."""

    def logger(*_: Any) -> structlog.PrintLogger:
        return structlog.PrintLogger(sys.stderr)

    if not structlog.is_configured():
        least = structlog.make_filtering_bound_logger(logging.WARNING)
        structlog.configure(logger_factory=logger, wrapper_class=least)
