"""The API in the test's own process, spoken to over ASGI: for what has nothing to do with the wire."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx
from serving import bearer, key_for

from broadcaster.api.app import create_app
from broadcaster.api.opening import opened_parts
from broadcaster.settings import Settings
from broadcaster.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from broadcaster.store.connection import Store


@contextlib.asynccontextmanager
async def api_here(store: Store, **settings: Any) -> AsyncIterator[tuple[httpx.AsyncClient, FastAPI]]:
    """Give a client whose key may do everything, and the application."""
    chosen = Settings(key_prefix=store.keys.prefix.rstrip(":"), **settings)
    app = create_app(lambda: opened_parts(chosen, store.url, Metrics()))
    async with opened_parts(chosen, store.url, Metrics()) as parts:
        app.state.parts = parts
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 1234))
        headers = bearer(await key_for(store))
        async with httpx.AsyncClient(transport=transport, base_url="http://here", headers=headers) as client:
            yield client, app
