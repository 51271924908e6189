"""What waits for a time when Redis' clock is moved: the mark is set as if it had been an hour ahead."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from driving import LANE, join, result, take, tell
from loading import load

from broadcaster.domain.record import State
from broadcaster.lanes import claims, control
from workers.redis_clock import look_at_clock, set_back, trusted_since

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

HOUR = 3600
MICRO = 1_000_000


async def ahead(store: Store, seconds: int = HOUR) -> None:
    """Let it seem that the clock was so far ahead until now."""
    await store.redis.hset(store.keys.plain("clock"), "last", str(int((time.time() + seconds) * MICRO)))


async def test_moved_back_what_waits_waits_as_long_as_it_should(store: Store) -> None:
    bid = await load(store, {LANE: 3}, rates={LANE: 1000.0})
    await join(store)
    (held,) = await take(store)
    await store.run(claims.intend("w1", "0", [claims.Group(held.claim, LANE, bid, "0.0", [0, 0])]))
    later = (HOUR + 30) * MICRO  # half a minute, by the clock as it was
    await tell(store, held, [result(0, 1, State.RETRY, delay_us=later)])
    await store.run(control.hold_lane(LANE, HOUR + 20, "full"))
    now = time.time() * MICRO
    keys = store.keys
    await store.redis.hset(keys.lane(LANE), "tat", str(int(now + HOUR * MICRO / 2)))
    await store.redis.zadd(keys.plain("due"), {LANE: now + HOUR * MICRO})
    await store.redis.zadd(
        keys.plain("workers"), {"w1": now + (HOUR + 8) * MICRO, "dead": now + HOUR * MICRO}
    )
    for worker in ("w1", "dead"):
        await store.redis.hset(keys.worker(worker), "seen", int(time.time()) + HOUR)
    await ahead(store)
    moved, _ = await store.run(look_at_clock())
    assert abs(moved / MICRO + HOUR) < 1
    soon = {
        raw: at / MICRO - time.time()
        for raw, at in await store.redis.zrange(keys.flow(bid, LANE, ":retry"), 0, -1, withscores=True)
    }
    assert all(abs(seconds - 30) < 2 for seconds in soon.values()), soon
    hold, tat = await store.redis.hmget(keys.lane(LANE), "hold", "tat")
    assert abs(float(hold) / MICRO - time.time() - 20) < 2
    assert float(tat) / MICRO <= time.time()
    assert await store.redis.zscore(keys.plain("due"), LANE) <= time.time() * MICRO
    assert 5 < await store.redis.zscore(keys.plain("workers"), "w1") / MICRO - time.time() < 9
    assert await store.redis.zscore(keys.plain("workers"), "dead") / MICRO < time.time()
    assert await trusted_since(store) >= time.time() - 2
    assert (await store.run(look_at_clock()))[0] == 0, "once"


async def test_only_who_lived_through_it_knows_that_it_was_moved_ahead(store: Store) -> None:
    await ahead(store, -HOUR)
    assert (await store.run(look_at_clock()))[0] == 0, "maybe no worker ran for an hour"
    assert await trusted_since(store) == 0
    moved, _ = await store.run(look_at_clock(time.time() - HOUR))
    assert abs(moved / MICRO - HOUR) < 1
    assert await trusted_since(store) >= time.time() - 2
    assert (await store.run(look_at_clock(time.time())))[0] == 0


async def test_how_far_it_was_set_back_is_known_by_the_clock_of_who_lived_through_it(store: Store) -> None:
    assert await set_back(store) == (0, 0)
    await ahead(store, 30)
    back, at = await set_back(store)
    assert (back in (30, 31), abs(at - time.time()) < 2) == (True, True)
    # Redis' last look is from when it was 20 s ahead; by then 10 s went by that nobody looked in
    await ahead(store, 20)
    await store.run(look_at_clock(time.time() + 30))
    assert (await set_back(store))[0] in (60, 61, 62), "together: what is in doubt may be of before both"
    await store.redis.hincrby(store.keys.plain("clock"), "backed", -2 * 86_400)
    await ahead(store, 40)
    assert (await set_back(store))[0] in (40, 41)
