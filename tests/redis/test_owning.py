"""An installation belongs to the first account that works on it, until it is given away with nothing left."""

from __future__ import annotations

import asyncio

import pytest
from driving import LANE, join, send_all
from loading import load

from broadcaster.domain.owner import Owner
from broadcaster.lanes import claims, control
from broadcaster.operations import audit
from broadcaster.operations.actor import Actor
from broadcaster.operations.errors import Conflict
from broadcaster.operations.owner import change
from broadcaster.reporting.health import Level
from broadcaster.reporting.health_redis import check_redis
from broadcaster.store.connection import Store, open_store
from broadcaster.store.errors import EpochChanged, OtherAccount, Unconfirmed
from broadcaster.store.owning import own, owner_of

OURS = Owner.of("AC" + "1" * 32, None)
THEIRS = Owner.of("AC" + "2" * 32, None)
SIMULATED = Owner.of(OURS.account, "http://127.0.0.1:9000")
ME = Actor("person:tester@here", "test")


async def test_of_two_that_come_first_one_is_refused(store: Store) -> None:
    beside = await open_store(store.url, store.keys.prefix)
    came = await asyncio.gather(own(store, OURS), own(beside, THEIRS), return_exceptions=True)
    await beside.close()
    (refused,) = [one for one in came if one is not None]
    assert isinstance(refused, OtherAccount)
    assert await owner_of(store) == (THEIRS if came[0] else OURS)


async def test_it_stays_whose_it_is_and_says_so(store: Store) -> None:
    assert await owner_of(store) is None
    await own(store, OURS)
    await own(store, OURS)
    for other in (THEIRS, SIMULATED):
        with pytest.raises(OtherAccount) as refused:
            await own(store, other)
        for part in (OURS.told, other.told, "BROADCASTER_KEY_PREFIX", "config account --change"):
            assert part in str(refused.value)
    assert await owner_of(store) == OURS


async def test_a_full_server_can_be_joined(store: Store) -> None:
    await store.redis.config_set("maxmemory", 1)
    await own(store, OURS)
    assert await owner_of(store) == OURS


async def test_nothing_is_given_away_with_something_left(store: Store) -> None:
    await own(store, OURS)
    bid = await load(store, {LANE: 3})
    await store.run(control.pause(bid, "by request"))
    await join(store)
    with pytest.raises(Conflict, match=rf"3 messages queued \(of {bid}\), 1 workers running"):
        await change(store, ME, THEIRS)
    for key, kind in (("importing", "lists being taken"), ("failures", "failures")):
        await (store.redis.sadd if key == "importing" else store.redis.lpush)(store.keys.plain(key), "x")
        with pytest.raises(Conflict, match=f"1 {kind}"):
            await change(store, ME, THEIRS)
    for key, kind in (("scheduled", "scheduled"), ("handed", "Twilio keeps")):
        await store.redis.zadd(store.keys.plain(key), {"x": 9e9})
        with pytest.raises(Conflict, match=f"1 broadcasts (that )?{kind}"):
            await change(store, ME, THEIRS)
    assert await owner_of(store) == OURS
    assert await audit.page(store, what="account") == []


async def test_given_away_it_refuses_everybody_of_before(store: Store) -> None:
    await own(store, OURS)
    await load(store, {LANE: 3})
    await join(store)
    await send_all(store)
    await store.run(claims.leave("w1"))
    done = await change(store, ME, THEIRS)
    assert (done.before, done.now, done.changed) == (OURS, THEIRS, True)
    with pytest.raises(EpochChanged):
        await join(store)
    anew = await open_store(store.url, store.keys.prefix)
    with pytest.raises(OtherAccount):
        await own(anew, OURS)
    await own(anew, THEIRS)
    assert not (await change(anew, ME, THEIRS)).changed
    (entry,) = await audit.page(anew, what="account")
    assert (entry.what, entry.old, entry.new) == (
        "account.change", {"owner": str(OURS)}, {"owner": str(THEIRS)},
    )  # fmt: skip
    await anew.close()


async def test_where_replicas_must_have_it_they_are_asked(store: Store) -> None:
    wanting = Store(store.redis, store.keys.prefix, store.epoch, store.url, replicas=1)
    with pytest.raises(Unconfirmed):
        await change(wanting, ME, THEIRS)
    assert await owner_of(store) == THEIRS


@pytest.mark.parametrize(("asks", "level"), [(OURS, Level.OK), (None, Level.OK), (THEIRS, Level.FAIL)])
async def test_doctor_shows_it(store: Store, asks: Owner | None, level: Level) -> None:
    await own(store, OURS)
    found = {check.name: check for check in await check_redis(store.url, store.keys.prefix, asks=asks)}
    assert found["installation"].level is level
    assert OURS.told in found["installation"].found
