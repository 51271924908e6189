"""The person index: every recipient is found over all broadcasts, and nobody else."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from driving import LANE, OTHER, everything
from loading import load, number

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content
from broadcaster.intake.batches import BatchRows
from broadcaster.intake.load import (
    ImportLostError,
    Loader,
    abandon,
    lay,
    new_broadcast_id,
    remove_data,
    reserve,
)
from broadcaster.ledger.people import find_places, forget
from broadcaster.reporting.messages import find_number
from broadcaster.store.who import (
    batch_at,
    bucket_of,
    cut_out,
    entries_of,
    marks,
    place_of,
    serials_in,
    without,
)

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

SPEC = BroadcastSpec(name="test", senders=(LANE, OTHER), content=Content(body="hello"))


def rows(lane: str, *to: str) -> BatchRows:
    size = len(to)
    return BatchRows(lane, list(to), None, (), [], bytes(size), [0] * size, b"\1" * size)


async def found(store: Store, address: str, broadcast: str | None = None) -> list[str]:
    return [view.id async for view in find_number(store, broadcast, address)]


async def test_everybody_is_found_wherever_they_are_newest_first(store: Store) -> None:
    first = await load(store, {LANE: 60, OTHER: 40}, batch=20)
    second = await load(store, {LANE: 100}, batch=30, first=50)
    for i in (0, 49, 50, 99, 149):
        expected = []
        if i >= 50:
            expected.append(f"{second}.0.{(i - 50) // 30}.{(i - 50) % 30}")
        if i < 60:
            expected.append(f"{first}.0.{i // 20}.{i % 20}")
        elif i < 100:
            expected.append(f"{first}.1.{(i - 60) // 20}.{(i - 60) % 20}")
        assert await found(store, number(i)) == expected
        assert await found(store, number(i), first) == [name for name in expected if first in name]
    assert await found(store, number(150)) == []
    pages = [f"{second}.0.0.0", f"{first}.0.2.10"]
    assert [v.id async for v in find_number(store, None, number(50), after=pages[0])] == pages[1:]
    assert [v.id async for v in find_number(store, None, number(50), after=pages[1])] == []
    assert [v.id async for v in find_number(store, None, number(50), after="gone.0.0.0")] == []


async def test_others_with_the_same_check_are_read_and_left_out(store: Store) -> None:
    """Two numbers of one bucket and check: found by trying."""
    seen: dict[int, str] = {}
    chance = random.Random(7)
    while True:
        one = f"+1{chance.randrange(10**9, 10**10)}"
        other = seen.setdefault(crc32(one.encode()) & 0xFFFF01FF, one)
        if other != one:
            break
    bid = new_broadcast_id()
    await store.run(reserve(bid, SPEC))
    loader = Loader(store, bid, SPEC, {LANE: 1.0, OTHER: 1.0})
    await loader.add(rows(LANE, one))
    await loader.add(rows(OTHER, other))
    await loader.seal(fingerprint="f", facts={})
    assert len((await find_places(store, [one]))[one]) == 2
    assert await found(store, one) == [f"{bid}.0.0.0"]
    assert await found(store, other) == [f"{bid}.1.0.0"]


async def test_a_batch_that_is_laid_twice_is_entered_once(store: Store) -> None:
    bid = new_broadcast_id()
    await store.run(reserve(bid, SPEC))
    loader = Loader(store, bid, SPEC, {LANE: 1.0, OTHER: 1.0})
    await loader.add(rows(LANE, number(1), number(2)))
    serial = int(await store.redis.hget(store.keys.broadcast(bid), "serial"))
    call = lay(bid, serial, loader._pending)
    assert await store.run(call) == "ok"
    before = await everything(store)
    assert await store.run(call) == "ok"
    assert await everything(store) == before
    await store.run(abandon(bid, "a test", by_its_importer=True))
    await loader.add(rows(LANE, number(3)))
    with pytest.raises(ImportLostError, match="failed"):
        await loader.flush()
    assert not await store.redis.exists(store.keys.ledger(bid, "0.1"))


async def test_an_import_leaves_nobody_behind_in_the_index(store: Store) -> None:
    kept = await load(store, {LANE: 10})
    bid = new_broadcast_id()
    await store.run(reserve(bid, SPEC))
    loader = Loader(store, bid, SPEC, {LANE: 1.0, OTHER: 1.0})
    await loader.add(rows(LANE, *(number(i) for i in range(5, 15))))
    await loader.flush()
    assert await found(store, number(5)) == [f"{kept}.0.0.5"], "of a list that isn't whole nobody is shown"
    await store.run(abandon(bid, "a test", by_its_importer=True))
    await remove_data(store, bid)
    raws = [await store.redis.get(key) async for key in store.redis.scan_iter(store.keys.who("*"))]
    assert sum(len(raw) for raw in raws) == 10 * 10
    assert await found(store, number(5)) == [f"{kept}.0.0.5"]
    assert not await store.redis.exists(store.keys.who(bucket_of(number(14))))


async def test_who_is_gone_is_cut_out_when_somebody_looks(store: Store) -> None:
    gone = await load(store, {LANE: 1})
    kept = await load(store, {LANE: 1})
    serial = int(await store.redis.hget(store.keys.broadcast(gone), "serial"))
    await store.redis.hdel(store.keys.plain("bcs:serials"), serial)  # removed by somebody who died then
    key = store.keys.who(bucket_of(number(0)))
    assert len(await store.redis.get(key)) == 20
    assert await found(store, number(0)) == [f"{kept}.0.0.0"]
    assert len(await store.redis.get(key)) == 10


async def test_what_was_appended_meanwhile_stays(store: Store) -> None:
    bid = await load(store, {LANE: 1})
    name = bucket_of(number(0))
    seen = await store.redis.get(store.keys.who(name))
    (serial,) = serials_in(seen)
    assert await store.run(cut_out(name, seen, [serial])) == 0, "it is there"
    await store.redis.hdel(store.keys.plain("bcs:serials"), serial)
    await load(store, {LANE: 1})
    call = cut_out(name, seen, [serial])
    assert await store.run(call) == 1
    left = await everything(store)
    assert await store.run(call) == 0
    assert await everything(store) == left
    assert [e.serial for e in entries_of(await store.redis.get(store.keys.who(name)), number(0))] == [
        serial + 1
    ]
    await forget(store, [serial + 1], [name])
    await forget(store, [serial + 1], [name])
    assert not await store.redis.exists(store.keys.who(name))
    assert bid


async def test_a_list_for_ten_thousand_senders_has_places_for_its_batches() -> None:
    assert batch_at(place_of(9_999, 400_000, 10_000), 10_000) == (9_999, 400_000)
    with pytest.raises(ValueError, match="split it"):
        place_of(0, 2**32, 1)


def test_entries_are_found_where_they_begin_only() -> None:
    address = number(3)
    check = marks([address])[3:]
    entry: Any = check + (7).to_bytes(4, "big") + (9).to_bytes(4, "big")
    other = b"\0\0" + check + check + b"\0\0" + check
    assert entries_of(other + entry + other, address) == [(7, 9)]
    assert serials_in(entry + entry) == {7}
    assert without(other + entry, [7]) == other
    assert without(other + entry, [8]) == other + entry
    assert entries_of(b"", address) == []
