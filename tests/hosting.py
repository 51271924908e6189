"""The API in the test's own process, behind its real server on a port of its own: quicker than a process."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from serving import bearer, key_for

from broadcaster.api.app import create_app
from broadcaster.api.opening import opened_parts
from broadcaster.api.protocol import BoundedHttp
from broadcaster.settings import load_settings
from broadcaster.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.store.connection import Store


@dataclass
class Hosted:
    """A server and a client whose key may do everything."""

    port: int
    client: httpx.AsyncClient


@contextlib.asynccontextmanager
async def hosting(
    store: Store, *, key: str = "", redis_url: str = "", **settings: Any
) -> AsyncIterator[Hosted]:
    """Serve the API until the block ends."""
    given = {"twilio_phone_number": "+15550000001", "check_media": "off", **settings}
    chosen = load_settings(None, key_prefix=store.keys.prefix.rstrip(":"), **given)
    app = create_app(lambda: opened_parts(chosen, redis_url or store.url, Metrics()))
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, http=BoundedHttp, log_config=None, access_log=False, ws="none")
    )
    task = asyncio.ensure_future(server._serve())  # `serve` would take the signals of this process
    while not server.started:
        assert not task.done(), task
        await asyncio.sleep(0.001)
    port = server.servers[0].sockets[0].getsockname()[1]
    headers = bearer(key or await key_for(store))
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30, trust_env=False
        ) as client:
            yield Hosted(port, client)
    finally:
        server.should_exit = True
        await task
