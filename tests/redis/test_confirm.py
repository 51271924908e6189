"""Where replicas must confirm and none is there: nothing counts as intended, and nothing is lost by that."""

from __future__ import annotations

import pytest
from driving import LANE, group, join, take
from loading import counts, load

from broadcaster.domain.record import State
from broadcaster.lanes import claims, control
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.store.connection import Store
from broadcaster.store.errors import Unconfirmed
from broadcaster.store.scripts import read_script


@pytest.fixture
async def wanting(store: Store) -> Store:
    """A store that wants a replica which this server hasn't got."""
    return Store(store.redis, store.keys.prefix, store.epoch, store.url, replicas=1)


async def test_an_intent_that_no_replica_has_is_no_yes_and_goes_back(store: Store, wanting: Store) -> None:
    bid = await load(store, {LANE: 3})
    await join(store)
    (held,) = await take(store)
    with pytest.raises(Unconfirmed):
        await wanting.run(claims.intend("w1", "0", [group(held)]))
    assert await counts(store, bid) == {State.SENDING: 3}
    # asked again it writes nothing, and is confirmed no more for that
    with pytest.raises(Unconfirmed):
        await wanting.run(claims.intend("w1", "0", [group(held)]))
    await store.run(claims.release("w1", [held.claim], {held.claim: [0, 1, 2]}))
    assert await counts(store, bid) == {State.RETRY: 3}


async def test_what_need_not_last_is_answered(store: Store, wanting: Store) -> None:
    await load(store, {LANE: 3})
    await join(wanting)
    assert len(await take(wanting)) == 1


async def test_steering_says_that_it_is_not_safe_yet(store: Store, wanting: Store) -> None:
    bid = await load(store, {LANE: 3})
    with pytest.raises(Unconfirmed, match="fewer than 1 replicas"):
        await wanting.run(control.pause(bid, "by request"))
    view = await read_broadcast(store, bid)
    assert view is not None
    assert view.state == "paused"


async def test_whoever_looks_is_told_what_it_waits_for(store: Store, wanting: Store) -> None:
    bid = await load(store, {LANE: 3})
    view = await read_broadcast(wanting, bid)
    assert view is not None
    assert "0 of 1 replicas confirm" in view.waits_for[LANE]


async def test_a_script_that_had_to_be_loaded_confirms_nothing_for_the_others(
    store: Store, wanting: Store
) -> None:
    """Another version of ours has loaded some: what was carried out at once was not confirmed."""
    await load(store, {LANE: 1})
    await join(store)
    (held,) = await take(store)
    await store.redis.script_flush()
    for name in ("intent", "confirm"):
        await store.redis.script_load(read_script(name))
    said, _ = await wanting.run_each([claims.intend("w1", "0", [group(held)]), claims.leave("nobody")])
    assert isinstance(said, Unconfirmed)


async def test_confirming_is_loaded_where_only_that_is_missing(store: Store, wanting: Store) -> None:
    await load(store, {LANE: 1})
    await join(store)
    (held,) = await take(store)
    await store.redis.script_flush()
    await store.redis.script_load(read_script("intent"))
    with pytest.raises(Unconfirmed):
        await wanting.run(claims.intend("w1", "0", [group(held)]))
    assert await store.redis.script_exists(wanting._scripts._sha["confirm"]) == [True]


async def test_what_no_replica_confirms_is_asked_for_ever_less_often(store: Store) -> None:
    """Each time is an attempt of 65535: a replica that is gone for a day must not use them up."""
    bid = await load(store, {LANE: 1})
    await join(store)
    waits = []
    for _ in range(3):
        (held,) = await take(store, horizon_seconds=100.0)
        await store.run(claims.intend("w1", "0", [group(held)]))
        await store.run(claims.release("w1", [held.claim], {held.claim: [0]}))
        ((_, due),) = await store.redis.zrange(store.keys.flow(bid, LANE, ":retry"), 0, -1, withscores=True)
        now, micro = await store.redis.time()
        waits.append(round(due / 1e6 - now - micro / 1e6))
    assert waits == [0, 1, 2]
