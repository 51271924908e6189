"""The application: its routes, its way in, its errors, its description."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Route

from broadcaster import __version__
from broadcaster.api import (
    audit,
    broadcast_reading,
    broadcasts,
    dead_letters,
    docs,
    event_endpoints,
    everything,
    health,
    lanes,
    messages,
    opt_in_links,
    opt_outs,
    recipients,
    replies,
    steering,
    templates,
    twilio_like,
    twilio_messages,
    verifications,
    verify_services,
    workers,
)
from broadcaster.api.describing import describe
from broadcaster.api.express import EXPRESS_PATH, Express
from broadcaster.api.faults import EXPECTED, not_json, problem_of
from broadcaster.api.gate import BoundedBody, Gate, shaped
from broadcaster.api.patience import Patience
from broadcaster.api.request_log import requests
from broadcaster.api.webhooks.front import Webhooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from starlette.requests import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

    from broadcaster.api.parts import Parts
    from broadcaster.api.whole import ShortWay

    Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

#: A path that is a word stands before the one that takes any.
_SERVICE: Final = (
    *(broadcasts, broadcast_reading, steering, messages, lanes, opt_outs, replies, recipients),
    *(dead_letters, event_endpoints, everything, workers, templates, audit, docs),
    *(twilio_like, twilio_messages),
    *(verifications, verify_services, opt_in_links),
)


def create_app(
    parts: Callable[[], AbstractAsyncContextManager[Parts]],
    *,
    only_webhooks: bool = False,
    metrics: bool = True,
) -> FastAPI:
    """Return the application; `parts` opens what it works with when it starts.

    `only_webhooks` serves just what must face the internet; `metrics` is off where they have their own port.
    """
    app = _Application(
        title="Broadcaster",
        version=__version__,
        summary="SMS, MMS and WhatsApp broadcasts through Twilio: each recipient once.",
        lifespan=_lifespan(parts),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.serves_messages = not only_webhooks
    for router in _routers(only_webhooks=only_webhooks, metrics=metrics):
        app.include_router(router)
    app.openapi = partial(describe, app)  # type: ignore[method-assign]  # FastAPI's own way to say it
    for kind in (HTTPException, RequestValidationError, *EXPECTED, Exception):
        app.add_exception_handler(kind, _told)
    app.add_middleware(_WayIn, service=app)
    return app


class _Application(FastAPI):
    """FastAPI with Twilio's webhooks and the express lane in front."""

    serves_messages = True

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self._front = Express(super().__call__, partial(_WayIn, service=self), self)
        self._webhooks = Webhooks(self._others, lambda: cast("Parts", self.state.parts))

    @property
    def short_ways(self) -> dict[bytes, ShortWay]:
        """What `ShortHttp` answers without ASGI, by path."""
        found: dict[bytes, ShortWay] = {**self._webhooks.short_ways()}
        if self.serves_messages:
            found[EXPRESS_PATH.encode()] = self._front.whole
        return found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._webhooks(scope, receive, send)

    async def _others(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.serves_messages:
            scope["app"] = self
            await self._front(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class _WayIn:
    """ASGI middleware: what every request passes before its route."""

    def __init__(self, app: ASGIApp, service: FastAPI) -> None:
        found: Parts | None = None

        def parts() -> Parts:  # asked several times for each request
            nonlocal found
            if found is None:
                found = cast("Parts", service.state.parts)
            return found

        patient = Patience(BoundedBody(app), stall_seconds=lambda: parts().settings.api_stall_seconds)
        self.gate = Gate(patient, parts=parts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self.gate(scope, receive, send)


def _routers(*, only_webhooks: bool, metrics: bool) -> list[Any]:
    routers: list[Any] = [health.health]
    if metrics:
        routers.append(health.counting)
    if only_webhooks:
        return routers
    routers += [module.router for module in _SERVICE]
    return routers


def _lifespan(parts: Callable[[], AbstractAsyncContextManager[Parts]]) -> Lifespan:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with parts() as opened:
            app.state.parts = opened
            yield
            requests.write_all()

    return lifespan


async def _told(request: Request, error: Exception) -> Response:
    """Answer an error in the shape that its path speaks."""
    if isinstance(error, RequestValidationError):
        error = not_json(error, request.headers.get("content-type", "")) or error
    elif isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        error = HTTPException(error.status_code, headers={"Allow": _allowed(request)})
    return shaped(problem_of(error), request.url.path)


def _allowed(request: Request) -> str:
    """Return what a path takes: a router names the methods of one of its routes only."""
    routes = [context.original_route for context in iter_route_contexts(request.app.routes)]
    fitting = [r for r in routes if isinstance(r, Route) and r.path_regex.match(request.url.path)]
    found: set[str] = set()
    for route in fitting:
        if route.path == fitting[0].path:
            found |= route.methods or set()
    return ", ".join(sorted(found))
