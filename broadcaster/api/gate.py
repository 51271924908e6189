"""The way in: bounds on what a request may bring, and no service without a key."""

from __future__ import annotations

import base64
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException
from structlog.contextvars import bind_contextvars

from broadcaster.api.admission import unauthorized
from broadcaster.api.faults import EXPECTED, problem_of
from broadcaster.api.problems import Problem
from broadcaster.api.request_log import Noted, requests
from broadcaster.api.twilio_shapes import twilio_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from broadcaster.api.admission import Caller
    from broadcaster.api.parts import Parts
    from broadcaster.api.whole import Answer

    #: Answers a request that was let in.
    Work = Callable[[Scope], Awaitable[Response]]

#: What answers without a key; Twilio's webhooks show its signature instead.
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
OPEN_PREFIXES: Final = ("/webhooks/twilio/", "/problems/")
#: Where a browser may show its key: as the password of HTTP basic authentication.
_BROWSER_PATHS: Final = ("/docs", "/openapi.json")
TWILIO_PREFIX: Final = "/2010-04-01/"
COMMON_PATH: Final = "/v1/messages"
#: Where a list may be uploaded.
UPLOAD_PATH: Final = "/v1/broadcasts"
_BODY_BYTES: Final = 1024 * 1024
#: A hundred recipients with all that may be said to each; to judge more takes seconds.
MESSAGE_BYTES: Final = 256 * 1024
#: Of what may hold up to 10,000 recipients.
LIST_BYTES: Final = 16 * 1024 * 1024


class Gate:
    """ASGI middleware: admits a request's key, adds `RateLimit` headers, logs one line a request."""

    def __init__(self, app: ASGIApp, parts: Callable[[], Parts]) -> None:
        self._app = app
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        noted = Noted(scope)
        bind_contextvars(request=noted.id.decode())  # of this request's task, so of every line that it writes
        caller: Caller | None = None

        async def sending(message: Message) -> None:
            noted.answering(message)
            if caller is not None and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *caller.headers()]
            await send(message)

        try:
            caller = await self._admit(scope)
        except EXPECTED as error:
            await shaped(problem_of(error), scope["path"])(scope, receive, sending)
        else:
            scope.setdefault("state", {})["caller"] = caller
            await self._app(scope, noted.receiving(receive), sending)
        finally:
            self._done(scope, noted, caller)

    async def whole(self, scope: Scope, body_bytes: int, work: Work) -> Answer:
        """Serve one request that is there whole."""
        noted = Noted(scope)
        noted.bytes_in = body_bytes
        bind_contextvars(request=noted.id.decode())
        caller: Caller | None = None
        try:
            try:
                caller = await self._admit(scope)
                scope.setdefault("state", {})["caller"] = caller
                response = await work(scope)
            except EXPECTED as error:
                response = shaped(problem_of(error), scope["path"])
            answer = noted.answer(response)
            if caller is not None:
                answer.headers.extend(caller.headers())
            return answer
        finally:
            self._done(scope, noted, caller)

    def _done(self, scope: Scope, noted: Noted, caller: Caller | None) -> None:
        seconds = time.perf_counter() - noted.began
        route = getattr(scope.get("route"), "path", None) or "-"
        self._parts().metrics.requested(scope["method"], route, noted.status, seconds)
        requests.done(scope, noted, caller.key.id if caller else None, seconds)

    async def _admit(self, scope: Scope) -> Caller | None:
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
            return None
        headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
        client = scope.get("client")
        address = client[0] if client else "unknown"
        basic = path.startswith((TWILIO_PREFIX, *_BROWSER_PATHS))
        shown = shown_key(headers, basic=basic)
        if not shown and path.startswith(_BROWSER_PATHS):
            raise Problem(
                "unauthorized",
                "Give any name, and a key of yours as the password.",
                headers={"WWW-Authenticate": 'Basic realm="broadcaster"'},
            )
        return await self._parts().admission.admit(shown, address)


def shown_key(headers: Iterable[tuple[bytes, bytes]], *, basic: bool = False) -> str:
    """Return the key that a request shows, as bearer or (where `basic`) as the password; "" for none."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, rest = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                return rest.strip()
            if scheme.lower() == "basic" and basic:
                return _password(rest)
    return ""


def _password(encoded: str) -> str:
    return _name_and_password(encoded)[1]


def shown_name(header: str) -> str | None:
    """Return the name of HTTP basic authentication, None where it is another. Raises `Problem` 401."""
    scheme, _, rest = header.partition(" ")
    return _name_and_password(rest)[0] if scheme.lower() == "basic" else None


def _name_and_password(encoded: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # no base64, no UTF-8, or letters beyond ASCII
        raise unauthorized("The Authorization header is not valid.") from None
    return name, password


def shaped(problem: Problem, path: str) -> Response:
    """Return a problem as an answer; in Twilio's own shape on its paths."""
    return twilio_error(problem) if path.startswith(TWILIO_PREFIX) else problem.response()


class BoundedBody:
    """ASGI middleware: a body has its bound; uploads are streamed and count for themselves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or is_upload(scope):
            await self._app(scope, receive, send)
            return
        most = _most_of(scope["path"])
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > most:
            await shaped(_too_large(most), scope["path"])(scope, receive, send)
            return
        taken = 0

        async def receiving() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > most:  # FastAPI lets only its own exceptions out of reading a body
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(most).detail)
            return message

        await self._app(scope, receiving, send)


def _most_of(path: str) -> int:
    if path == COMMON_PATH:
        return MESSAGE_BYTES
    return LIST_BYTES if path.startswith(UPLOAD_PATH) else _BODY_BYTES


def _too_large(most: int) -> Problem:
    return Problem("too-large", f"This takes {most:,} bytes at most; larger lists go as multipart.")


def is_upload(scope: Scope) -> bool:
    """Whether this is the one request that bounds and streams its body itself.

    Any other route reads its body whole, whatever it says that it is. Of two types the first counts, which is
    the one that the route goes by.
    """
    if scope["path"] != UPLOAD_PATH or scope["method"] != "POST":
        return False
    kinds = (value for name, value in scope["headers"] if name == b"content-type")
    kind: bytes = next(kinds, b"")
    return kind.partition(b";")[0].strip().lower() == b"multipart/form-data"
