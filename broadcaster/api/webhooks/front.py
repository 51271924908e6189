"""The way in of Twilio's webhooks: a bounded body, its signature, then the handler of the path.

They stand in no OpenAPI description: Twilio is their only client, and its documentation describes them.
Whatever a stranger sends is answered with a 4xx and changes nothing; 503 is for a Redis that is away, as
Twilio tries again then.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from redis.exceptions import RedisError

from broadcaster.api.faults import problem_of
from broadcaster.api.problems import Problem, unavailable
from broadcaster.api.webhooks.inbound import take_inbound
from broadcaster.api.webhooks.requests import (
    BODY_BYTES,
    Refused,
    Request,
    is_form,
    read_request,
    request_of,
)
from broadcaster.api.webhooks.status import take_status
from broadcaster.api.whole import Answer
from broadcaster.store.errors import StoreError
from broadcaster.twilio.callback_urls import STATUS_PATH
from broadcaster.twilio.forms import decode_form

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import ASGIApp, Receive, Scope, Send

    from broadcaster.api.parts import Parts
    from broadcaster.api.webhooks.writing import Told

    #: What is answered at once, or after more work; None: `Told` hears of it once it is written.
    Taken = Answer | Coroutine[Any, Any, Answer] | None
    Handler = Callable[[Parts, Request, Told], Taken]

log = structlog.get_logger("webhooks")

_PREFIX: Final = "/webhooks/twilio/"
_HANDLERS: Final[dict[str, Handler]] = {
    STATUS_PATH: take_status,
    _PREFIX + "inbound": take_inbound,
    _PREFIX + "webhook": take_inbound,
}
_WRITTEN: Final = Answer(204, [], b"")
#: Twilio sends twenty or so, and some more with media.
MOST_FIELDS: Final = 1000
#: The same refusal is logged so often at most.
SAY_EVERY_SECONDS: Final = 60.0


class _Said(NamedTuple):
    at: float
    since: int


class Webhooks:
    """Stands before the application `app`, which serves everything else."""

    def __init__(self, app: ASGIApp, parts: Callable[[], Parts]) -> None:
        self._app = app
        self._find_parts = parts
        self._found: Parts | None = None
        self._said: dict[str, _Said] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        handler = _HANDLERS.get(scope["path"]) if scope["type"] == "http" else None
        if handler is None:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        answer = await self._answered(handler, scope, receive, began)
        if answer is not None:
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await send({"type": "http.response.body", "body": answer.body})
            self._count(scope["method"], scope["path"], answer, began)

    def short_ways(self) -> dict[bytes, Whole]:
        """Return what answers whole requests without ASGI, by path."""
        return {path.encode(): Whole(self, path, handler) for path, handler in _HANDLERS.items()}

    @property
    def _parts(self) -> Parts:
        if self._found is None:
            self._found = self._find_parts()
        return self._found

    async def _answered(
        self, handler: Handler, scope: Scope, receive: Receive, began: float
    ) -> Answer | None:
        """Return what to answer; None to a client that has gone."""
        try:
            _check_method(scope)
            request = await read_request(scope, receive, self._parts.settings.api_stall_seconds)
            if request is None:
                return None
            request.began = began
            written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            taken = self._take(handler, request, partial(_settle, written))
            if taken is None:
                await written
                return _WRITTEN
            return taken if isinstance(taken, Answer) else await taken
        except Exception as error:  # noqa: BLE001 - every error has its problem
            return self._told(error, scope["path"])

    def _take(self, handler: Handler, request: Request, told: Told) -> Taken:
        """Take a request that is genuine. Raises `Refused`."""
        validator = self._parts.webhooks.validator
        if is_form(request):
            if request.body.count(b"&") >= MOST_FIELDS:
                raise Refused("fields", Problem("too-large", f"At most {MOST_FIELDS:,} fields."))
            request.fields = decode_form(request.body)
            genuine = validator.genuine(request.signature, request.host, request.target, request.fields)
        else:
            # whose fields nobody reads: only what is signed as a form is taken for one
            genuine = validator.genuine_body(request.signature, request.host, request.target, request.body)
        if not genuine:
            raise Refused("signature", Problem("forbidden", "This is not signed by Twilio for this address."))
        return handler(self._parts, request, told)

    def _told(self, error: Exception, path: str) -> Answer:
        """Return what to answer to an error."""
        match error:
            case Refused():
                parts = self._parts
                parts.metrics.callbacks_ended("refused", 1)
                more = {"hint": parts.webhooks.hint} if error.reason == "signature" else {}
                self._say(error.reason, path, **more)
                return _problem(error.problem)
            case StoreError() | RedisError() | OSError():
                self._say("unavailable", path, error=str(error))
                return _problem(unavailable("Redis does not answer."))
        return _problem(problem_of(error))

    def _count(self, method: str, path: str, answer: Answer, began: float) -> None:
        self._parts.metrics.requested(method, path, answer.status, time.perf_counter() - began)

    def _say(self, reason: str, path: str, **more: Any) -> None:
        """Log a refusal, but not each of thousands."""
        now = time.monotonic()
        at, since = self._said.get(reason, (-SAY_EVERY_SECONDS, 0))
        if now - at < SAY_EVERY_SECONDS:
            self._said[reason] = _Said(at, since + 1)
            return
        self._said[reason] = _Said(now, 0)
        log.warning("webhook.refused", reason=reason, path=path, more_since=since, **more)


class Whole:
    """Answers whole POSTs of one path: `broadcaster.api.whole.ShortWay`."""

    most_bytes = BODY_BYTES

    def __init__(self, webhooks: Webhooks, path: str, handler: Handler) -> None:
        self._webhooks = webhooks
        self._path = path
        self._handler = handler

    def takes(self, headers: list[tuple[bytes, bytes]]) -> bool:  # noqa: ARG002 - whatever they are
        """Take all."""
        return True

    def __call__(
        self, scope: Scope, body: bytes, answer: Callable[[Answer], None]
    ) -> Coroutine[Any, Any, None] | None:
        """Serve one request; only a reply needs a task of its own."""
        webhooks, began = self._webhooks, time.perf_counter()

        def end(found: Answer) -> None:
            answer(found)
            webhooks._count("POST", self._path, found, began)  # noqa: SLF001 - its own other half

        def told(error: Exception | None) -> None:
            end(_WRITTEN if error is None else webhooks._told(error, self._path))  # noqa: SLF001

        try:
            request = request_of(scope, body)
            request.began = began
            taken = webhooks._take(self._handler, request, told)  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - every error has its problem
            told(error)
            return None
        if taken is None:
            return None
        if isinstance(taken, Answer):
            end(taken)
            return None
        return self._later(taken, end, told)

    async def _later(
        self, work: Coroutine[Any, Any, Answer], end: Callable[[Answer], None], told: Told
    ) -> None:
        try:
            found = await work
        except Exception as error:  # noqa: BLE001 - every error has its problem
            told(error)
        else:
            end(found)


def _check_method(scope: Scope) -> None:
    if scope["method"] != "POST":
        raise Refused("method", Problem("method-not-allowed", headers={"Allow": "POST"}))


def _settle(written: asyncio.Future[None], error: Exception | None) -> None:
    if written.done():
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)


def _problem(problem: Problem) -> Answer:
    response = problem.response()
    headers = [*response.raw_headers]
    if response.status_code in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    return Answer(response.status_code, headers, bytes(response.body))
