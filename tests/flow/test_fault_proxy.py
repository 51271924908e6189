"""The fault proxy does what it says, or the chaos behind it shows nothing."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import pytest
from fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def echo() -> AsyncIterator[FaultProxy]:
    """A server that sends back what it gets, and its goodbye when there is no more, behind a proxy."""
    served: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.add(asyncio.current_task())
        try:
            while data := await reader.read(1000):
                writer.write(data)
            writer.write(b"bye")
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with FaultProxy(server.sockets[0].getsockname()[1]) as proxy:
        yield proxy
    server.close()
    await asyncio.wait([task for task in served if task])


class Client:
    """One connection through the proxy that is known to work."""

    @classmethod
    async def of(cls, proxy: FaultProxy) -> Client:
        client = cls()
        client.reader, client.writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        assert await client.ask(b"hello") == b"hello"
        return client

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, data: bytes) -> bytes:
        self.writer.write(data)
        return await asyncio.wait_for(self.reader.readexactly(len(data)), 5)

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), 5)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()


async def test_delays_each_chunk() -> None:
    async with echo() as proxy, await Client.of(proxy) as client:
        proxy.delay_seconds = 0.05
        began = time.monotonic()
        assert await client.ask(b"late") == b"late"
        assert time.monotonic() - began >= 0.1, "there and back"


async def test_cuts_after_so_many_bytes_there_and_back() -> None:
    async with echo() as proxy, await Client.of(proxy) as client:
        proxy.cut_after(14)
        client.writer.write(b"0123456789")
        assert await client.rest() == b"0123", "ten there, four back"


async def test_a_stall_passes_everything_later_and_a_black_hole_never() -> None:
    async with echo() as proxy, await Client.of(proxy) as client:
        proxy.stall()
        client.writer.write(b"held")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.1)
        proxy.calm()
        assert await asyncio.wait_for(client.reader.readexactly(4), 5) == b"held"
        proxy.swallow()
        client.writer.write(b"lost")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.1)
        proxy.calm()
        with pytest.raises(ConnectionResetError):
            await client.rest()


async def test_half_closed_what_the_client_sends_still_arrives() -> None:
    async with echo() as proxy, await Client.of(proxy) as client:
        proxy.half_close()
        assert await client.rest() == b""
        client.writer.write(b"still")
        client.writer.write_eof()
        await client.writer.drain()


async def test_resets_and_refuses_until_it_listens_again() -> None:
    async with echo() as proxy, await Client.of(proxy) as client:
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            await client.rest()
        with pytest.raises(ConnectionRefusedError):
            await Client.of(proxy)
        await proxy.listen()
        async with await Client.of(proxy) as other:
            other.writer.write_eof()
            assert await other.rest() == b"bye", "an end in good order passes too"


async def test_an_answer_is_lost_after_its_question_arrived() -> None:
    async with echo() as proxy, await Client.of(proxy) as client, await Client.of(proxy) as other:
        proxy.lose_answers(b"money")
        client.writer.write(b"send money")
        with pytest.raises(ConnectionResetError):
            await client.rest()
        assert await other.ask(b"send money") == b"send money", "once was asked for"
