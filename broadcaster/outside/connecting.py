"""Connections to hosts that somebody else named: to an address that was looked at.

Against requests into our own network (whoever may name a URL could else reach what only we can): a name is
resolved once, all its addresses are judged, and the connection goes to the very address that was judged, so
that a second answer of its DNS changes nothing. TLS is verified against the name.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.outside.addresses import forbidden_because

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from urllib.parse import SplitResult

    from broadcaster.outside.addresses import Address

    Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
    #: (address, port, TLS or None, name that the certificate must be for) → an open connection
    Connect = Callable[[str, int, ssl.SSLContext | None, str], Awaitable[Streams]]

CONNECT_SECONDS: Final = 5.0
#: What is read of an answer at once.
ANSWER_BYTES: Final = 16_384
_ADDRESSES_TRIED: Final = 3
_RESOLVERS: Final = 8


class ForbiddenAddress(Exception):  # noqa: N818 - a state of the world, named as one
    """The host is, or resolves to, an address that requests must not be sent to."""


class NoConnection(Exception):  # noqa: N818
    """The name can't be resolved, or nobody answers there."""


class Place(NamedTuple):
    """Where a URL's host listens."""

    scheme: str
    host: str
    port: int


def place_of(url: SplitResult) -> Place:
    """Return where to connect to for a URL. Raises ValueError for a port that is none."""
    return Place(url.scheme, url.hostname or "", url.port or (443 if url.scheme == "https" else 80))


async def connect(host: str, port: int, tls: ssl.SSLContext | None, name: str) -> Streams:
    """Connect to an address. Raises OSError, `ssl.SSLError`."""
    return await asyncio.open_connection(
        host, port, ssl=tls, server_hostname=name if tls else None, limit=ANSWER_BYTES
    )


class Guard:
    """Opens connections. `allow_private`: to any address."""

    def __init__(self, trust: ssl.SSLContext, *, allow_private: bool, connect: Connect = connect) -> None:
        self._trust = trust
        self._allow_private = allow_private
        self._connect = connect
        self._resolving: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}
        self._threads = threading.Semaphore(_RESOLVERS)

    async def open(self, place: Place) -> Streams:
        """Connect to a place. Raises `ForbiddenAddress`, `NoConnection`, `ssl.SSLError`."""
        scheme, host, port = place
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
            asked = asyncio.get_running_loop().create_future()
            self._resolving[host, port] = asked
            asked.add_done_callback(lambda end: self._resolved((host, port), end))
            # Daemons, and few of them: a slow DNS holds up neither the end of the program nor what others
            # resolve in this process.
            loop = asyncio.get_running_loop()
            threading.Thread(
                target=self._ask, args=(loop, asked, host, port), name="resolving", daemon=True
            ).start()
        return await asyncio.shield(asked)

    def _ask(
        self, loop: asyncio.AbstractEventLoop, asked: asyncio.Future[list[Address]], host: str, port: int
    ) -> None:
        def tell(found: list[Address] | None) -> None:
            if asked.done():
                return
            if found is None:
                asked.set_exception(NoConnection("the name cannot be resolved"))
            else:
                asked.set_result(found)

        with self._threads:
            found = _addresses_of(host, port)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, found)

    def _resolved(self, key: tuple[str, int], end: asyncio.Future[list[Address]]) -> None:
        self._resolving.pop(key, None)
        if not end.cancelled():
            end.exception()  # whoever asked may have given up meanwhile


def _addresses_of(host: str, port: int) -> list[Address] | None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return list(dict.fromkeys(ipaddress.ip_address(info[4][0]) for info in found))
