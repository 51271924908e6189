"""How long a request's body may take to come: a stalled one, or a trickle, holds nobody for ever."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Whoever sends less a second than this, after the first `stall` seconds, is told to come again.
LEAST_BYTES_A_SECOND: Final = 1000


class Patience:
    """ASGI middleware: 408 where the next bytes of a body, or all of it, take too long.

    Only waiting for the client counts, not what we need ourselves to take in what came. `stall_seconds` is
    asked when a request comes.
    """

    def __init__(self, app: ASGIApp, stall_seconds: Callable[[], float]) -> None:
        self._app = app
        self._stall_seconds = stall_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stall = self._stall_seconds()
        whole = False
        taken, waited = 0, 0.0

        async def receiving() -> Message:
            nonlocal whole, taken, waited
            if whole:  # what comes now is the end of the connection
                return await receive()
            began = time.monotonic()
            left = stall + taken / LEAST_BYTES_A_SECOND - waited
            try:
                async with asyncio.timeout(max(0.0, min(stall, left))):
                    message = await receive()
            except TimeoutError:
                # FastAPI lets only its own exceptions out of reading a body
                raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"}) from None
            waited += time.monotonic() - began
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            return message

        await self._app(scope, receiving, send)
