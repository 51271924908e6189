"""Loading a list: a slow one keeps its lease, a full Redis takes none."""

from __future__ import annotations

import asyncio
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from redis import Redis

from broadcaster.domain.content import Content
from broadcaster.domain.senders import SenderKind
from broadcaster.intake import load, submit
from broadcaster.intake.senders import Lane
from broadcaster.intake.submit import Submission, SubmissionError
from broadcaster.intake.table import Chunk
from broadcaster.store.connection import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

ORDER = Submission(
    name="slow", content=Content(body="Hi"), lanes=(Lane("12345", SenderKind.SHORT_CODE, 100.0, "default"),)
)


class SlowList:
    """A list whose second row comes when it is let go."""

    name = "slow"
    position = "line"
    encoding = None
    notes = ()

    def __init__(self) -> None:
        self.go = threading.Event()

    def __iter__(self) -> Iterator[Chunk]:
        yield Chunk(("to",), 0, None, [1], [["+14155550100"]])
        self.go.wait(30)
        yield Chunk(("to",), 0, None, [2], [["+14155550101"]])

    def digest(self) -> str:
        return "d"

    def release(self) -> None:
        self.go.set()


async def test_a_slow_list_keeps_its_lease(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Awaitable[None]]
) -> None:
    monkeypatch.setattr(load, "IMPORT_LEASE_SECONDS", 1.0)
    monkeypatch.setattr(submit, "RENEW_SECONDS", 0.05)
    store = await open_store(redis_url)
    slow = SlowList()
    task = asyncio.create_task(submit.submit(store, slow, ORDER))
    left: list[int] = []

    async def renewed_twice() -> bool:
        keys = await store.redis.keys("*:importer")
        left.append(await store.redis.pttl(keys[0]) if keys else 0)
        return sum(later > before for before, later in pairwise(left)) > 3

    try:
        await wait_until(renewed_twice)
        slow.go.set()
        done = await task
        assert await store.redis.hget(store.keys.broadcast(done.broadcast), "total") == b"2"
    finally:
        slow.go.set()
        await store.close()


async def test_a_full_redis_takes_no_list(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "MEMORY_SHARE", 0.0001)
    store = await open_store(redis_url)
    slow = SlowList()
    slow.go.set()
    with Redis.from_url(redis_url) as redis:
        redis.config_set("maxmemory", 1 << 30)
        try:
            with pytest.raises(SubmissionError, match="Redis is full"):
                await submit.submit(store, slow, ORDER)
        finally:
            redis.config_set("maxmemory", 0)
        assert not redis.zcard("bc:bcs")
    await store.close()
