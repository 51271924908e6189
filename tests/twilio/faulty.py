"""Servers that misbehave to order on loopback sockets, and count what they read."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    type_of_script = Callable[["Visit"], Awaitable[None]]

HERE: Final = Path(__file__).parent
CA_PEM: Final = (HERE / "test_ca.pem").read_bytes()
SID: Final = "SM" + "0123456789abcdef" * 2
CREATED: Final = b'{"sid":"' + SID.encode() + b'","status":"queued","body":"x"}'


def tls_context(*, demand_client_certificate: bool = False) -> ssl.SSLContext:
    """A server context for `localhost`, trusted by who trusts CA_PEM. The key is published and worthless."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(HERE / "localhost.pem")
    if demand_client_certificate:
        context.load_verify_locations(HERE / "test_ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def answer(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class Seen:
    """What a server has got so far."""

    connections: int = 0
    requests: list[bytes] = field(default_factory=list)
    bytes_read: int = 0


@dataclass
class Visit:
    """One connection, for a script to play with."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: Seen

    async def request(self) -> bytes:
        """Read one whole request and return its body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        body = await self.reader.readexactly(length)
        self.seen.bytes_read += len(head) + length
        self.seen.requests.append(head + body)
        return body

    async def some(self, count: int) -> None:
        """Read `count` bytes and no more."""
        self.seen.bytes_read += len(await self.reader.readexactly(count))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def send_beneath(self, data: bytes) -> None:
        """Put bytes on the TCP connection, beneath TLS."""
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as raw:
            raw.send(data)

    async def until_closed(self) -> None:
        await self.reader.read()

    def reset(self) -> None:
        """End the connection with a RST, not a FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def cut(self) -> None:
        """End the TCP connection without a TLS close_notify."""
        self.writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self.writer.transport.abort()


@asynccontextmanager
async def serving(
    script: type_of_script, tls: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, Seen]]:
    """Play `script` on each connection and close it afterwards; yields the base URL and what was seen."""
    seen = Seen()
    playing: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            await script(Visit(reader, writer, seen))
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left first
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(play(reader, writer))
        playing[task] = writer

    server = await asyncio.start_server(start, "127.0.0.1", 0, ssl=tls, limit=1 << 24)
    port = server.sockets[0].getsockname()[1]
    try:
        yield (f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"), seen
    finally:
        server.close()
        for writer in playing.values():
            with suppress(AttributeError):  # Python 3.11.2: of TLS that has ended already
                writer.transport.abort()
        await asyncio.gather(*playing)
