"""A template in place of free text: it goes whatever went before; its record says so whoever is faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from driving import SID, ask, everything, join, result, take, tell
from falling_back import WHATSAPP, fail, person
from loading import load, records

from broadcaster.domain.content import Content, Template
from broadcaster.domain.record import BY_TEMPLATE, State
from broadcaster.domain.resending import Resending
from broadcaster.lanes import control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.resending import Resender
from broadcaster.telemetry.metrics import Metrics
from workers.following import Follower

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

CONTENT = Content(body="Hi", fallback=Template("HX" + "0" * 32))


async def test_it_goes_after_another_reason_to_go_again(store: Store) -> None:
    bid = await load(store, {WHATSAPP: 1}, content=CONTENT, address=person)
    await join(store)
    follower = Follower(store, Metrics(), Resender(store, Resending()))
    for attempt, code in ((1, 63019), (2, 63016)):
        (held,) = await take(store)
        assert (await ask(store, held)).yes == "1"
        await fail(store, bid, code, attempt=attempt)
        await follower.round()
        (one,) = (await records(store, bid)).values()
        assert one.state is State.RETRY, code
        await store.redis.zadd(store.keys.flow(bid, WHATSAPP, ":retry"), {"0:0": 1})
        await store.redis.zadd(store.keys.lane(WHATSAPP, ":later"), {bid: 1})
        await store.redis.zadd(store.keys.plain("due"), {WHATSAPP: 1})
    (held,) = await take(store)
    await ask(store, held)
    await fail(store, bid, 63016, attempt=3)
    await follower.round()
    (one,) = (await records(store, bid)).values()
    assert one.state is State.FAILED, "once for this reason"


@pytest.mark.parametrize(("word", "count"), [("queued", 1), ("queued", 2), ("read", 2), ("failed", 1)])
async def test_a_callback_that_is_faster_than_the_answer(store: Store, word: str, count: int) -> None:
    bid = await load(store, {WHATSAPP: count}, content=CONTENT, address=person, batch=64)
    await join(store)
    await store.run(control.set_rate(WHATSAPP, 1000))
    (held,) = await take(store)
    await ask(store, held)
    sids = [bytes([row, *SID[1:]]) for row in range(count)]
    said = [Status(bid, "0.0", row, 1, f"SM{sid.hex()}", word, 0) for row, sid in enumerate(sids)]
    await store.run(write_statuses(said))
    before = await records(store, bid)
    outcomes = [result(row, 1, State.ACCEPTED, sid=sid, flags=BY_TEMPLATE) for row, sid in enumerate(sids)]
    await tell(store, held, outcomes)
    after = await records(store, bid)
    assert [one.by_template for one in after.values()] == [True] * count
    assert [one.state for one in after.values()] == [one.state for one in before.values()]
    seen = await everything(store)
    await tell(store, held, outcomes)
    assert await everything(store) == seen
