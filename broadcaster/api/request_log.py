"""The canonical line of a request: `request.done`, with the id that its caller knows it by.

Thousands a second may come: what exceeds the budget is counted in sums by method, route and status
(`requests.done`), written every five seconds. What asks for health or metrics is told at debug.
The caller's address is told only where its key was refused: that is what somebody has to look for, while of
whom we know the key's id says who it is.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import string
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import structlog

from broadcaster.api.whole import Answer
from broadcaster.telemetry.bounded import SUM_SECONDS, LineBudget

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Message as AsgiMessage
    from starlette.types import Receive, Scope

log = structlog.get_logger("api")
_plain: Final = logging.getLogger("api")  # whose level it is, also where structlog is not set up

HEADER: Final = b"x-request-id"
_LINES_PER_SECOND: Final = 20.0
_BURST: Final = 200.0
#: What a caller may name a request, as it is: it stands in a header and in the log.
_NAMED: Final = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
#: Letters only: what looks like a number would be masked.
_LETTERS: Final = bytes.maketrans(string.hexdigits[:16].encode(), b"bcdfghjkmnpqrstv")
_REFUSED: Final = frozenset((HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS))
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})


class Noted:
    """What is noted of one request while it is served: its id, its bytes, its answer."""

    __slots__ = ("began", "bytes_in", "bytes_out", "counts", "id", "replayed", "status")

    def __init__(self, scope: Scope) -> None:
        self.began = time.perf_counter()
        self.status = self.bytes_in = self.bytes_out = 0
        self.replayed = False
        self.counts = False
        self.id = b""
        for name, value in scope["headers"]:
            if name == HEADER and _NAMED.fullmatch(value):
                self.id = value
            elif name == b"content-length" and value.isdigit():
                self.bytes_in = int(value)
            elif name == b"transfer-encoding":
                self.counts = True
        # a name, no secret
        self.id = self.id or (b"%016x" % random.getrandbits(64)).translate(_LETTERS)

    def receiving(self, receive: Receive) -> Receive:
        """Return what counts the bytes of a body whose length nobody has told."""
        if not self.counts:
            return receive

        async def counting() -> AsgiMessage:
            message = await receive()
            self.bytes_in += len(message.get("body", b""))
            return message

        return counting

    def answering(self, message: AsgiMessage) -> None:
        """Note a part of the answer; its head gets the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), (HEADER, self.id)]
            message["headers"] = headers
            self.replayed = any(name == b"idempotent-replayed" for name, _ in headers)
        else:
            self.bytes_out += len(message.get("body", b""))

    def answer(self, response: Response) -> Answer:
        """Note an answer that is there whole, and return it with the request's id."""
        headers = [*response.raw_headers, (HEADER, self.id)]
        body = bytes(response.body)
        self.status, self.bytes_out = response.status_code, len(body)
        self.replayed = any(name == b"idempotent-replayed" for name, _ in headers)
        return Answer(response.status_code, headers, body)


@dataclass(slots=True)
class _Sum:
    count: int = 0
    seconds: float = 0.0
    longest_seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0


class RequestLog:
    """Writes the lines of one process."""

    def __init__(self) -> None:
        self._budget = LineBudget(_LINES_PER_SECOND, _BURST)
        self._failures = LineBudget()
        self._sums: dict[tuple[str, str, int], _Sum] = {}

    def done(self, scope: Scope, noted: Noted, key: str | None, seconds: float) -> None:
        """Tell of a request that has its answer."""
        path, status = scope["path"], noted.status
        quiet = path in _QUIET
        if not _plain.isEnabledFor(logging.DEBUG if quiet else logging.INFO):
            return
        route = getattr(scope.get("route"), "path", None) or "-"
        now = time.monotonic()
        failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        if not ((failed and self._failures.take(now)) or self._budget.take(now)):
            self._add((scope["method"], route, status), noted, seconds)
            return
        more: dict[str, Any] = {"parameters": found} if (found := scope.get("path_params")) else {}
        if status in _REFUSED:
            client = scope.get("client")
            more["client"] = client[0] if client else None
        (log.debug if quiet else log.info)(
            "request.done",
            request=noted.id.decode(),
            method=scope["method"],
            route=route,
            **more,
            status=status,
            seconds=round(seconds, 4),
            key=key,
            replayed=noted.replayed,
            received_bytes=noted.bytes_in,
            sent_bytes=noted.bytes_out,
        )

    def write_all(self) -> None:
        """Write the sums."""
        sums, self._sums = self._sums, {}
        for (method, route, status), one in sums.items():
            log.info(
                "requests.done",
                method=method,
                route=route,
                status=status,
                count=one.count,
                mean_seconds=round(one.seconds / one.count, 4),
                longest_seconds=round(one.longest_seconds, 4),
                received_bytes=one.bytes_in,
                sent_bytes=one.bytes_out,
            )

    def _add(self, what: tuple[str, str, int], noted: Noted, seconds: float) -> None:
        if not self._sums:
            asyncio.get_running_loop().call_later(SUM_SECONDS, self.write_all)
        one = self._sums.get(what)
        if one is None:
            one = self._sums[what] = _Sum()
        one.count += 1
        one.seconds += seconds
        one.longest_seconds = max(one.longest_seconds, seconds)
        one.bytes_in += noted.bytes_in
        one.bytes_out += noted.bytes_out


#: This process's.
requests: Final = RequestLog()
