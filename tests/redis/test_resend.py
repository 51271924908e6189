"""Failed deliveries that wait for another try by themselves: once each, and never more than they may."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import pytest
from driving import LANE, SID, ask, everything, join, result, send_all, take, tell
from loading import counts, load, records

from broadcaster.domain.record import State
from broadcaster.domain.resending import Resending
from broadcaster.domain.send_window import SendWindow
from broadcaster.lanes import claims, control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.resending import Resender, by_day
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.reporting.messages import read_message
from broadcaster.telemetry.metrics import Metrics
from workers.following import Follower

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

BOTH = Resending(frozenset({30001, 30003}), 3)


class Failed(NamedTuple):
    broadcast: str
    batch: str
    row: int
    attempt: int
    code: int


def slice_of(bid: str) -> claims.Slice:
    return claims.Slice("claim", LANE, bid, "0.0", 0.0, 0.0, [])


async def failed(store: Store, *codes: int, **more: object) -> str:
    """A broadcast whose first messages Twilio took and could not deliver."""
    bid = await load(store, {LANE: len(codes)}, **more)  # type: ignore[arg-type]
    await join(store)
    assert await send_all(store) == len(codes)
    await tell(
        store,
        slice_of(bid),
        [result(row, 1, State.UNDELIVERED, code=code, sid=SID) for row, code in enumerate(codes)],
    )
    return bid


async def resend(store: Store, bid: str, *failures: tuple[int, int, int], how: Resending = BOTH) -> int:
    """Tell of failures (row, attempt, code), and again, which must change nothing; returns how many wait."""
    resender = Resender(store, how)
    told = [Failed(bid, "0.0", *one) for one in failures]
    await resender(told)
    waiting, before = resender.waiting, await everything(store)
    await resender(told)
    assert resender.waiting == waiting
    assert await everything(store) == before
    return waiting


async def due(store: Store, bid: str) -> None:
    """Let what waits be due."""
    retry = store.keys.flow(bid, LANE, ":retry")
    for member in await store.redis.zrange(retry, 0, -1):
        await store.redis.zadd(retry, {member: 1})
    await store.redis.zadd(store.keys.lane(LANE, ":later"), {bid: 1})
    await store.redis.zadd(store.keys.plain("due"), {LANE: 1})


async def test_what_was_chosen_waits_with_its_reason_and_goes_at_its_time(store: Store) -> None:
    bid = await failed(store, 30003, 30001, 30005)
    assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"completed"
    assert await resend(store, bid, (0, 1, 30003), (1, 1, 30001), (2, 1, 30005)) == 2
    assert await counts(store, bid) == {State.RETRY: 2, State.UNDELIVERED: 1}
    assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"running"
    one = (await records(store, bid))["0.0", 0]
    assert (one.state, one.code, one.attempt, one.spent) == (State.RETRY, 30003, 1, 1)
    scores = dict(await store.redis.zrange(store.keys.flow(bid, LANE, ":retry"), 0, -1, withscores=True))
    waits = [scores[member] / 1e6 - time.time() for member in (b"0:0", b"0:1")]
    assert 7190 < waits[0] < 10810
    assert 890 < waits[1] < 1360
    assert await take(store, horizon_seconds=10.0) == []
    view = await read_broadcast(store, bid)
    assert view is not None
    assert view.waits_for[LANE].startswith("the next try of those that failed: 20")
    assert view.eta_seconds is None
    shown = await read_message(store, f"{bid}.0.0.0")
    assert shown is not None
    assert shown[0].summary()["retry_at"] == int(scores[b"0:0"] / 1e6)
    assert shown[0].summary()["meaning"] == "the handset is off or out of reach"
    assert [(a.state, a.evidence) for a in shown[1]] == [(State.UNDELIVERED, ""), (State.RETRY, "resend")]
    codes = await store.redis.hgetall(store.keys.broadcast(bid, ":codes"))
    assert codes == {b"8:30003": b"0", b"8:30001": b"0", b"8:30005": b"1"}
    await due(store, bid)
    assert await send_all(store) == 2
    assert await counts(store, bid) == {State.ACCEPTED: 2, State.UNDELIVERED: 1}


async def test_old_news_of_what_goes_again_changes_nothing_but_that_it_arrived(store: Store) -> None:
    bid = await failed(store, 30003, 30003)
    await resend(store, bid, (0, 1, 30003), (1, 1, 30003))
    again = [result(row, 1, State.UNDELIVERED, code=30003, sid=SID) for row in (0, 1)]
    assert (await tell(store, slice_of(bid), again)).changed == 0
    await due(store, bid)
    (held,) = await take(store, horizon_seconds=10.0)
    assert (await ask(store, held)).yes == "11"
    await tell(store, held, [result(1, 2, State.IN_DOUBT, code=6)])
    assert (await tell(store, slice_of(bid), again)).changed == 0
    arrived = await tell(store, slice_of(bid), [result(1, 1, State.DELIVERED, sid=SID)])
    assert (arrived.changed, arrived.caused) == (0, 1), "both may have: that is said"


async def test_many_throttled_attempts_after_it_push_nothing_out_that_decides(store: Store) -> None:
    bid = await failed(store, 30003)
    await resend(store, bid, (0, 1, 30003))
    await due(store, bid)
    for attempt in range(2, 40):
        (held,) = await take(store, horizon_seconds=60.0)
        assert (await ask(store, held)).yes == "1"
        end = State.RETRY if attempt < 39 else State.IN_DOUBT
        await tell(store, held, [result(0, attempt, end, code=429 if attempt < 39 else 6)])
        await store.run(claims.release("w1", [held.claim]))
    old = result(0, 1, State.UNDELIVERED, code=30003, sid=SID)
    assert (await tell(store, slice_of(bid), [old])).changed == 0, "it went again because of that"
    shown = await read_message(store, f"{bid}.0.0.0")
    assert shown is not None
    assert len(shown[1]) == 20
    assert [(a.attempt, a.state, a.evidence) for a in shown[1][:2]] == [
        (1, State.UNDELIVERED, ""), (1, State.RETRY, "resend"),
    ]  # fmt: skip
    assert [a.attempt for a in shown[1][2:]] == list(range(22, 40))
    assert (await tell(store, slice_of(bid), [result(0, 1, State.DELIVERED, sid=SID)])).caused == 1


async def test_a_history_of_nothing_but_what_decides_is_capped_too(store: Store) -> None:
    bid = await failed(store, 30003)
    how = Resending(frozenset({30001}), 99)
    for attempt in range(1, 15):
        await store.redis.setrange(store.keys.ledger(bid, "0.0"), 0, bytes([State.FAILED]))
        await store.redis.setrange(store.keys.ledger(bid, "0.0"), 5, (30001).to_bytes(3, "big"))
        assert await resend(store, bid, (0, attempt, 30001), how=how) == 1
        await due(store, bid)
        (held,) = await take(store, horizon_seconds=60.0)
        assert (await ask(store, held)).yes == "1"
        sid = bytes([attempt]) * 16
        await tell(store, held, [result(0, attempt + 1, State.ACCEPTED, sid=sid)])
        await store.run(claims.release("w1", [held.claim]))
    shown = await read_message(store, f"{bid}.0.0.0")
    assert shown is not None
    assert (len(shown[1]), shown[1][-1].attempt, shown[1][-1].state) == (20, 15, State.ACCEPTED)


@pytest.mark.parametrize(
    ("code", "attempts", "times"), [(30003, 9, 2), (30001, 9, 8), (30003, 2, 1), (30001, 3, 2)]
)
async def test_attempts_are_spent_and_soft_ones_go_twice_at_most(
    store: Store, code: int, attempts: int, times: int
) -> None:
    bid = await failed(store, code)
    how = Resending(frozenset({code}), attempts)
    for attempt in range(1, times + 1):
        assert await resend(store, bid, (0, attempt, code), how=how) == 1
        await due(store, bid)
        sid = bytes([attempt]) * 16
        (held,) = await take(store, horizon_seconds=10.0)
        await store.run(claims.intend("w1", "0", [claims.Group(held.claim, LANE, bid, "0.0", [0, attempt])]))
        await tell(store, held, [result(0, attempt + 1, State.ACCEPTED, sid=sid)])
        await store.run(claims.release("w1", [held.claim]))
        await tell(store, held, [result(0, attempt + 1, State.FAILED, code=code, sid=sid)])
    assert await resend(store, bid, (0, times + 1, code), how=how) == 0
    (one,) = (await records(store, bid)).values()
    assert (one.state, one.attempt, one.spent) == (State.FAILED, times + 1, times)


async def test_what_has_changed_or_may_not_is_left_alone(store: Store) -> None:
    bid = await failed(store, 30003, 30003, 30003, expires_at=time.time() + 3600)
    assert await resend(store, bid, (0, 1, 30003)) == 0, "it would expire before"
    await store.redis.hset(store.keys.broadcast(bid), "expires", "")
    assert await resend(store, bid, (0, 2, 30003), (1, 1, 30001), (7, 1, 30003)) == 0
    await tell(store, slice_of(bid), [result(2, 1, State.DELIVERED, sid=SID)])
    await store.run(control.cancel(bid, "a test"))
    assert await resend(store, "gone", (0, 1, 30003)) == 0
    canceled = await load(store, {LANE: 2}, begin=False)
    await store.run(control.cancel(canceled, ""))
    assert await resend(store, canceled, (0, 0, 30003)) == 0
    assert await resend(store, bid, (0, 1, 30003), how=Resending()) == 0, "off by default"


async def test_quiet_hours_are_waited_out_in_the_broadcasts_window_or_by_day(store: Store) -> None:
    window = SendWindow(0, 1, "UTC")
    for own, hours in ((False, by_day("+14155550100")), (True, (window,))):
        bid = await loaded_open(store, window) if own else await failed(store, 30610)
        assert await resend(store, bid, (0, 1, 30610), how=Resending()) == 1
        ((_, score),) = await store.redis.zrange(store.keys.flow(bid, LANE, ":retry"), 0, -1, withscores=True)
        assert score / 1e6 > time.time() + 3500
        for one in hours:
            begin, end = next(one.openings(score / 1e6))
            assert begin <= score / 1e6 < end


async def loaded_open(store: Store, window: SendWindow) -> str:
    """A broadcast with a window, whose message left while that was open."""
    bid = await load(store, {LANE: 1}, send_window=window)
    now = int(time.time())
    await store.redis.hset(store.keys.broadcast(bid), "windows", f"{now - 60}:{now + 60}")
    assert await send_all(store) == 1
    await tell(store, slice_of(bid), [result(0, 1, State.UNDELIVERED, code=30610, sid=SID)])
    return bid


async def test_a_worker_that_follows_failures_lets_them_wait(store: Store) -> None:
    """From a status, by the list of failures, to the retry; seen to twice it waits once."""
    bid = await load(store, {LANE: 2})
    await join(store)
    assert await send_all(store) == 2
    sid = "SM" + SID.hex()
    failures = [
        Status(bid, "0.0", row, 1, sid, "undelivered", code) for row, code in ((0, 30003), (1, 30006))
    ]
    await store.run(write_statuses(failures))
    listed = await store.redis.lrange(store.keys.plain("failures"), 0, -1)
    assert len(listed) == 2
    follower = Follower(store, Metrics(), Resender(store, BOTH))
    for _ in range(2):
        await follower.round()
        assert await counts(store, bid) == {State.RETRY: 1, State.UNDELIVERED: 1}
        await store.redis.rpush(store.keys.plain("failures"), *listed)
    assert await store.redis.zcard(store.keys.flow(bid, LANE, ":retry")) == 1
