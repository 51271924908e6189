"""Connections to endpoints, kept open for the next event; where they may go is `outside.connecting`'s to say.

No HTTP library: what is needed of HTTP/1.1 is one POST and a status, and a library takes ten times the CPU
(httpcore 1.0.9 2,300 µs a POST), in the very process that sends messages.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

import httptools

from broadcaster.outside.connecting import ANSWER_BYTES, Guard, connect, place_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from urllib.parse import SplitResult

    from broadcaster.outside.connecting import Connect, Place, Streams

#: How long the rest of an answer is read, head and body: as far as `ANSWER_BYTES`.
REST_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 30.0
_FIRST_FINAL_STATUS: Final = 200


class Broken(Exception):  # noqa: N818
    """The connection ended, or what came was no HTTP, before there was an answer."""


@dataclass(slots=True)
class _Reply:
    """What came of an answer so far; httptools calls its methods."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    parser: httptools.HttpResponseParser = field(init=False)

    def __post_init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        self.status = status if status >= _FIRST_FINAL_STATUS else 0  # 1xx: the answer is yet to come

    def on_message_complete(self) -> None:
        self.complete = bool(self.status)


class Connections:
    """Posts over connections that it keeps. `allow_private`: to any address."""

    def __init__(self, trust: ssl.SSLContext, *, allow_private: bool, connect: Connect = connect) -> None:
        self._guard = Guard(trust, allow_private=allow_private, connect=connect)
        self._idle: defaultdict[Place, list[tuple[float, Streams]]] = defaultdict(list)

    async def post(
        self, url: SplitResult, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str]]:
        """POST a body; return the answer's status and headers (names in lower case).

        Raises `ForbiddenAddress`, `NoConnection`, `Broken`, `ssl.SSLError`.
        """
        key = place_of(url)
        head = {"host": url.netloc, **headers, "content-length": str(len(body))}
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        request = "\r\n".join(lines).encode("ascii") + body
        while (kept := self._kept(key)) is not None:
            # one that was kept may have been closed by the other side meanwhile: that is no answer
            with suppress(Broken):
                return await self._exchange(key, kept, request)
        return await self._exchange(key, await self._guard.open(key), request)

    def close(self) -> None:
        """Close what is kept."""
        for some in self._idle.values():
            for _, (_, writer) in some:
                writer.transport.abort()
        self._idle.clear()

    def _kept(self, key: Place) -> Streams | None:
        some = self._idle[key]
        while some:
            since, (reader, writer) = some.pop()
            if monotonic() - since < IDLE_SECONDS and not (reader.at_eof() or writer.is_closing()):
                return reader, writer
            writer.transport.abort()
        del self._idle[key]
        return None

    async def _exchange(self, key: Place, streams: Streams, request: bytes) -> tuple[int, dict[str, str]]:
        reader, writer = streams
        reply = _Reply()
        keep = False
        try:
            writer.write(request)
            await _read(reader, reply)
            # the status says it all: the rest is read if it comes soon, so that the connection can be kept
            with suppress(TimeoutError, Broken):
                async with asyncio.timeout(REST_SECONDS):
                    await _read(reader, reply, whole=True)
            keep = reply.complete and reply.parser.should_keep_alive()
        finally:
            if keep:
                self._idle[key].append((monotonic(), streams))
            else:
                writer.transport.abort()
        return reply.status, reply.headers


async def _read(reader: asyncio.StreamReader, reply: _Reply, *, whole: bool = False) -> None:
    """Read until there is a status, or the `whole` answer (as far as `ANSWER_BYTES`). Raises `Broken`."""
    size = 0
    while not (reply.complete if whole else reply.status) and size < ANSWER_BYTES:
        try:
            part = await reader.read(ANSWER_BYTES)
            reply.parser.feed_data(part)
        except (OSError, httptools.HttpParserError) as error:
            raise Broken(type(error).__name__) from None
        if not part:
            raise Broken("it was closed")
        size += len(part)
    if not reply.status:
        raise Broken("its answer's head is too long")
