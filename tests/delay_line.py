"""A TCP proxy of ours that is far away: everything comes through whole and in order, a fixed time later."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHUNK = 1 << 18


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Pass on what comes, each piece `seconds` after it came; several may be under way."""
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def arrive() -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(due - loop.time())
            writer.write(piece)
            await writer.drain()

    arriving = asyncio.create_task(arrive())
    try:
        with contextlib.suppress(OSError):
            while piece := await reader.read(_CHUNK):
                under_way.put_nowait((loop.time() + seconds, piece))
    finally:
        arriving.cancel()
        writer.close()


@asynccontextmanager
async def delay_line(port: int, round_trip_seconds: float) -> AsyncIterator[int]:
    """Listen on a loopback port for a server on another; a round trip takes so much longer through it."""
    tasks = set[asyncio.Task[None] | None]()
    one_way = round_trip_seconds / 2

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
        there, back = _carry(reader, to_server, one_way), _carry(from_server, writer, one_way)
        with contextlib.suppress(asyncio.CancelledError):  # the end of the block, which needs no word
            await asyncio.gather(there, back)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
