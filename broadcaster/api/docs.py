"""The description as JSON and as pages to try it on: Swagger UI from our own files, not from elsewhere."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

router = APIRouter(include_in_schema=False)

#: Scripts and styles only from here; none written into the page. Swagger UI draws icons as data: images.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Broadcaster API</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
});
"""


@router.get("/openapi.json")
async def description(request: Request) -> Response:
    """Return the description of this API (OpenAPI 3.1)."""
    described: dict[str, Any] = request.app.openapi()
    return Response(msgspec.json.encode(described), media_type="application/json")


@router.get("/docs")
async def page() -> Response:
    """Return the page that shows it."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


@router.get("/docs/swagger-ui.css")
async def style() -> Response:
    """Return Swagger UI's style sheet."""
    return _file("swagger-ui.css", "text/css")


@router.get("/docs/swagger-ui-bundle.js")
async def script() -> Response:
    """Return Swagger UI."""
    return _file("swagger-ui-bundle.js", "text/javascript")


@router.get("/docs/start.js")
async def start() -> Response:
    """Return what starts it; it is no part of the page, so that pages may hold no scripts at all."""
    return Response(_START, media_type="text/javascript", headers=_HEADERS)


def _file(name: str, kind: str) -> Response:
    return Response(
        _read(name), media_type=kind, headers={**_HEADERS, "Cache-Control": "private, max-age=86400"}
    )


@cache
def _read(name: str) -> bytes:
    return (resources.files("broadcaster.api") / "swagger" / name).read_bytes()
