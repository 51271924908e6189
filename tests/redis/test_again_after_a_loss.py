"""What failed goes again, by itself or as a person says; Redis may have lost that it did so already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from driving import LANE, SID, ask, everything, join, result, send_all, take, tell
from loading import counts, load, records
from test_replay import played
from test_rewinding import settled

from broadcaster.domain.record import Reason, State
from broadcaster.domain.resending import Resending
from broadcaster.lanes import claims, control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.replaying import FAILURES, carry_out, find_letters
from broadcaster.ledger.resending import Resender
from broadcaster.ledger.rewinding import rewind
from broadcaster.store.dumping import note_backup
from workers.following import Failed

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

NAME = f"SM{SID.hex()}"


async def restored(store: Store) -> None:
    """Go back to now, as after `restore`; whatever was sent since then is not known."""
    await store.guard.look(rewind_to=await note_backup(store), workers_gone=True)
    assert await rewind(store) is not None


async def earlier(store: Store, bid: str, seconds: int = 100) -> int:
    """Let the first message have left, and ended, so long ago; returns when."""
    at = (await store.redis.time())[0] - seconds
    await store.redis.setrange(store.keys.ledger(bid, "0.0"), 24, at.to_bytes(4, "big") * 2)
    return int(at)


async def fails(store: Store, bid: str, code: int = 30001) -> None:
    """Twilio tells that the message of the known SID failed, and the resender is told, twice."""
    await store.run(write_statuses([Status(bid, "0.0", 0, 1, NAME, "failed", code)]))
    told = [Failed(bid, "0.0", 0, 1, State.FAILED, code, NAME, 1, LANE)]
    resender = Resender(store, Resending(frozenset({code}), 5))
    await resender(told)
    before = await everything(store)
    await resender(told)
    assert await everything(store) == before
    assert resender.waiting == 1


async def replayed(store: Store, bid: str) -> int:
    letters = [group async for group in find_letters(store, bid, states=FAILURES)]
    done = await carry_out(store, letters, again=True)
    before = await everything(store)
    await carry_out(store, letters, again=True)
    assert await everything(store) == before
    return done.changed


async def test_what_goes_again_by_itself_may_have_done_so_before_it_was_lost(store: Store) -> None:
    bid = await played(store, {LANE: 1}, [(State.ACCEPTED, 0)])
    began = await earlier(store, bid)
    await restored(store)
    await fails(store, bid)
    (one,) = (await records(store, bid)).values()
    assert (one.state, one.code, one.attempt, one.began) == (State.IN_DOUBT, Reason.REWOUND, 2, began)
    assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"running"
    assert await store.redis.smembers(store.keys.plain("doubtful")) == {bid.encode()}
    assert await take(store, horizon_seconds=10.0) == []
    await store.run(write_statuses([Status(bid, "0.0", 0, 1, NAME, "failed", 30001)]))
    assert await counts(store, bid) == {State.IN_DOUBT: 1}, "old news"
    other = "SM" + bytes(reversed(SID)).hex()
    await store.run(write_statuses([Status(bid, "0.0", 0, 2, other, "delivered", 0)]))
    assert await counts(store, bid) == {State.DELIVERED: 1}
    assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"completed"


async def test_shown_absent_it_goes_again_at_its_time_and_not_before(store: Store) -> None:
    bid = await played(store, {LANE: 1}, [(State.ACCEPTED, 0)])
    await restored(store)
    await fails(store, bid, 30610)  # people have quiet hours: what waits for morning must not go at night
    await settled(store, bid)
    assert await counts(store, bid) == {State.RETRY: 1}
    ((_, score),) = await store.redis.zrange(store.keys.flow(bid, LANE, ":retry"), 0, -1, withscores=True)
    seconds, _ = await store.redis.time()
    assert score / 1e6 > seconds + 3000
    assert await take(store, horizon_seconds=10.0) == []
    assert await store.redis.hget(store.keys.broadcast(bid), "retried") == b"1"
    (one,) = (await records(store, bid)).values()
    assert (one.code, one.attempt, one.spent, one.sid) == (30610, 2, 2, None)


async def test_what_waits_for_its_time_when_writes_are_lost_waits_for_it_after_that(store: Store) -> None:
    bid = await played(store, {LANE: 1}, [(State.ACCEPTED, 0)])
    await fails(store, bid, 30610)
    retry = store.keys.flow(bid, LANE, ":retry")
    before = await store.redis.zrange(retry, 0, -1, withscores=True)
    await restored(store)
    assert await counts(store, bid) == {State.IN_DOUBT: 1}
    await settled(store, bid)
    assert await store.redis.zrange(retry, 0, -1, withscores=True) == before
    assert await counts(store, bid) == {State.RETRY: 1}


@pytest.mark.parametrize("state", [State.DEAD, State.FAILED])
async def test_what_is_replayed_may_have_been_before_that_was_lost(store: Store, state: State) -> None:
    bid = await played(store, {LANE: 1}, [(state, 30003)])
    began = await earlier(store, bid)
    await restored(store)
    assert await replayed(store, bid) == 1
    (one,) = (await records(store, bid)).values()
    assert (one.state, one.code, one.attempt, one.began) == (State.IN_DOUBT, Reason.REWOUND, 2, began)
    assert await take(store, horizon_seconds=10.0) == []
    assert await settled(store, bid)
    assert await counts(store, bid) == {State.QUEUED: 1}
    assert await send_all(store) == 1
    (one,) = (await records(store, bid)).values()
    assert (one.state, one.attempt) == (State.ACCEPTED, 3)


async def test_under_hold_a_person_decides_once(store: Store) -> None:
    """Shown absent it is a dead letter: replayed after that it goes, or it never could."""
    bid = await played(store, {LANE: 1}, [(State.DEAD, 30003)])
    await earlier(store, bid)
    await restored(store)
    before = await store.redis.hget(store.keys.plain("rewound"), "at")
    await store.redis.hset(store.keys.plain("rewound"), "at", int(before or 0) - 1)
    await replayed(store, bid)
    await settled(store, bid, hold=True)
    (one,) = (await records(store, bid)).values()
    assert (one.state, one.code) == (State.DEAD, Reason.UNKNOWN)
    assert await replayed(store, bid) == 1
    assert await counts(store, bid) == {State.RETRY: 1}
    assert await send_all(store) == 1


async def test_what_left_after_the_loss_goes_again_at_once(store: Store) -> None:
    await restored(store)
    at = int(await store.redis.hget(store.keys.plain("rewound"), "at") or 0)
    await store.redis.hset(store.keys.plain("rewound"), "at", at - 100)
    bid = await played(store, {LANE: 1}, [(State.ACCEPTED, 0)])
    await fails(store, bid)
    assert await counts(store, bid) == {State.RETRY: 1}
    dead = await played(store, {LANE: 1}, [(State.DEAD, 30003)])
    await replayed(store, dead)
    assert await counts(store, dead) == {State.RETRY: 1}


async def test_while_it_is_being_rewound_nothing_replayed_is_overlooked(store: Store) -> None:
    bid = await played(store, {LANE: 2}, [(State.DEAD, 30003)] * 2)
    taken = await note_backup(store)
    await store.guard.look(rewind_to=taken, workers_gone=True)
    assert await replayed(store, bid) == 2
    assert await rewind(store) is not None
    found = await records(store, bid)
    assert {(r.state, r.attempt) for r in found.values()} == {(State.IN_DOUBT, 2)}
    await settled(store, bid)
    assert await send_all(store) == 2


async def test_a_run_of_refusals_that_is_put_back_may_have_been_before(store: Store) -> None:
    """Paused by its content, corrected, resumed and sent; the backup is of the pause."""
    bid = await load(store, {LANE: 30}, rates={LANE: 1e5})
    await join(store)
    (held,) = await take(store, horizon_seconds=10.0)
    await ask(store, held, held.items[:20])
    told = await tell(store, held, [result(i, 1, State.DEAD, code=21617, content=1) for i in range(20)])
    assert told.paused
    await store.run(claims.release("w1", [held.claim]))
    await restored(store)
    for _ in range(2):
        await store.run(control.resume(bid))
        assert await counts(store, bid) == {State.IN_DOUBT: 30}
    assert await take(store, horizon_seconds=10.0) == []
    await settled(store, bid)
    assert await send_all(store) == 30
    assert await counts(store, bid) == {State.ACCEPTED: 30}
