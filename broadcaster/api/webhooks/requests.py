"""One request of Twilio's, read whole: its headers that matter, its body within bounds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broadcaster.api.problems import Problem

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from broadcaster.twilio.signatures import Pairs

#: Of a body. Twilio's are a kilobyte, and a few with the longest text.
BODY_BYTES: Final = 64 * 1024
_LONG_LENGTH: Final = len(str(BODY_BYTES))
_LENGTHS: Final = 18  # digits that are looked at
FORM: Final = b"application/x-www-form-urlencoded"


class Refused(Exception):  # noqa: N818 - what happened, not what broke
    """A request that is not taken; `reason` is for the log and never holds anything of the request."""

    def __init__(self, reason: str, problem: Problem) -> None:
        super().__init__(reason)
        self.reason = reason
        self.problem = problem


@dataclass(slots=True)
class Request:
    """A request. `target` is path and query as they came; `fields` are there once it is known as a form.

    It `began` when its headers had come, in seconds of `perf_counter`.
    """

    target: bytes
    query: bytes
    host: bytes
    signature: bytes
    kind: bytes
    body: bytes
    fields: Pairs = field(default_factory=list)
    began: float = 0.0

    def __repr__(self) -> str:
        return f"Request({len(self.body)} bytes)"


async def read_request(scope: Scope, receive: Receive, stall_seconds: float) -> Request | None:
    """Read a request; None where its client is gone. Raises `Refused` for a body too large or too slow."""
    headers = dict(scope["headers"])
    length = headers.get(b"content-length", b"")
    if len(length) >= _LONG_LENGTH and length.isdigit() and int(length[:_LENGTHS]) > BODY_BYTES:
        raise _too_large()
    if getattr(getattr(receive, "__self__", None), "more_body", True):
        try:
            async with asyncio.timeout(stall_seconds):
                body = await _read_body(receive)
        except TimeoutError:
            raise Refused("slow", Problem("too-slow")) from None
    else:  # the server says that all of it is here: a timer would cost as much as reading it
        message = await receive()
        body = message.get("body", b"") if message["type"] == "http.request" else None
        if body is not None and len(body) > BODY_BYTES:
            raise _too_large()
    return None if body is None else request_of(scope, body)


def request_of(scope: Scope, body: bytes) -> Request:
    """Return a request whose body is whole."""
    query = scope["query_string"]
    path = scope.get("raw_path") or scope["path"].encode()
    target = path + b"?" + query if query else path
    get = dict(scope["headers"]).get
    kind, signature = get(b"content-type", b""), get(b"x-twilio-signature", b"")
    return Request(target, query, get(b"host", b""), signature, kind, body)


def is_form(request: Request) -> bool:
    """Whether the body says that it is a form, as all of Twilio's but JSON ones do."""
    kind = request.kind
    return kind == FORM or kind.partition(b";")[0].strip().lower() == FORM


async def _read_body(receive: Receive) -> bytes | None:
    message = await receive()
    if message["type"] != "http.request":
        return None
    body: bytes = message.get("body", b"")
    while message.get("more_body") and len(body) <= BODY_BYTES:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
    if len(body) > BODY_BYTES:
        raise _too_large()
    return body


def _too_large() -> Refused:
    return Refused("large", Problem("too-large", f"This takes {BODY_BYTES:,} bytes at most."))
