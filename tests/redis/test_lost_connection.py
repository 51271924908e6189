"""A connection that ended between two commands is a lost connection, whichever event loop tells it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError

from broadcaster.lanes.claims import Claimed, Item, Slice
from broadcaster.store.connection import client
from broadcaster.telemetry.metrics import Metrics
from workers.holding import Holding

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.store.connection import Store
    from broadcaster.store.embedded import EmbeddedServer


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
@pytest.mark.parametrize("way", ["url", "tcp_url"])
def test_writing_to_a_closed_connection(
    redis_server: EmbeddedServer, run: Callable[[Any], None], way: str
) -> None:
    async def ping(connection: Any) -> None:
        for _ in range(3):  # asyncio lets one write pass before it tells
            await connection.send_command("PING")
            await connection.read_response()

    async def write_after_the_end() -> None:
        redis = client(getattr(redis_server, way))
        connection = await redis.connection_pool.get_connection()
        connection._writer.transport.abort()
        await asyncio.sleep(0)
        with pytest.raises(RedisConnectionError):
            await ping(connection)
        await connection.disconnect()
        await redis.aclose()

    run(write_after_the_end())


async def test_a_slice_that_cannot_be_fetched_goes_back() -> None:
    """Whatever it was: a claim that nobody remembers holds its records as long as its worker lives."""
    holding = Holding(cast("Store", SimpleNamespace()), Metrics(), lambda: None)

    async def broken(_: object) -> None:
        raise RuntimeError("the handler is closed")

    holding.contents.load = broken  # type: ignore[assignment]
    slice_ = Slice("1.a.1", "+15550000001", "b", "0.0", 0.0, 0.01, [Item(0, 1, 0, 0)])
    holding.answered(Claimed(None, [slice_], "", 0.0), 0.0, 0.0)
    while holding._admitting:  # noqa: ASYNC110 - its task ends by itself
        await asyncio.sleep(0)
    assert holding.finished == ["1.a.1"]
    assert not holding.plan.unsent
