"""Reading a request's body: piece by piece as it is used, or whole; and which kinds are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.requests import ClientDisconnect

from broadcaster.api.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

_CLOSE: Final = {"Connection": "close"}


async def pieces(request: Request, most: int | None = None) -> AsyncIterator[bytes]:
    """Yield a body as it comes, at most `most` bytes of it. How long it may take: `Patience`.

    Raises `Problem` 413, or 400 where the client breaks off.
    """
    taken = 0
    try:
        async for piece in request.stream():
            taken += len(piece)
            if most is not None and taken > most:
                raise Problem("too-large", f"This takes {most:,} bytes at most.")
            if piece:
                yield piece
    except ClientDisconnect:
        raise Problem("bad-request", "The body was broken off.", headers=_CLOSE) from None


async def whole(request: Request) -> bytes:
    """Return the body; its size is bounded by who lets it in. Raises like `pieces`."""
    return b"".join([piece async for piece in pieces(request)])


def media_type(request: Request, *taken: str) -> str:
    """Return which of the types `taken` the body has. Raises `Problem` 415."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem("unsupported-media-type", "A body is taken as it is, without Content-Encoding.")
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given.startswith("application/") and given.endswith("+json"):
        given = "application/json"
    if given not in taken:
        what = f"not {given}" if given else "and says which with Content-Type"
        raise Problem("unsupported-media-type", f"This takes {' or '.join(taken)}, {what}.")
    return given
