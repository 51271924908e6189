"""Leases, claims that end, broadcasts that start, pause and end, imports that begin and end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, OTHER, SID, ask, everything, join, overdue, result, send_all, take, tell
from loading import counts, load, records
from msgspec.structs import replace

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.concurrency import Second
from broadcaster.domain.content import Content
from broadcaster.domain.record import Reason, State
from broadcaster.intake.load import (
    ImportLostError,
    Loader,
    Reservation,
    abandon,
    new_broadcast_id,
    remove_data,
    reserve,
)
from broadcaster.lanes import claims, control
from broadcaster.ledger.pools import share_pool
from broadcaster.store.errors import LeaseLost
from broadcaster.store.scripts import unpacked
from workers.jobs import abandon_imports

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call

SPEC = BroadcastSpec(name="test", senders=(LANE,), content=Content(body="hello"))


async def twice(store: Store, call: Call[Any]) -> tuple[Any, Any]:
    """Run a call twice; the second time must change nothing."""
    first = await store.run(call)
    before = await everything(store)
    second = await store.run(call)
    assert await everything(store) == before
    return first, second


async def state_of(store: Store, bid: str) -> tuple[str, str]:
    redis: Any = store.redis
    found = await redis.hmget(store.keys.broadcast(bid), "state", "reason")
    return found[0].decode(), found[1].decode()


# -- leases


async def test_a_lease_tells_a_worker_its_standing(store: Store) -> None:
    assert await join(store, "w1") == claims.Standing(100, 100.0, 1, "0", "", on_duty=True)
    assert (await join(store, "w2")).share == 50
    await store.run(control.pause_account("a test"))
    renewed = await store.run(renewal())
    assert renewed == claims.Standing(50, 100.0, 2, "0", "a test", on_duty=True)


async def test_a_worker_without_a_lease_can_only_begin_anew(store: Store) -> None:
    with pytest.raises(LeaseLost):
        await store.run(renewal())


async def test_two_workers_are_on_duty_as_long_as_they_live(store: Store) -> None:
    assert [(await join(store, worker)).on_duty for worker in ("w3", "w2", "w1")] == [True, True, False]
    assert [(await store.run(renewal(w))).on_duty for w in ("w1", "w3", "w2")] == [False, True, True]
    await store.run(claims.leave("w3"))
    assert [(await store.run(renewal(w))).on_duty for w in ("w2", "w1")] == [True, True]
    await store.redis.zadd(store.keys.plain("workers"), {"w2": 1})  # its lease ran out
    assert [(await join(store, worker)).on_duty for worker in ("w0", "w4")] == [True, False]


async def test_one_worker_a_second_says_what_follows_from_what_all_saw(store: Store) -> None:
    """The sums of all, the lowest ceiling, the peaks of all; then its answer is everybody's limit."""
    for worker in ("w1", "w2"):
        await join(store, worker)
    one = Second(answered=9, throttled=2, pressed=1, unknown=1, peak=7, busy=0.5, ceiling=9)
    assert (await store.run(renewal("w1", seen=one))).turn is None
    await store.redis.hset(store.keys.plain("account"), "moved", 1)
    two = Second(answered=1, peak=3, busy=0.25, ceiling=12, full=True)
    turn = (await store.run(renewal("w2", seen=two))).turn
    assert turn is not None
    assert turn.remembered == ""
    assert turn.second.seconds > 1.0
    assert replace(turn.second, seconds=1.0, busy=0.0) == Second(
        answered=10, throttled=2, pressed=1, unknown=1, peak=10, ceiling=9, full=True
    )
    assert (await store.run(renewal("w1", seen=one))).turn is None, "one a second"
    answer = claims.Answer(turn.name, "{}", 51.5, 0.0)
    assert (await store.run(renewal("w2", answer=answer)))[:2] == (25, 51.5)
    assert (await store.run(renewal("w1")))[:2] == (26, 51.5), "the odd one is the first's"
    late = claims.Answer(turn.name, "{}", 7.0, 5.0)
    assert (await store.run(renewal("w2", answer=late))).limit == 51.5, "answered already"
    urgent = (await store.run(renewal("w1", seen=two, urgent=True))).turn
    assert urgent is not None
    assert urgent.remembered == "{}"
    assert urgent.second.answered == 10, "what was told after the last turn"


async def test_while_twilio_is_silent_one_worker_a_second_may_try(store: Store) -> None:
    for worker in ("w1", "w2"):
        await join(store, worker)
    turn = (await store.run(renewal("w1", seen=Second(), urgent=True))).turn
    assert turn is not None
    begun = await store.run(renewal("w1", answer=claims.Answer(turn.name, "{}", 100.0, 123.456)))
    assert (begun.silent, begun.probe) == (123.456, False)
    tries = [await store.run(renewal(w, could_probe=True)) for w in ("w2", "w1", "w2")]
    assert [t.probe for t in tries] == [True, False, False]
    await store.redis.hset(store.keys.plain("account"), "probed", 1)
    tries = [await store.run(renewal(w, could_probe=w == "w1")) for w in ("w2", "w1")]
    assert [t.probe for t in tries] == [False, True], "not one that has no room for it"
    turn = (await store.run(renewal("w2", seen=Second(), urgent=True))).turn
    assert turn is not None
    ended = await store.run(renewal("w2", answer=claims.Answer(turn.name, "{}", 8.0, 0.0)))
    assert (ended.silent, ended.probe, ended.limit) == (0.0, False, 8.0)


def renewal(worker: str = "w1", **told: Any) -> Call[claims.Standing]:
    return claims.renew(worker, lease_seconds=5, initial=100, **told)


# -- claims that end


async def test_release_gives_back_what_never_left(store: Store) -> None:
    bid = await load(store, {LANE: 10}, batch=10)
    await join(store)
    (held,) = await take(store)
    await ask(store, held, [held.items[i] for i in (2, 3, 7)])
    assert await store.run(claims.release("w1", [held.claim])) == 1
    back = await store.redis.lrange(store.keys.flow(bid, LANE, ":back"), 0, -1)
    assert sorted(back) == [b"0:0:2", b"0:4:7", b"0:8:10"]
    assert (await counts(store, bid))[State.SENDING] == 3
    await join(store, "w2")
    slices = [s for _ in range(4) for s in await take(store, "w2", horizon_seconds=1.0)]
    assert sorted(i.row for s in slices for i in s.items) == [0, 1, 4, 5, 6, 8, 9]


async def test_ending_a_claim_twice_does_nothing(store: Store) -> None:
    await load(store, {LANE: 10})
    await join(store)
    (held,) = await take(store)
    assert await twice(store, claims.release("w1", [held.claim, "unknown"])) == (1, 0)


async def test_a_retry_that_was_claimed_goes_back_to_be_due_at_once(store: Store) -> None:
    await load(store, {LANE: 1})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await tell(store, held, [result(0, 1, State.RETRY, code=429)])
    await store.run(claims.release("w1", [held.claim]))
    for _ in range(2):
        (again,) = await take(store, horizon_seconds=1.0)
        assert [(i.row, i.attempt) for i in again.items] == [(0, 1)]
        await store.run(claims.release("w1", [again.claim]))


@pytest.mark.parametrize("released", [True, False])
async def test_others_hear_of_what_a_worker_gave_back_as_it_left(store: Store, released: bool) -> None:  # noqa: FBT001
    """Its drain has released it before, and nobody was told of that."""
    wake: Any = store.keys.plain("wake")
    await load(store, {LANE: 6})
    await join(store)
    (held,) = await take(store)
    if released:
        await store.run(claims.release("w1", [held.claim]))
    await store.redis.delete(wake)
    await store.run(claims.leave("w1"))
    assert await store.redis.llen(wake) == 1


@pytest.mark.parametrize("ending", ["leave", "sweep"])
async def test_what_was_sending_becomes_a_doubt_and_the_rest_goes_back(store: Store, ending: str) -> None:
    bid = await load(store, {LANE: 6})
    await join(store)
    (held,) = await take(store)
    await ask(store, held, held.items[:2])
    await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID)])
    if ending == "leave":
        assert await twice(store, claims.leave("w1")) == (0, 0)
    else:
        await overdue(store, "w1")
        assert await store.run(claims.sweep(0.0)) == []
        assert await store.run(claims.sweep(0.0)) == [("w1", 1, 0, 1)]
        assert await store.run(claims.sweep(0.0)) == []
    doubt = (await records(store, bid))["0.0", 1]
    assert (doubt.state, doubt.code, doubt.attempt) == (State.IN_DOUBT, Reason.LEASE_LOST, 1)
    assert await counts(store, bid) == {State.ACCEPTED: 1, State.IN_DOUBT: 1, State.QUEUED: 4}
    redis: Any = store.redis
    assert await redis.hgetall(store.keys.broadcast(bid, ":doubt")) == {b"0.0": b"1"}
    (line,) = await redis.lrange(store.keys.history(bid, "0.0", 1), 0, -1)
    assert unpacked(line)[6:] == ["w1", "lease"]
    with pytest.raises(LeaseLost):
        await take(store)
    await join(store, "w2")
    assert await send_all(store, "w2") == 4


async def test_a_release_before_the_outcome_forgets_nothing(store: Store) -> None:
    """A worker that ends its claim and dies before it tells the outcome leaves a doubt, not a lost record."""
    bid = await load(store, {LANE: 3})
    await join(store)
    (held,) = await take(store)
    await ask(store, held, held.items[:1])
    await store.run(claims.release("w1", [held.claim]))
    assert (await ask(store, held, held.items[1:])).refused == "claim"
    await overdue(store, "w1")
    for _ in range(2):
        await store.run(claims.sweep(0.0))
    assert await counts(store, bid) == {State.IN_DOUBT: 1, State.QUEUED: 2}


async def test_a_lease_is_lost_only_when_seen_overdue_on_two_passes_apart(
    store: Store, wait_until: Any
) -> None:
    await load(store, {LANE: 3})
    await join(store)
    await take(store)
    await overdue(store, "w1")
    began = time.monotonic()
    assert await store.run(claims.sweep(0.3)) == []
    assert await store.run(claims.sweep(0.3)) == []

    async def swept() -> Any:
        return await store.run(claims.sweep(0.3))

    assert await wait_until(swept) == [("w1", 1, 0, 0)]
    assert time.monotonic() - began >= 0.3


async def test_a_renewal_between_the_passes_keeps_the_lease(store: Store) -> None:
    await join(store)
    await overdue(store, "w1")
    await store.run(claims.sweep(0.0))
    await store.run(renewal())
    assert await store.run(claims.sweep(0.0)) == []
    await overdue(store, "w1")
    assert await store.run(claims.sweep(0.0)) == []  # the first pass of a new count


async def test_a_live_worker_is_not_swept(store: Store) -> None:
    await join(store)
    for _ in range(3):
        assert await store.run(claims.sweep(0.0)) == []


@pytest.mark.parametrize("ending", ["leave", "sweep"])
async def test_many_claims_end_a_few_at_a_time(store: Store, ending: str) -> None:
    bid = await load(store, {LANE: 5})
    await join(store)
    for _ in range(5):
        await take(store, records=1, horizon_seconds=1.0)
    if ending == "leave":
        assert [await store.run(claims.leave("w1", 2)) for _ in range(3)] == [3, 1, 0]
    else:
        await overdue(store, "w1")
        found = [await store.run(claims.sweep(0.0, 2)) for _ in range(4)]
        assert found == [[], [("w1", 2, 3, 0)], [("w1", 2, 1, 0)], [("w1", 1, 0, 0)]]
    await join(store, "w2")
    assert await send_all(store, "w2") == 5
    assert (await state_of(store, bid))[0] == "completed"


async def test_sweeping_an_earlier_claim_leaves_a_later_ones_records_alone(store: Store) -> None:
    bid = await load(store, {LANE: 2})
    await join(store, "w1")
    await join(store, "w2")
    (first,) = await take(store, "w1")
    await ask(store, first)
    await tell(store, first, [result(row, 1, State.RETRY, code=429) for row in (0, 1)])
    (later,) = await take(store, "w2", horizon_seconds=1.0)
    assert (await ask(store, later, later.items[:1], worker="w2")).yes == "1"
    await overdue(store, "w1")
    for _ in range(2):
        await store.run(claims.sweep(0.0))
    assert await counts(store, bid) == {State.SENDING: 1, State.RETRY: 1}
    assert (await ask(store, later, later.items[1:], worker="w2")).yes == "1"


# -- broadcasts


async def test_nothing_is_claimed_before_the_start(store: Store) -> None:
    bid = await load(store, {LANE: 3, OTHER: 3}, begin=False)
    await join(store)
    assert await take(store) == []
    assert await twice(store, control.start(bid)) == ("ok", "running")
    assert len(await take(store)) == 2
    assert await store.run(control.start("unknown")) == "gone"


async def test_a_broadcast_that_has_nothing_to_send_is_completed_at_its_start(store: Store) -> None:
    assert (await state_of(store, await load(store, {LANE: 0})))[0] == "completed"


async def test_pause_and_resume(store: Store) -> None:
    bid = await load(store, {LANE: 3, OTHER: 3})
    await join(store)
    (held, *_) = await take(store, records=3)
    assert await twice(store, control.pause(bid, "by hand")) == ("ok", "paused")
    assert await state_of(store, bid) == ("paused", "by hand")
    assert await take(store) == []
    await store.run(claims.release("w1", [held.claim]))
    assert await take(store) == []
    assert await twice(store, control.resume(bid)) == ("ok", "running")
    assert await state_of(store, bid) == ("running", "")
    assert await send_all(store) == 6
    assert [await store.run(c("unknown")) for c in (control.resume, lambda b: control.pause(b, ""))] == [
        "gone", "gone",
    ]  # fmt: skip


async def test_a_broadcast_whose_last_outcome_came_during_the_pause_completes_on_resume(store: Store) -> None:
    bid = await load(store, {LANE: 1})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await store.run(control.pause(bid, "by hand"))
    await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID)])
    assert (await state_of(store, bid))[0] == "paused"
    await store.run(control.resume(bid))
    assert (await state_of(store, bid))[0] == "completed"


async def test_cancel_lets_nothing_leave_and_skip_ends_what_waits(store: Store) -> None:
    bid = await load(store, {LANE: 6}, batch=3)
    await join(store)
    (held,) = await take(store)
    await ask(store, held, held.items[:2])
    await tell(store, held, [result(0, 1, State.RETRY, code=429)])
    assert await twice(store, control.cancel(bid, "by hand")) == ("ok", "canceled")
    assert await take(store, horizon_seconds=60.0) == []
    assert await store.redis.smembers(store.keys.plain("skipping")) == {bid.encode()}
    assert await twice(store, control.skip(bid, LANE, "0.0", Reason.CANCELED)) == (2, 0)
    assert await twice(store, control.skip(bid, LANE, "0.1", Reason.CANCELED)) == (3, 0)
    assert await store.run(control.skip(bid, LANE, "0.2", Reason.CANCELED)) == 0
    assert await counts(store, bid) == {State.SKIPPED: 5, State.SENDING: 1}
    codes = await store.redis.hgetall(store.keys.broadcast(bid, ":codes"))
    assert codes == {b"11:%d" % Reason.CANCELED: b"5"}
    assert not await store.redis.exists(store.keys.flow(bid, LANE, ":retry"))
    assert (await tell(store, held, [result(1, 1, State.ACCEPTED, sid=SID)])).changed == 1


@pytest.mark.parametrize("before", ["draft", "paused", "completed"])
async def test_what_may_be_canceled(store: Store, before: str) -> None:
    bid = await load(store, {LANE: 0 if before == "completed" else 2}, begin=before != "draft")
    if before == "paused":
        await store.run(control.pause(bid, "by hand"))
    expected = "completed" if before == "completed" else "ok"
    assert await store.run(control.cancel(bid, "by hand")) == expected
    assert await store.run(control.cancel("unknown", "by hand")) == "gone"


async def test_lane_commands_can_be_asked_twice(store: Store) -> None:
    await load(store, {LANE: 3})
    for call in (
        control.pause_lane(LANE, "a test"),
        control.resume_lane(LANE),
        control.set_rate(LANE, 1 / 3),
    ):
        assert await twice(store, call) == ("ok", "ok")
    assert await twice(store, share_pool(LANE, "MG1")) == (1, 0)


# -- how a list gets in


async def test_an_import_begins_once_per_idempotency_key(store: Store) -> None:
    one, two = new_broadcast_id(), new_broadcast_id()
    new = Reservation("new", one, "")
    assert await twice(store, reserve(one, SPEC, "key")) == (new, new)
    assert await store.run(reserve(two, SPEC, "key")) == Reservation("importing", one, "")
    assert (await store.run(reserve(two, SPEC, "another key"))).verdict == "new"
    await store.redis.delete(store.keys.broadcast(one, ":importer"))
    assert await store.run(reserve(new_broadcast_id(), SPEC, "key")) == Reservation("abandoned", one, "")
    assert await twice(store, abandon(one, "its process died")) == ("ok", "failed")
    assert (await store.run(reserve(new_broadcast_id(), SPEC, "key"))).verdict == "new"


async def test_a_known_list_is_told_with_its_fingerprint(store: Store) -> None:
    bid = new_broadcast_id()
    await store.run(reserve(bid, SPEC, "key"))
    await Loader(store, bid, SPEC, {LANE: 1.0}).seal(fingerprint="print", facts={})
    assert await store.run(reserve(new_broadcast_id(), SPEC, "key")) == Reservation("known", bid, "print")


async def test_a_living_import_is_abandoned_only_by_its_importer(store: Store) -> None:
    bid = new_broadcast_id()
    await store.run(reserve(bid, SPEC))
    assert await store.run(abandon(bid, "a test")) == "alive"
    assert await store.run(abandon(bid, "line 3 is broken", by_its_importer=True)) == "ok"
    assert await state_of(store, bid) == ("failed", "line 3 is broken")
    assert await store.run(abandon("unknown", "a test")) == "gone"
    assert await store.redis.smembers(store.keys.plain("importing")), "found again until its data is gone"
    await remove_data(store, bid)
    assert not await store.redis.smembers(store.keys.plain("importing"))


async def test_an_import_whose_clearing_was_cut_short_is_cleared_by_a_worker(store: Store) -> None:
    bid = new_broadcast_id()
    await store.run(reserve(bid, SPEC))
    await store.redis.set(store.keys.batch(bid, "0.0"), b"left behind")
    await store.run(abandon(bid, "a test", by_its_importer=True))  # and its process dies here
    await abandon_imports({"store": store})
    assert not await store.redis.exists(store.keys.batch(bid, "0.0"))
    assert not await store.redis.smembers(store.keys.plain("importing"))


async def test_an_import_that_lost_its_lease_is_not_sealed(store: Store) -> None:
    bid = new_broadcast_id()
    await store.run(reserve(bid, SPEC))
    loader = Loader(store, bid, SPEC, {LANE: 1.0})
    await loader.flush()
    await store.redis.delete(store.keys.broadcast(bid, ":importer"))
    with pytest.raises(ImportLostError, match="abandoned"):
        await loader.seal(fingerprint="", facts={})


async def test_a_seal_can_be_asked_twice(store: Store) -> None:
    bid = new_broadcast_id()
    await store.run(reserve(bid, SPEC))
    loader = Loader(store, bid, SPEC, {LANE: 1.0})
    await loader.seal(fingerprint="print", facts={"note": "a fact"})
    before = await everything(store)
    await loader.seal(fingerprint="print", facts={"note": "a fact"})
    assert await everything(store) == before
    assert await store.redis.hget(store.keys.broadcast(bid), "note") == b"a fact"


async def test_what_is_scheduled_waits_for_its_time(store: Store) -> None:
    spec = BroadcastSpec(name="t", senders=(LANE,), content=Content(body="x"), schedule_at=2e9)
    bid = new_broadcast_id()
    await store.run(reserve(bid, spec))
    await Loader(store, bid, spec, {LANE: 1.0}).seal(fingerprint="", facts={})
    redis: Any = store.redis
    assert await redis.zrange(store.keys.plain("scheduled"), 0, -1, withscores=True) == [(bid.encode(), 2e9)]
    assert await store.run(control.cancel(bid, "by hand")) == "ok"
    assert not await redis.exists(store.keys.plain("scheduled"))


async def test_the_data_of_a_failed_import_can_be_removed(store: Store) -> None:
    bid = await load(store, {LANE: 30}, batch=10, begin=False)
    assert await remove_data(store, bid) == 8
    left = [key for key in await everything(store) if f":{bid}:" in key or key.endswith(bid)]
    assert left == [store.keys.broadcast(bid)]


async def test_a_wake_is_heard_and_the_list_of_them_stays_short(store: Store) -> None:
    for i in range(40):
        await load(store, {LANE: 1}, first=i)
    assert await store.redis.llen(store.keys.plain("wake")) == 32
    async with asyncio.timeout(5):
        assert await store.redis.blpop([store.keys.plain("wake")], timeout=5)
