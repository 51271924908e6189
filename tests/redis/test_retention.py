"""People's data go by age: counts stay and add up, and whatever dies on the way is taken up again."""

from __future__ import annotations

import random
from array import array
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec
import pytest
from driving import LANE, OTHER, ask, everything, join, result, send_all, take, tell
from loading import counts, load, number

from broadcaster.domain.content import Content
from broadcaster.domain.record import State
from broadcaster.intake.rejects import StoredRejects, store_rejects
from broadcaster.lanes import claims
from broadcaster.lanes.control import cancel
from broadcaster.ledger import removing
from broadcaster.ledger.people import find_places
from broadcaster.ledger.removing import mark, read_spec, remove_marked
from broadcaster.ledger.replaying import Letters, replay
from broadcaster.operations.retention import DAY_SECONDS, Removed, remove_old
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.reporting.exports import whole
from broadcaster.reporting.messages import find_number, list_messages
from broadcaster.store.errors import StoreError
from broadcaster.store.who import without

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def days_on(store: Store, days: float) -> float:
    now, _ = await store.redis.time()
    return float(now + days * DAY_SECONDS)


async def ended(store: Store, count: int = 30, *, first: int = 0, batch: int = 10) -> str:
    """Load a broadcast and send it, with a dead letter, a rejected row and a history."""
    bid = await load(store, {LANE: count}, batch=batch, body="the secret text", first=first)
    rejects = StoredRejects()
    rejects.add(3, "too short", ("to", "name"), ("+141", "Somebody"))
    await store_rejects(store, bid, rejects.take(ended=True))
    await join(store)
    (held,) = await take(store, records=2)
    assert (await ask(store, held)).yes == "11"
    assert held.broadcast == bid
    first_, second = (item.row for item in held.items)
    await tell(
        store, held, [result(first_, 1, State.RETRY, code=500), result(second, 1, State.DEAD, code=30003)]
    )
    await store.run(claims.release("w1", [held.claim]))
    await send_all(store)
    return bid


async def left_of(store: Store, bid: str) -> set[str]:
    """What keys a broadcast has, its own name cut out."""
    prefix = store.keys.prefix
    names = (name for name in await everything(store) if bid in name)
    return {name.removeprefix(prefix).replace(bid, "ID") for name in names}


async def test_people_go_and_counts_stay(store: Store) -> None:
    bid = await ended(store)
    before = await read_broadcast(store, bid)
    assert before is not None
    assert before.state == "completed"
    assert await store.redis.exists(store.keys.history(bid, "0.0", 0))
    assert await remove_old(store, 30, await days_on(store, 29)) == Removed()
    assert len([view async for view in list_messages(store, bid)]) == 30
    assert await remove_old(store, 30, await days_on(store, 31)) == Removed(1)
    after = await read_broadcast(store, bid)
    assert after is not None
    assert after.counts == before.counts
    assert sum(after.counts.values()) == after.total == 30
    assert after.codes == before.codes
    assert after.removed_at is not None
    assert after.spec.content == Content()
    assert after.summary() == before.summary() | {"removed_at": after.removed_at, "awaiting": None}
    assert await left_of(store, bid) == {"bc:ID", "bc:ID:codes", "bc:ID:lanes"}
    assert not [name for name in await everything(store) if ":who:" in name]
    assert [view async for view in list_messages(store, bid)] == []
    assert [view async for view in find_number(store, None, number(1))] == []
    assert await remove_old(store, 30, await days_on(store, 31)) == Removed()


async def test_a_broadcast_has_its_own_days(store: Store) -> None:
    bid = await ended(store)
    spec = await read_spec(store, bid)
    assert spec is not None
    own = msgspec.msgpack.encode(msgspec.structs.replace(spec, retention_days=3))
    await store.redis.hset(store.keys.broadcast(bid), "spec", own)
    assert (await remove_old(store, 30, await days_on(store, 2.9))).broadcasts == 0
    assert (await remove_old(store, 30, await days_on(store, 3.1))).broadcasts == 1


async def test_what_is_open_stays(store: Store) -> None:
    running = await load(store, {LANE: 5})
    paused = await load(store, {OTHER: 5}, begin=False, schedule_in=3600)
    canceled = await load(store, {OTHER: 5}, first=100)
    assert await store.run(cancel(canceled, "by request")) == "ok"
    assert (await remove_old(store, 30, await days_on(store, 40))).broadcasts == 0
    for bid in (running, paused, canceled):
        assert len([view async for view in list_messages(store, bid)]) == 5
    spec = await read_spec(store, canceled)
    assert spec is not None
    assert (await store.run(mark(canceled, spec))).verdict == "open"
    assert (await store.run(mark(running, spec))).verdict == "running"


async def test_an_export_that_loses_its_messages_says_so(store: Store) -> None:
    bid = await ended(store, 40)
    spec = await read_spec(store, bid)
    assert spec is not None
    assert len([view async for view in whole(store, bid)]) == 40
    reading = whole(store, bid)
    await anext(reading)
    assert (await store.run(mark(bid, spec))).verdict == "ok"
    await remove_marked(store, bid)
    with pytest.raises(StoreError, match="removed while they were read"):
        [view async for view in reading]
    assert [view async for view in whole(store, bid)] == []


async def test_a_draft_that_nobody_started_is_canceled(store: Store) -> None:
    bid = await load(store, {LANE: 7}, begin=False)
    assert (await remove_old(store, 30, await days_on(store, 31))).broadcasts == 1
    view = await read_broadcast(store, bid)
    assert view is not None
    assert (view.state, view.counts) == ("canceled", {State.SKIPPED: 7})
    assert view.state_reason.startswith("nobody started it within 30 days")
    assert [(c.state, c.code, c.count) for c in view.codes] == [(State.SKIPPED, 3, 7)]
    assert await left_of(store, bid) == {"bc:ID", "bc:ID:codes", "bc:ID:lanes"}


async def test_late_news_of_a_removed_one_change_nothing(store: Store) -> None:
    bid = await load(store, {LANE: 3})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await tell(store, held, [result(i.row, 1, State.ACCEPTED, sid=bytes(16)) for i in held.items])
    await remove_old(store, 30, await days_on(store, 31))
    before = await everything(store)
    told = await tell(store, held, [result(0, 1, State.DELIVERED, sid=bytes(16))])
    assert told.changed == 0
    assert await everything(store) == before
    letters = Letters(bid, LANE, "0.0", array("H", [0, 1]), (30003,))
    assert (await store.run(replay(letters))).verdict == "removed"


@pytest.mark.parametrize("died", [0, 1, 3, 5])
async def test_a_removal_that_died_is_ended_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch, died: int
) -> None:
    bid = await ended(store, 60)
    before = await counts(store, bid)
    run, asked = type(store).run, 0

    async def dying(self: Store, call: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == died + 1:
            raise KeyboardInterrupt
        return await run(self, call)

    monkeypatch.setattr(removing, "_BATCHES_AT_ONCE", 1)
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "run", dying)
        with pytest.raises(KeyboardInterrupt):
            await remove_old(store, 30, await days_on(store, 31))
    await remove_old(store, 30, await days_on(store, 31))
    assert await left_of(store, bid) == {"bc:ID", "bc:ID:codes", "bc:ID:lanes"}
    assert await counts(store, bid) == before
    assert not await store.redis.exists(store.keys.plain("removing"))


async def test_only_what_is_marked_is_removed(store: Store) -> None:
    bid = await load(store, {LANE: 5})
    await store.redis.sadd(store.keys.plain("removing"), bid)
    assert await store.run(removing.unlay(bid, ["0.0"])) == -1
    assert await remove_marked(store, bid) == 0
    assert len([view async for view in list_messages(store, bid)]) == 5
    places = await find_places(store, [number(1)])
    assert len(places[number(1)]) == 1


async def test_long_use_keeps_redis_flat(store: Store) -> None:
    async def size() -> tuple[int, int, int]:
        # a broadcast stays in the list of them, with its counts
        shown = (":bc:", ":bcs")
        everywhere = [name for name in await everything(store) if not any(part in name for part in shown)]
        index = [await store.redis.strlen(name) for name in everywhere if ":who:" in name]
        keys = [name for name in everywhere if ":who:" not in name]
        return len(keys), sum(index), sum([await store.redis.memory_usage(name) or 0 for name in keys])

    sizes = []
    begun = await days_on(store, -100)
    for day in range(8):
        bid, today = await ended(store, 20, first=day * 20), begun + day * DAY_SECONDS
        await store.redis.hset(store.keys.broadcast(bid), "finished", int(today))
        await store.redis.zadd(store.keys.plain("bcs"), {bid: today * 1_000_000})
        assert (await remove_old(store, 3, today)).broadcasts == (day >= 3)
        sizes.append(await size())
    assert sizes[2][0] > sizes[0][0]
    assert sizes[-1][:2] == sizes[3][:2]
    assert sizes[-1][2] < sizes[3][2] * 1.05


def test_entries_are_cut_out_as_one_by_one() -> None:
    chance = random.Random(5)
    for _ in range(200):
        serials = [chance.choice((0x0A0D0A0D, 0x5C5B2A0A, 7, 8)) for _ in range(chance.randrange(40))]
        entries = [
            crc32(bytes([i])).to_bytes(4, "big")[:2] + serial.to_bytes(4, "big") + chance.randbytes(4)
            for i, serial in enumerate(serials)
        ]
        gone = {chance.choice((0x0A0D0A0D, 0x5C5B2A0A, 7, 8)) for _ in range(chance.randrange(3))}
        kept = [entry for entry, serial in zip(entries, serials, strict=True) if serial not in gone]
        assert without(b"".join(entries), gone) == b"".join(kept)
