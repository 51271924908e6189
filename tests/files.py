"""A server of files that answers as it is told, well or badly."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def head(kind: str = "image/png", length: int | str = 3, status: str = "200 OK", more: str = "") -> bytes:
    """Return the head of an answer."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}" if kind else "",
        f"Content-Length: {length}" if length != "" else "",
    ]
    return ("\r\n".join([*filter(None, [*lines, more]), "", ""])).encode()


def moved(to: str, status: str = "302 Found") -> bytes:
    """Return a redirect."""
    return head("", 0, status, f"Location: {to}")


@dataclass
class Files:
    """A server: what it answers by method and path; b"" closes, None is silent, …forever never ends."""

    answers: dict[str, bytes | None]
    port: int = 0
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    sent: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = request.split(" ", 2)
        self.asked.append(f"{method} {path}")
        self.heads.append(request)
        answer = self.answers.get(
            f"{method} {path}", self.answers.get(path, head("text/html", 0, "404 Not Found"))
        )
        with contextlib.suppress(ConnectionError):
            if answer is None:
                await reader.read()
            elif answer.endswith(b"forever"):
                writer.write(answer.removesuffix(b"forever"))
                while True:
                    writer.write(b"x" * 65536)
                    await writer.drain()
                    self.sent += 65536
            else:
                writer.write(answer.replace(b"{port}", str(self.port).encode()))
                await writer.drain()
        writer.close()

    def url(self, path: str) -> str:
        """Return where a file is."""
        return f"http://127.0.0.1:{self.port}{path}"


@contextlib.asynccontextmanager
async def files(**answers: bytes | None) -> AsyncIterator[Files]:
    """Serve until the block ends."""
    there = Files({(key if " " in key else f"/{key}"): answer for key, answer in answers.items()})
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await there.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    there.port = server.sockets[0].getsockname()[1]
    try:
        yield there
    finally:
        server.close()
        await asyncio.gather(*tasks)
