"""Reading a request's body: no faster than it is used, and not for ever from a client that hardly sends."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect

from broadcaster.api.parts import parts_of
from broadcaster.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

#: Bytes a second that a body must come with on average, once it kept us waiting for a while.
SLOWEST: Final = 1024
_CLOSE: Final = {"Connection": "close"}


async def pieces(request: Request, most: int | None = None) -> AsyncIterator[bytes]:
    """Yield a body as it comes, at most `most` bytes of it. Only the client's time is counted, not ours.

    Raises `Problem` 408, 413, or 400 where the client breaks off.
    """
    stall = parts_of(request).settings.api_stall_seconds
    stream = aiter(request.stream())
    waited, taken = 0.0, 0
    while True:
        began = time.monotonic()
        try:
            async with asyncio.timeout(stall):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Problem("too-slow", f"No byte came for {stall:g} seconds.", headers=_CLOSE) from None
        except ClientDisconnect:
            raise Problem("bad-request", "The body was broken off.", headers=_CLOSE) from None
        waited += time.monotonic() - began
        taken += len(piece)
        if most is not None and taken > most:
            raise Problem("too-large", f"This takes {most:,} bytes at most.")
        if waited > stall and taken < SLOWEST * waited:
            raise Problem("too-slow", f"At least {SLOWEST:,} bytes a second must come.", headers=_CLOSE)
        if piece:
            yield piece


async def whole(request: Request) -> bytes:
    """Return the body; its size is bounded by who lets it in. Raises like `pieces`."""
    return b"".join([piece async for piece in pieces(request)])


def media_type(request: Request, *taken: str) -> str:
    """Return which of the types `taken` the body has. Raises `Problem` 415."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given.startswith("application/") and given.endswith("+json"):
        given = "application/json"
    if given not in taken:
        what = f"not {given}" if given else "and says which with Content-Type"
        raise Problem("unsupported-media-type", f"This takes {' or '.join(taken)}, {what}.")
    return given
