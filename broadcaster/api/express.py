"""The express lane: `POST /v1/messages` without the framework's routing, which costs more than all we do.

The route is declared like every other (`messages.send`), so that it is described and found; here the same is
done for the plain case, a JSON body, in a fifth of the time. Everything else goes its usual way.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from broadcaster.api.faults import problem_of
from broadcaster.api.gate import MESSAGE_BYTES
from broadcaster.api.message_shapes import MessageRequest
from broadcaster.api.messages import send as send_messages
from broadcaster.api.parts import caller_of
from broadcaster.api.problems import Problem
from broadcaster.domain.api_keys import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Connection

    from broadcaster.api.gate import Gate
    from broadcaster.api.whole import Answer

EXPRESS_PATH: Final = "/v1/messages"
_ROUTE: Final = SimpleNamespace(path=EXPRESS_PATH)
_read: Final = TypeAdapter(MessageRequest).validate_json


class WayIn(Protocol):
    """What every request passes before its route."""

    gate: Gate

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Serve one request."""


class Express:
    """Stands before the whole application: `app` serves everything else, `way_in` admits and bounds ours."""

    def __init__(self, app: ASGIApp, way_in: Callable[[ASGIApp], WayIn], service: object) -> None:
        self._app = app
        self._own = way_in(_serve)
        self.whole = Whole(self._own, service)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if (
            scope["type"] != "http"
            or scope["path"] != EXPRESS_PATH
            or scope["method"] != "POST"
            or not _is_json(scope["headers"])
        ):
            await self._app(scope, receive, send)
            return
        scope["route"] = _ROUTE  # what the log calls it
        await self._own(scope, receive, send)


class Whole:
    """Answers whole requests: `broadcaster.api.whole.ShortWay`. `service` is what a scope calls `app`."""

    most_bytes = MESSAGE_BYTES

    def __init__(self, way_in: WayIn, service: object) -> None:
        self._way_in = way_in
        self._service = service

    def takes(self, headers: list[tuple[bytes, bytes]]) -> bool:
        """Whether the body says that it is JSON."""
        return _is_json(headers)

    def __call__(
        self, scope: Connection, body: bytes, answer: Callable[[Answer], None]
    ) -> Coroutine[Any, Any, None] | None:
        """Serve one request."""
        return self._serve(scope, body, answer)

    async def _serve(self, scope: Connection, body: bytes, answer: Callable[[Answer], None]) -> None:
        scope["app"], scope["route"] = self._service, _ROUTE

        async def work(scope: Connection) -> Response:
            async def receive() -> Message:
                return {"type": "http.request", "body": body}

            return await _answered(Request(scope, receive))

        answer(await self._way_in.gate.whole(scope, len(body), work))


async def _serve(scope: Connection, receive: Receive, send: Send) -> None:
    """Answer a request that was let in."""
    response = await _answered(Request(scope, receive))
    await response(scope, receive, send)


async def _answered(request: Request) -> Response:
    try:
        return await _answer(request)
    except Exception as error:  # noqa: BLE001 - every error has its problem
        return problem_of(error).response()


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


def _is_json(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    for name, value in headers:
        if name == b"content-type":
            return bytes(value).split(b";", 1)[0].strip().lower() == b"application/json"
    return False
