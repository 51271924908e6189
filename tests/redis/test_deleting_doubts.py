"""A message deleted by hand while a record to its number is in doubt never makes a worker send again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, ask, join, take
from loading import load, number, records
from serving import TESTER
from test_settle_rounds import Scene, doubtful, scene

from broadcaster.domain.record import Record, State
from broadcaster.operations import twilio_messages as acts
from broadcaster.operations.errors import Conflict
from broadcaster.twilio.rest import TwilioRest

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def delete(it: Scene, sid: str) -> None:
    async with TwilioRest(*it.account) as twilio:
        await acts.delete(it.store, twilio, TESTER, sid)


async def there(it: Scene, sid: str) -> bool:
    async with TwilioRest(*it.account) as twilio:
        return sid in [m.sid async for page in twilio.message_pages() for m in page.messages]


async def only(it: Scene, bid: str) -> Record:
    (found,) = (await records(it.store, bid)).values()
    return found


async def test_what_is_deleted_settles_the_doubt_that_it_explains(store: Store) -> None:
    async with scene(store) as it:
        bid = await doubtful(store)
        sid = await it.post(number(0))
        await delete(it, sid)
        record = await only(it, bid)
        assert (record.state, record.sid) == (State.DELIVERED, sid)
        await it.round()
        assert await only(it, bid) == record
        assert not await there(it, sid)


async def test_what_is_being_sent_may_be_it(store: Store) -> None:
    async with scene(store) as it:
        await load(store, {LANE: 1})
        await join(store)
        (held,) = await take(store, horizon_seconds=5)
        await ask(store, held)
        sid = await it.post(number(0))
        with pytest.raises(Conflict) as refused:
            await delete(it, sid)
        assert refused.value.retry_after_seconds
        assert await there(it, sid)


async def test_of_two_doubts_the_list_decides(store: Store) -> None:
    async with scene(store) as it:
        bids = [await doubtful(store, worker=worker) for worker in ("w1", "w2")]
        sids = [await it.post(number(0)) for _ in bids]
        with pytest.raises(Conflict):
            await delete(it, sids[0])
        await it.round()
        await delete(it, sids[0])
        assert {(await only(it, bid)).sid for bid in bids} == set(sids)


async def test_after_a_loss_of_redis_writes_nothing_is_deleted(store: Store) -> None:
    async with scene(store) as it:
        sid = await it.post(number(0))
        await store.redis.hset(store.keys.plain("account"), "rewind", 1)
        with pytest.raises(Conflict, match="lost writes"):
            await delete(it, sid)


@pytest.mark.parametrize("other", [{"body": "something else"}, {"to": number(1)}])
async def test_what_can_not_be_ours_is_deleted_and_settles_nothing(
    store: Store, other: dict[str, Any]
) -> None:
    async with scene(store) as it:
        bid = await doubtful(store)
        sid = await it.post(**{"to": number(0), **other})
        await delete(it, sid)
        assert not await there(it, sid)
        assert (await only(it, bid)).state is State.IN_DOUBT
