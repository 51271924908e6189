"""Connections to endpoints: to an address that was looked at, kept open for the next event.

Against requests into our own network (whoever may name an endpoint could else reach what only we can): a
name is resolved once, all its addresses are judged, and the connection goes to the very address that was
judged, so that a second answer of its DNS changes nothing. TLS is verified against the name.

No HTTP library: what is needed of HTTP/1.1 is one POST and a status, and a library takes ten times the CPU
(httpcore 1.0.9 2,300 µs a POST), in the very process that sends messages.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

import httptools

from broadcaster.events.addresses import forbidden_because

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from urllib.parse import SplitResult

    from broadcaster.events.addresses import Address

    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
    #: (address, port, TLS or None, name that the certificate must be for) → an open connection
    Connect = Callable[[str, int, ssl.SSLContext | None, str], Awaitable[Streams]]

CONNECT_SECONDS: Final = 5.0
#: What is read of an answer, head and body, and how long of the body.
ANSWER_BYTES: Final = 16_384
REST_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 30.0
_ADDRESSES_TRIED: Final = 3
_RESOLVERS: Final = 8
_FIRST_FINAL_STATUS: Final = 200


class ForbiddenAddress(Exception):  # noqa: N818 - a state of the world, named as one
    """The host is, or resolves to, an address that events must not be sent to."""


class NoConnection(Exception):  # noqa: N818
    """The name can't be resolved, or nobody answers there."""


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


async def connect(host: str, port: int, tls: ssl.SSLContext | None, name: str) -> Streams:
    """Connect to an address. Raises OSError, `ssl.SSLError`."""
    return await asyncio.open_connection(
        host, port, ssl=tls, server_hostname=name if tls else None, limit=ANSWER_BYTES
    )


class Connections:
    """Posts over connections that it keeps. `allow_private`: to any address."""

    def __init__(self, trust: ssl.SSLContext, *, allow_private: bool, connect: Connect = connect) -> None:
        self._trust = trust
        self._allow_private = allow_private
        self._connect = connect
        self._idle: defaultdict[tuple[str, str, int], list[tuple[float, Streams]]] = defaultdict(list)
        # threads of its own: a customer's slow DNS must not hold up what others resolve in this process
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="events-dns")
        self._resolving: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def post(
        self, url: SplitResult, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str]]:
        """POST a body; return the answer's status and headers (names in lower case).

        Raises `ForbiddenAddress`, `NoConnection`, `Broken`, `ssl.SSLError`.
        """
        key = (url.scheme, url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
        head = {"host": url.netloc, **headers, "content-length": str(len(body))}
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        request = "\r\n".join(lines).encode("ascii") + body
        while (kept := self._kept(key)) is not None:
            # one that was kept may have been closed by the other side meanwhile: that is no answer
            with suppress(Broken):
                return await self._exchange(key, kept, request)
        return await self._exchange(key, await self._open(key), request)

    def close(self) -> None:
        """Close what is kept, and let the resolvers' threads end."""
        for some in self._idle.values():
            for _, (_, writer) in some:
                writer.transport.abort()
        self._idle.clear()
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    def _kept(self, key: tuple[str, str, int]) -> Streams | None:
        some = self._idle[key]
        while some:
            since, (reader, writer) = some.pop()
            if monotonic() - since < IDLE_SECONDS and not (reader.at_eof() or writer.is_closing()):
                return reader, writer
            writer.transport.abort()
        del self._idle[key]
        return None

    async def _exchange(
        self, key: tuple[str, str, int], streams: Streams, request: bytes
    ) -> tuple[int, dict[str, str]]:
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

    async def _open(self, key: tuple[str, str, int]) -> Streams:
        scheme, host, port = key
        addresses = await self._resolve(host, port)
        if not self._allow_private:
            for address in addresses:
                if why := forbidden_because(address):
                    raise ForbiddenAddress(f"the address is {why}; requests go to public addresses only")
        failed: Exception = NoConnection("the name has no address")
        for address in addresses[:_ADDRESSES_TRIED]:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    tls = self._trust if scheme == "https" else None
                    return await self._connect(str(address), port, tls, host)
            except ssl.SSLError:
                raise
            except TimeoutError:
                failed = NoConnection("it took too long")
            except OSError as error:
                failed = NoConnection(error.strerror or type(error).__name__)
        raise failed

    async def _resolve(self, host: str, port: int) -> list[Address]:
        """Return a host's addresses; who asks for the same at the same time shares the answer."""
        asked = self._resolving.get((host, port))
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._resolvers, _addresses_of, host, port)
            self._resolving[host, port] = asked
            asked.add_done_callback(lambda end: self._resolved((host, port), end))
        return await asyncio.shield(asked)

    def _resolved(self, key: tuple[str, int], end: asyncio.Future[list[Address]]) -> None:
        self._resolving.pop(key, None)
        if not end.cancelled():
            end.exception()  # whoever asked may have given up meanwhile


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


def _addresses_of(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NoConnection("the name cannot be resolved") from None
    return list(dict.fromkeys(ipaddress.ip_address(info[4][0]) for info in found))
