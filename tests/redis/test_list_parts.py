"""Pieces of a list's way from an upload: a pipe, the rows left out, what earlier parts had."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from broadcaster.api import uploads
from broadcaster.api.uploads import Pipe
from broadcaster.intake import rejects
from broadcaster.intake.addressing import Seen
from broadcaster.intake.extend import Draft, SeenParts
from broadcaster.intake.rejects import StoredRejects, read_rejects, store_rejects
from broadcaster.reporting.forecast import LaneLeft, seconds_left

if TYPE_CHECKING:
    import pytest

    from broadcaster.store.connection import Store


async def test_a_pipe_holds_its_writer_back_until_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PIPE_BYTES", 1000)
    pipe = Pipe()
    written = 0

    async def write() -> None:
        nonlocal written
        for _ in range(100):
            await pipe.write(b"x" * 100)
            written += 100
        pipe.finish()

    writing = asyncio.ensure_future(write())
    for _ in range(1000):
        await asyncio.sleep(0)
    assert 1000 <= written <= 1100
    read = await asyncio.to_thread(lambda: b"".join(iter(lambda: pipe.read(64), b"")))
    await writing
    assert read == b"x" * 10_000


async def test_a_pipe_that_fails_ends_its_reader_at_once() -> None:
    pipe = Pipe()
    found: list[BaseException] = []

    def read() -> None:
        try:
            pipe.read(10)
        except ConnectionError as error:
            found.append(error)

    reading = threading.Thread(target=read)
    reading.start()
    pipe.fail(ConnectionAbortedError("gone"))
    await asyncio.to_thread(reading.join, 5)
    assert [str(error) for error in found] == ["gone"]


async def test_rejects_are_kept_up_to_a_bound_and_counted_beyond(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rejects, "ROWS_KEPT", 700)
    taken = StoredRejects()
    for line in range(1000):
        taken.add(line, "too short", ("to", "name"), [str(line), "Ada"])
    taken.add(1000, "no number", ("name", "city", "to"), ["Eve", "Rome", ""])
    assert taken.count == 1001
    await store_rejects(store, "b", taken.take())
    await store_rejects(store, "b", taken.take(ended=True))
    rows = [row async for row in read_rejects(store, "b")]
    assert rows[0] == ("line", "reason", "to", "name")
    assert rows[1:] == [[str(line), "too short", str(line), "Ada"] for line in range(700)]
    later = StoredRejects(("to", "name"), kept=699)  # another part of the same list
    later.add(1, "no number", ("name", "city", "to"), ["Eve", "Rome", "x"])
    later.add(2, "no number", ("name", "city", "to"), ["Bob", "Oslo", "y"])
    await store_rejects(store, "c", later.take(ended=True))
    assert [row async for row in read_rejects(store, "c")][1:] == [["1", "no number", "x", "Eve", "Rome"]]
    assert [row async for row in read_rejects(store, "none")] == [("line", "reason")]


def addresses(*digits: int) -> bytes:
    seen = Seen()
    for one in digits:
        assert seen.take(f"+1415555{one:04d}")
    return seen.dumped()


async def test_what_parts_had_is_read_once_and_anew_where_redis_lost_it(store: Store) -> None:
    draft = Draft("b", "draft", None, None, 0, 0)  # type: ignore[arg-type]  # nothing else of it is asked
    key = store.keys.broadcast("b", ":seen")
    known, fresh = SeenParts(), SeenParts()
    await store.redis.rpush(key, addresses(1, 2))
    assert not (await known.read(store, draft)).take("+14155550001")
    await store.redis.rpush(key, addresses(3))
    for parts in (known, fresh):
        for digit in (1, 2, 3):
            assert not (await parts.read(store, draft)).take(f"+1415555{digit:04d}")
    # the last part is lost, and another came in its place
    await store.redis.rpop(key)
    await store.redis.rpush(key, addresses(4))
    seen = await known.read(store, draft)
    assert not seen.take("+14155550004")
    assert Seen(seen).take("+14155550003")
    await store.redis.delete(key)
    assert (await known.read(store, draft)).take("+14155550001")


def test_the_longest_lane_decides() -> None:
    left = [LaneLeft("a", 10, 30), LaneLeft("b", 100, 100), LaneLeft("c", 0, 0)]
    assert seconds_left(left, {"a": 1.0, "b": 10.0}) == 30
    assert seconds_left(left, {"a": 10.0, "b": 10.0}, 1.0, None) == 130
    assert seconds_left(left, {"a": 10.0}) is None
    assert seconds_left([], {}) == 0
