"""A TCP proxy of ours that breaks what goes through it, while it runs.

It delays, holds back, loses, cuts after so many bytes, closes half way, resets and refuses, also exactly
between a question and its answer; `trouble.py`
makes a seeded list of such things.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass, field
from typing import Final, Self

CHUNK: Final = 65_536
#: With this a closed socket sends RST at once instead of finishing.
LINGER_NOT: Final = struct.pack("ii", 1, 0)

Flow = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(eq=False, slots=True)
class _Link:
    """One client's connection and the one that was made for it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    left: int | None = None
    lost: bool = False
    unanswered: bool = False
    ended: set[asyncio.StreamWriter] = field(default_factory=set)

    def end(self, *, hard: bool = False) -> None:
        """Close both sides, in order or (`hard`) by a reset."""
        for writer in (self.client, self.server):
            if writer is None:
                continue
            if hard and not writer.is_closing():
                taken = writer.get_extra_info("socket")
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
                writer.transport.abort()
            else:
                writer.close()

    def finish(self, writer: asyncio.StreamWriter) -> None:
        """Tell one side that no more comes."""
        if writer not in self.ended and writer.can_write_eof() and not writer.is_closing():
            self.ended.add(writer)
            writer.write_eof()


class FaultProxy:
    """Listens on a loopback port of its own and passes everything on to `host:port`, or doesn't."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = 0
        self.delay_seconds = 0.0
        self.swallowing = False
        self.losing: dict[bytes, int] = {}
        self._target = (host, port)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.calm()
        self.refuse()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._links)

    # -- what it can do

    async def listen(self) -> None:
        """Let clients in, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self.port, reuse_address=True, backlog=512
            )
            self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Let nobody in, and reset who is in."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def calm(self) -> None:
        """End delay, stall and black hole, and lose no more answers."""
        self.delay_seconds = 0.0
        self.losing.clear()
        self._flowing.set()
        if self.swallowing:
            self.swallowing = False
            for link in [link for link in self._links if link.lost]:
                link.end(hard=True)

    def stall(self) -> None:
        """Hold everything back until `calm`."""
        self._flowing.clear()

    def swallow(self) -> None:
        """Lose everything until `calm`, which resets the connections that lost something."""
        self.swallowing = True

    def lose_answers(self, to: bytes, times: int = 1) -> None:
        """So often, pass on what holds `to`, and reset its connection in place of the answer."""
        self.losing[to] = times

    def _asks(self, data: bytes) -> bool:
        """Whether the answer to this is one to lose."""
        for to, left in self.losing.items():
            if left and to in data:
                self.losing[to] = left - 1
                return True
        return False

    def cut_after(self, size: int) -> None:
        """End each connection there is once so many more bytes passed."""
        for link in self._links:
            link.left = size

    def half_close(self) -> None:
        """Tell every client that no more comes; what it sends still passes."""
        for link in self._links:
            link.finish(link.client)

    def reset(self) -> None:
        """Reset every connection."""
        for link in list(self._links):
            link.end(hard=True)

    # -- passing on

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        link = _Link(writer)
        self._links.add(link)
        try:
            from_server, link.server = await asyncio.open_connection(*self._target)
            if writer.is_closing():
                return
            there, back = (reader, link.server), (from_server, writer)
            await asyncio.gather(self._pass(link, there), self._pass(link, back))
        except OSError:
            link.end(hard=True)
        finally:
            self._links.discard(link)
            link.end()

    async def _pass(self, link: _Link, flow: Flow) -> None:
        source, target = flow
        there = target is link.server
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                await self._flowing.wait()
                if there and self.losing and self._asks(data):
                    link.unanswered = True
                if self.swallowing or link.lost:
                    link.lost = True
                elif link.unanswered and not there:
                    return link.end(hard=True)
                elif link.left is not None and len(data) >= link.left:
                    if link.left and target not in link.ended:
                        target.write(data[: link.left])
                    return link.end()
                elif target not in link.ended:
                    link.left = None if link.left is None else link.left - len(data)
                    target.write(data)
                    await target.drain()
            return link.finish(target)
        return link.end(hard=True)
