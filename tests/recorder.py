"""A wire to the simulated Twilio that writes down every request."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import uvicorn
from conformity import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_HOP = frozenset((b"host", b"connection", b"content-length", b"transfer-encoding", b"date", b"server"))


class Recorder:
    """An HTTP server that passes everything on to `target`."""

    def __init__(self, target: str) -> None:
        self.requests: list[Request] = []
        self.url = ""
        self._http = httpx.AsyncClient(base_url=target, trust_env=False, timeout=60)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Take one request, note it, pass it on, and its answer back."""
        assert scope["type"] == "http"
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        headers = [(name, value) for name, value in scope["headers"] if name not in _HOP]
        path, query = scope["raw_path"].decode(), scope["query_string"].decode()
        kind = dict(scope["headers"]).get(b"content-type", b"").decode()
        self.requests.append(Request(scope["method"], path, query, kind, body))
        target = f"{path}?{query}" if query else path
        answer = await self._http.request(scope["method"], target, headers=headers, content=body)
        kept = [(name, value) for name, value in answer.headers.raw if name.lower() not in _HOP]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
        await send({"type": "http.response.body", "body": answer.content})

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()


@asynccontextmanager
async def recording(target: str) -> AsyncIterator[Recorder]:
    """Serve a recorder on a port of its own until the block ends."""
    recorder = Recorder(target)
    config = uvicorn.Config(recorder, port=0, log_config=None, access_log=False, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server._serve())  # `serve` would take the signals of this process
    while not server.started:
        assert not task.done(), task
        await asyncio.sleep(0.001)
    recorder.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield recorder
    finally:
        server.should_exit = True
        await task
        await recorder.close()
