"""Replies go with the broadcast that they answer, by its retention; others by age."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from driving import LANE, join, send_all
from loading import load, number
from replying import write

from broadcaster.ledger import removing_replies
from broadcaster.ledger.removing import read_spec
from broadcaster.ledger.removing_replies import remove_older
from broadcaster.operations import removals
from broadcaster.operations.actor import Actor
from broadcaster.operations.broadcasts import delete
from broadcaster.operations.retention import DAY_SECONDS, Removed, remove_old
from broadcaster.reporting.archive import archive
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.reporting.replies import page

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

TESTER = Actor("person:test", "here")


async def sent(store: Store, first: int, retention_days: int | None) -> str:
    """Send to ten people from number `first` on, of whom two answer."""
    bid = await load(store, {LANE: 10}, batch=5, first=first)
    spec = await read_spec(store, bid)
    assert spec is not None
    own = msgspec.structs.replace(spec, retention_days=retention_days)
    await store.redis.hset(store.keys.broadcast(bid), "spec", msgspec.msgpack.encode(own))
    await send_all(store)
    for i in (first, first + 7):
        await write(store, f"answer {i}", sid=f"SM{i}", person=number(i), to=LANE)
    return bid


async def days_on(store: Store, days: float) -> float:
    now, _ = await store.redis.time()
    return float(now + days * DAY_SECONDS)


async def left(store: Store) -> set[str]:
    views, _ = await page(store, limit=200)
    return {view.reply.id for view in views}


@pytest.fixture
async def three(store: Store) -> dict[int | None, str]:
    await join(store)
    made = {days: await sent(store, first, days) for first, days in ((0, 3), (20, None), (40, 90))}
    await write(store, "who are you", sid="SMstranger", person=number(99), to=LANE)
    return made


@pytest.mark.usefixtures("three")
async def test_replies_go_by_their_broadcasts_retention(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removing_replies, "_AT_ONCE", 2)
    everything = {"SM0", "SM7", "SM20", "SM27", "SM40", "SM47", "SMstranger"}
    assert await left(store) == everything
    assert await remove_old(store, 30, await days_on(store, 2)) == Removed()
    assert await remove_old(store, 30, await days_on(store, 4)) == Removed(1, 0, 2)
    assert await left(store) == everything - {"SM0", "SM7"}
    assert await remove_old(store, 30, await days_on(store, 31)) == Removed(1, 0, 3)
    assert await left(store) == {"SM40", "SM47"}, "their broadcast is kept longer"
    assert await remove_old(store, 30, await days_on(store, 31)) == Removed()
    assert await remove_old(store, 30, await days_on(store, 91)) == Removed(1, 0, 2)
    assert await left(store) == set()


async def test_an_archive_holds_the_replies_that_go_with_it(
    store: Store, three: dict[int | None, str]
) -> None:
    view = await read_broadcast(store, three[90])
    assert view is not None
    raw = b"".join([piece async for piece in archive(store, view)])
    lines: list[Any] = [msgspec.json.decode(x) for x in zlib.decompress(raw, wbits=31).splitlines()]
    told = {line["to"]: [(one["id"], one["body"]) for one in line["replies"]] for line in lines[1:]}
    assert {to: some for to, some in told.items() if some} == {
        number(40): [("SM40", "answer 40")],
        number(47): [("SM47", "answer 47")],
    }
    await removals.remove(store, TESTER, three[90])
    assert await left(store) == {"SM0", "SM7", "SM20", "SM27", "SMstranger"}


async def test_deleting_a_broadcast_takes_the_replies_to_it(
    store: Store, three: dict[int | None, str]
) -> None:
    await delete(store, TESTER, three[90])
    assert await left(store) == {"SM0", "SM7", "SM20", "SM27", "SMstranger"}


async def test_a_removal_that_died_before_the_replies_is_ended_by_the_next(
    store: Store, three: dict[int | None, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(removing_replies, "remove_replies", None)
        with pytest.raises(TypeError):
            await removals.remove(store, TESTER, three[90])
    assert {"SM40", "SM47"} <= await left(store)
    assert await remove_old(store, 30, await days_on(store, 0)) == Removed(0, 0, 2)
    assert not {"SM40", "SM47"} & await left(store)


async def test_many_of_one_millisecond_are_all_looked_at(
    store: Store, three: dict[int | None, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = store.keys.plain("replies")
    now_ms = int(await days_on(store, 1)) * 1000
    await store.redis.zadd(order, dict.fromkeys(await store.redis.zrange(order, 0, -1), now_ms))
    monkeypatch.setattr(removing_replies, "_AT_ONCE", 2)
    assert await remove_older(store, now_ms / 1000 + 1, 30) == 5
    assert await left(store) == {"SM40", "SM47"}
    await removals.remove(store, TESTER, three[90])
    assert await left(store) == set()
