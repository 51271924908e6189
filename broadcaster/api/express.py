"""The express lane: `POST /v1/messages` without the framework's routing, which costs more than all we do.

The route is declared like every other (`messages.send`), so that it is described and found; here the same is
done for the plain case, a JSON body, in a fifth of the time. Everything else goes its usual way.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import msgspec
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from broadcaster.api.faults import problem_of
from broadcaster.api.message_shapes import MessageRequest
from broadcaster.api.messages import send as send_messages
from broadcaster.api.parts import caller_of
from broadcaster.api.problems import Problem
from broadcaster.domain.api_keys import Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Send
    from starlette.types import Scope as Connection

_PATH: Final = "/v1/messages"
_ROUTE: Final = SimpleNamespace(path=_PATH)
_read: Final = TypeAdapter(MessageRequest).validate_json


class Express:
    """Stands before the whole application: `app` serves everything else, `way_in` admits and bounds ours."""

    def __init__(self, app: ASGIApp, way_in: Callable[[ASGIApp], ASGIApp]) -> None:
        self._app = app
        self._own = way_in(_serve)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if (
            scope["type"] != "http"
            or scope["path"] != _PATH
            or scope["method"] != "POST"
            or not _is_json(scope)
        ):
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE  # what the log calls it
        await self._own(scope, receive, send)


async def _serve(scope: Connection, receive: Receive, send: Send) -> None:
    """Answer a request that was let in."""
    request = Request(scope, receive)
    try:
        response = await _answer(request)
    except Exception as error:  # noqa: BLE001 - every error has its problem
        response = problem_of(error).response()
    await response(scope, receive, send)


async def _answer(request: Request) -> Response:
    caller_of(request).need(Scope.MESSAGES_WRITE)
    raw = await _whole(request.receive)
    request._body = raw  # noqa: SLF001 - where it would keep it itself, after an async generator for each request
    try:
        body = _read(raw)
    except ValidationError as error:
        raise _told(error, raw) from None
    answer: Response = await send_messages(request, body)
    return answer


async def _whole(receive: Receive) -> bytes:
    """Return a request's body. Raises `Problem` where its client is gone."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        return body
    parts = []
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise Problem("bad-request", "The connection ended before the body was whole.")


def _told(error: ValidationError, raw: bytes) -> RequestValidationError:
    """Return the error that the framework would have raised."""
    found = [{**entry, "loc": ("body", *entry["loc"])} for entry in error.errors(include_url=False)]
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    return RequestValidationError(found, body=body)


def _is_json(scope: Connection) -> bool:
    for name, value in scope["headers"]:
        if name == b"content-type":
            return bytes(value).split(b";", 1)[0].strip().lower() == b"application/json"
    return False
