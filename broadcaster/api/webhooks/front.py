"""The way in of Twilio's webhooks: a bounded body, its signature, then the handler of the path.

They stand in no OpenAPI description: Twilio is their only client, and its documentation describes them.
Whatever a stranger sends is answered with a 4xx and changes nothing; 503 is for a Redis that is away, as
Twilio tries again then.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog
from redis.exceptions import RedisError

from broadcaster.api.faults import problem_of
from broadcaster.api.problems import Problem, unavailable
from broadcaster.api.webhooks.inbound import take_inbound
from broadcaster.api.webhooks.requests import Answer, Refused, Request, is_form, read_request
from broadcaster.api.webhooks.status import take_status
from broadcaster.store.errors import StoreError
from broadcaster.twilio.callback_urls import STATUS_PATH
from broadcaster.twilio.forms import decode_form

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from broadcaster.api.parts import Parts

    Handler = Callable[[Parts, Request], Awaitable[Answer]]

log = structlog.get_logger("webhooks")

_PREFIX: Final = "/webhooks/twilio/"
_HANDLERS: Final[dict[str, Handler]] = {
    STATUS_PATH: take_status,
    _PREFIX + "inbound": take_inbound,
    _PREFIX + "webhook": take_inbound,
}
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
        self._parts: Parts | None = None
        self._said: dict[str, _Said] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        handler = _HANDLERS.get(scope["path"]) if scope["type"] == "http" else None
        if handler is None:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        parts = self._parts
        if parts is None:
            parts = self._parts = self._find_parts()
        try:
            answer = await self._answer(parts, handler, scope, receive, began)
        except Refused as refused:
            parts.metrics.callbacks_ended("refused", 1)
            more = {"hint": parts.webhooks.hint} if refused.reason == "signature" else {}
            self._say(refused.reason, scope["path"], **more)
            answer = _problem(refused.problem)
        except (StoreError, RedisError, OSError) as error:
            self._say("unavailable", scope["path"], error=str(error))
            answer = _problem(unavailable("Redis does not answer."))
        except Exception as error:  # noqa: BLE001 - every error has its problem
            answer = _problem(problem_of(error))
        if answer is not None:
            await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
            await send({"type": "http.response.body", "body": answer.body})
            seconds = time.perf_counter() - began
            parts.metrics.requested(scope["method"], scope["path"], answer.status, seconds)

    async def _answer(
        self, parts: Parts, handler: Handler, scope: Scope, receive: Receive, began: float
    ) -> Answer | None:
        """Return what to answer; None to a client that has gone. Raises `Refused`."""
        if scope["method"] != "POST":
            raise Refused("method", Problem("method-not-allowed", headers={"Allow": "POST"}))
        request = await read_request(scope, receive, parts.settings.api_stall_seconds)
        if request is None:
            return None
        request.began = began
        if is_form(request):
            if request.body.count(b"&") >= MOST_FIELDS:
                raise Refused("fields", Problem("too-large", f"At most {MOST_FIELDS:,} fields."))
            request.fields = decode_form(request.body)
            genuine = parts.webhooks.validator.genuine(
                request.signature, request.host, request.target, request.fields
            )
        else:
            # whose fields nobody reads: only what is signed as a form is taken for one
            genuine = parts.webhooks.validator.genuine_body(
                request.signature, request.host, request.target, request.body
            )
        if not genuine:
            raise Refused("signature", Problem("forbidden", "This is not signed by Twilio for this address."))
        return await handler(parts, request)

    def _say(self, reason: str, path: str, **more: Any) -> None:
        """Log a refusal, but not each of thousands."""
        now = time.monotonic()
        at, since = self._said.get(reason, (-SAY_EVERY_SECONDS, 0))
        if now - at < SAY_EVERY_SECONDS:
            self._said[reason] = _Said(at, since + 1)
            return
        self._said[reason] = _Said(now, 0)
        log.warning("webhook.refused", reason=reason, path=path, more_since=since, **more)


def _problem(problem: Problem) -> Answer:
    response = problem.response()
    headers = [*response.raw_headers]
    if response.status_code in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    return Answer(response.status_code, headers, bytes(response.body))
