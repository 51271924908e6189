"""What the exporter answers over HTTP: `/metrics`, `/healthz`, `/readyz`, to whoever can reach its port."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import generate_latest

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from broadcaster.exporter.scraping import Exporter

_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
_JSON: Final = "application/json"


class App:
    """An ASGI application. Liveness says nothing of Redis, so that a stalled one restarts nobody."""

    def __init__(self, exporter: Exporter, registry: CollectorRegistry) -> None:
        self._exporter = exporter
        self._registry = registry

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:  # noqa: ARG002 - ASGI's three
        """Answer one request."""
        if scope["type"] != "http":
            return
        if scope["method"] not in ("GET", "HEAD"):
            status, kind, body = 405, _JSON, b'{"status":"only GET"}'
        else:
            status, kind, body = await self._answer(scope["path"])
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, path: str) -> tuple[int, str, bytes]:
        match path:
            case "/metrics":
                return 200, _TEXT, await self._exporter.scrape() + generate_latest(self._registry)
            case "/healthz":
                return 200, _JSON, b'{"status":"ok"}'
            case "/readyz":
                if await self._exporter.ready():
                    return 200, _JSON, b'{"status":"ok"}'
                return 503, _JSON, json.dumps({"status": "Redis does not answer"}).encode()
        return 404, _JSON, b'{"status":"there are /metrics, /healthz and /readyz"}'
