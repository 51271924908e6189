from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import pytest
from driving import LANE, OTHER, SID, ask, everything, join, result, send_all, take, tell
from loading import load, records

from broadcaster.domain.broadcast import Priority
from broadcaster.domain.record import Reason, State
from broadcaster.lanes import claims, control
from broadcaster.ledger.pools import share_pool
from broadcaster.store.errors import LeaseLost

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


def raw(store: Store) -> Any:
    return store.redis


async def permit_clock(store: Store, key: str) -> float:
    """Seconds from now until the next permit by the book."""
    seconds, micros = await raw(store).time()
    clock: float = (float(await raw(store).hget(key, "tat") or 0) - seconds * 1e6 - micros) / 1e6
    return clock


async def test_without_a_lease_there_is_no_claim(store: Store) -> None:
    await load(store, {LANE: 3})
    with pytest.raises(LeaseLost):
        await take(store)


async def test_an_idle_installation_has_nothing_due(store: Store) -> None:
    await join(store)
    call = claims.claim("w1", "n", lanes=10, records=10, horizon_seconds=0.05)
    assert await store.run(call) == claims.Claimed(None, [], "", ANY)


async def test_the_same_nonce_gets_the_same_slices_and_changes_nothing(store: Store) -> None:
    await load(store, {LANE: 30, OTHER: 30}, rates={LANE: 20.0, OTHER: 20.0})
    await join(store)
    call = claims.claim("w1", "nonce", lanes=10, records=100, horizon_seconds=0.05)
    first = await store.run(call)
    before = await everything(store)
    assert await store.run(call) == first
    assert await everything(store) == before
    assert {s.lane for s in first.slices} == {LANE, OTHER}


@pytest.mark.parametrize(
    ("a_second", "at_once", "gets"),
    [(0.0, 0, 500), (1_000.0, 1, 500), (2_000.0, 1, 500), (640.0, 90, 90), (10.0, 1, 10), (640.0, 900, 500)],
)
async def test_of_a_faster_lane_a_worker_gets_what_it_can_send_in_time(
    store: Store, a_second: float, at_once: int, gets: int
) -> None:
    await load(store, {LANE: 500}, rates={LANE: 1_000.0}, batch=500)
    await join(store)
    call = claims.claim(
        "w1", "n", lanes=10, records=4_000, horizon_seconds=0.05, a_second=a_second, at_once=at_once
    )
    (slice_,) = (await store.run(call)).slices
    assert len(slice_.items) == gets


async def test_what_it_can_send_in_time_is_for_all_faster_lanes_together(store: Store) -> None:
    await load(store, {LANE: 500, OTHER: 500}, rates={LANE: 1_000.0, OTHER: 1_000.0}, batch=500)
    await join(store)
    call = claims.claim("w1", "n", lanes=10, records=4_000, horizon_seconds=0.05, a_second=640.0, at_once=90)
    assert [len(s.items) for s in (await store.run(call)).slices] == [90, 10]


async def test_what_is_claimed_is_not_given_to_another(store: Store) -> None:
    await load(store, {LANE: 40}, rates={LANE: 10_000.0}, batch=16)
    await join(store, "w1")
    await join(store, "w2")
    seen = []
    while slices := [*await take(store, "w1", records=5), *await take(store, "w2", records=5)]:
        seen += [(s.batch, item.row) for s in slices for item in s.items]
    assert sorted(seen) == sorted({(f"0.{n // 16}", n % 16) for n in range(40)})


@pytest.mark.parametrize(("rate", "most"), [(0.5, 1), (1.0, 1), (10.0, 5), (80.0, 40), (1000.0, 500)])
async def test_a_slice_is_half_a_second_of_rate_and_at_least_one_message(
    store: Store, rate: float, most: int
) -> None:
    await load(store, {LANE: 600}, rates={LANE: rate}, batch=500)
    await join(store)
    (held,) = await take(store)
    assert len(held.items) == min(most, 500)
    assert held.delay_seconds == 0.0
    assert held.interval_seconds == pytest.approx(1 / rate, rel=1e-3)


async def test_a_slice_counts_segments_not_messages(store: Store) -> None:
    await load(store, {LANE: 50}, rates={LANE: 40.0}, segments=3)
    await join(store)
    (held,) = await take(store)
    assert [item.segments for item in held.items] == [3] * 6


async def test_a_long_message_on_a_slow_lane_borrows_its_seconds(store: Store) -> None:
    await load(store, {LANE: 2}, rates={LANE: 1.0}, segments=7)
    await join(store)
    (held,) = await take(store)
    assert len(held.items) == 1
    assert await permit_clock(store, store.keys.lane(LANE)) == pytest.approx(7.0, abs=0.5)
    assert await take(store, horizon_seconds=6.0) == []
    (later,) = await take(store, horizon_seconds=7.5)
    assert later.delay_seconds == pytest.approx(7.0, abs=0.5)


async def test_the_next_slice_waits_for_the_permits_of_the_last(store: Store) -> None:
    await load(store, {LANE: 400}, rates={LANE: 100.0}, batch=400)
    await join(store)
    (first,) = await take(store)
    assert len(first.items) == 50
    assert await take(store) == []
    call = claims.claim("w1", "again", lanes=10, records=10, horizon_seconds=0.05)
    answer = await store.run(call)
    assert answer.slices == []
    # due again half a second later, less the burst: a twenty-fifth of a second that holds one message
    assert answer.next_seconds == pytest.approx(0.5 - 0.04, abs=0.1)
    (second,) = await take(store, horizon_seconds=1.0)
    assert second.delay_seconds == pytest.approx(0.46, abs=0.1)


async def test_over_a_second_a_lane_gets_its_rate_and_no_more(store: Store) -> None:
    rate = 400.0
    await load(store, {LANE: 2000}, rates={LANE: rate}, batch=500)
    await join(store)
    begun, given, leaves = time.monotonic(), 0, []
    while (now := time.monotonic() - begun) < 1.0:
        for held in await take(store, horizon_seconds=0.02):
            given += len(held.items)
            at = now + held.delay_seconds
            leaves += [at + i * held.interval_seconds for i in range(len(held.items))]
    leaves = sorted(at for at in leaves if at < 1.0)
    assert 0.95 * rate <= len(leaves) <= 1.1 * rate + 1
    busiest = max(sum(at <= other < at + 0.5 for other in leaves) for at in leaves[::20])
    assert busiest <= 0.5 * rate * 1.1 + 0.05 * rate + 1


async def test_an_idle_lane_saves_no_permits(store: Store) -> None:
    await load(store, {LANE: 100}, rates={LANE: 40.0}, batch=100)
    await raw(store).hset(store.keys.lane(LANE), "tat", 1)
    await join(store)
    assert len((await take(store))[0].items) == 20
    assert await take(store) == []


async def test_a_permit_clock_from_the_far_future_is_a_minute_at_most(store: Store) -> None:
    await load(store, {LANE: 5})
    await raw(store).hset(store.keys.lane(LANE), "tat", 9e15)
    await join(store)
    assert await take(store, horizon_seconds=59.0) == []
    (held,) = await take(store, horizon_seconds=61.0)
    assert held.delay_seconds == pytest.approx(60.0, abs=0.1)


async def test_a_new_rate_frees_the_lane_of_the_old_ones_debt(store: Store) -> None:
    await load(store, {LANE: 200}, rates={LANE: 1 / 30}, batch=200)
    await join(store)
    assert len((await take(store))[0].items) == 1
    await store.run(control.set_rate(LANE, 100.0))
    (held,) = await take(store)
    assert (len(held.items), held.interval_seconds) == (50, 0.01)


@pytest.mark.parametrize("above", ["pool", "account", "broadcast"])
async def test_what_stands_above_a_lane_slows_it(store: Store, above: str) -> None:
    await load(
        store, {LANE: 100}, rates={LANE: 100.0}, batch=100, rate=10.0 if above == "broadcast" else None
    )
    if above == "pool":
        await store.run(control.set_rate("MG1", 10.0))
        await store.run(share_pool(LANE, "MG1"))
    elif above == "account":
        await raw(store).hset(store.keys.plain("account"), "rate", "10")
    await join(store)
    (held,) = await take(store)
    assert (len(held.items), held.interval_seconds) == (5, 0.1)
    assert await take(store, horizon_seconds=0.4) == []
    assert (await take(store, horizon_seconds=0.6))[0].delay_seconds == pytest.approx(0.5, abs=0.1)


async def test_lanes_of_one_pool_share_its_permits(store: Store) -> None:
    await load(store, {LANE: 100, OTHER: 100}, rates={LANE: 100.0, OTHER: 100.0}, batch=100)
    await store.run(control.set_rate("MG1", 10.0))
    for lane in (LANE, OTHER):
        await store.run(share_pool(lane, "MG1"))
    await join(store)
    slices = await take(store, horizon_seconds=1.2)
    assert sorted(round(s.delay_seconds, 1) for s in slices) == [0.0, 0.5]


async def test_a_broadcasts_own_rate_leaves_the_lane_to_others(store: Store) -> None:
    slow = await load(store, {LANE: 50}, rate=2.0)
    fast = await load(store, {LANE: 50}, first=100)
    await join(store)
    given = [s.broadcast for _ in range(4) for s in await take(store, records=10, horizon_seconds=0.2)]
    assert given.count(slow) == 1
    assert given.count(fast) >= 2


async def test_a_claim_is_bounded_by_records_and_lanes(store: Store) -> None:
    await load(store, {LANE: 50, OTHER: 50})
    await join(store)
    assert [len(s.items) for s in await take(store, records=7)] == [7]
    assert len(await take(store, lanes=1)) == 1


async def test_a_paused_account_gives_nothing_and_says_why(store: Store) -> None:
    await load(store, {LANE: 5})
    await join(store)
    assert await store.run(control.pause_account("20003: the password is wrong")) == 1
    assert await store.run(control.pause_account("another reason")) == 0
    call = claims.claim("w1", "n", lanes=10, records=10, horizon_seconds=0.05)
    assert await store.run(call) == claims.Claimed(1.0, [], "20003: the password is wrong", ANY)
    assert await store.run(control.resume_account()) == 1
    assert await store.run(control.resume_account()) == 0
    assert len((await take(store))[0].items) == 5


async def test_a_paused_lane_gives_nothing_until_it_is_resumed(store: Store) -> None:
    await load(store, {LANE: 5})
    await join(store)
    await store.run(control.pause_lane(LANE, "21606"))
    assert await take(store) == []
    late = await load(store, {LANE: 5}, first=10)
    assert await take(store) == []
    await store.run(control.resume_lane(LANE))
    assert await send_all(store) == 10
    assert {r.state for r in (await records(store, late)).values()} == {State.ACCEPTED}


async def test_a_held_lane_waits_for_its_time_or_its_resumption(store: Store) -> None:
    await load(store, {LANE: 5})
    await join(store)
    await store.run(control.hold_lane(LANE, 30.0, "its queue is full"))
    call = claims.claim("w1", "n", lanes=10, records=10, horizon_seconds=0.05)
    answer = await store.run(call)
    assert answer.slices == []
    assert answer.next_seconds == pytest.approx(30.0, abs=0.5)
    await store.run(control.resume_lane(LANE))
    assert len((await take(store))[0].items) == 5


async def test_records_that_need_no_sending_are_passed_over(store: Store) -> None:
    bid = await load(store, {LANE: 60}, batch=20)
    await store.run(control.skip(bid, LANE, "0.0", Reason.CANCELED))
    await join(store)
    (held,) = await take(store)
    assert (held.batch, len(held.items)) == ("0.1", 20)


async def test_a_long_run_of_them_does_not_hold_redis(store: Store) -> None:
    bid = await load(store, {LANE: 1800}, rates={LANE: 1.0}, batch=3)
    for n in range(599):
        await store.run(control.skip(bid, LANE, f"0.{n}", Reason.CANCELED))
    await join(store)
    assert await take(store) == []
    assert await raw(store).zscore(store.keys.plain("due"), LANE)
    assert [s.batch for s in await take(store)] == ["0.599"]


@pytest.mark.parametrize("missing", [True, False])
async def test_a_missing_or_short_ledger_ends_its_batch(store: Store, missing: bool) -> None:  # noqa: FBT001
    bid = await load(store, {LANE: 30}, batch=10)
    key = store.keys.ledger(bid, "0.1")
    if missing:
        await raw(store).delete(key)
    else:
        await raw(store).set(key, (await raw(store).get(key))[:100])
    await join(store)
    slices = [s for _ in range(5) for s in await take(store)]
    assert [(s.batch, len(s.items)) for s in slices] == [
        ("0.0", 10),
        *([] if missing else [("0.1", 3)]),
        ("0.2", 10),
    ]


# -- fair order


async def shares(store: Store, rounds: int) -> dict[str, int]:
    """Take slices of one lane and count the messages of each broadcast."""
    found: dict[str, int] = {}
    for _ in range(rounds):
        for held in await take(store, records=500, horizon_seconds=3600.0):
            found[held.broadcast] = found.get(held.broadcast, 0) + len(held.items)
    return found


async def test_classes_share_a_lane_90_to_9_to_1(store: Store) -> None:
    ids = {
        priority: await load(
            store, {LANE: 4000}, rates={LANE: 400.0}, batch=500, priority=priority, first=i * 10_000
        )
        for i, priority in enumerate(Priority)
    }
    await join(store)
    found = await shares(store, 30)
    total = sum(found.values())
    assert total > 1000
    assert found[ids[Priority.URGENT]] / total == pytest.approx(0.90, abs=0.03)
    assert found[ids[Priority.NORMAL]] / total == pytest.approx(0.09, abs=0.03)
    assert found.get(ids[Priority.BULK], 0) / total == pytest.approx(0.01, abs=0.02)


async def test_the_shares_can_be_set(store: Store) -> None:
    await raw(store).hset(store.keys.plain("account"), "weights", "1:1:2")
    urgent = await load(store, {LANE: 3000}, rates={LANE: 400.0}, batch=500, priority=Priority.URGENT)
    bulk = await load(store, {LANE: 3000}, batch=500, priority=Priority.BULK, first=10_000)
    await join(store)
    found = await shares(store, 12)
    assert found[bulk] / found[urgent] == pytest.approx(2.0, rel=0.25)


async def test_a_class_alone_has_the_whole_lane(store: Store) -> None:
    await load(store, {LANE: 600}, rates={LANE: 1000.0}, batch=500, priority=Priority.BULK)
    await join(store)
    assert len((await take(store))[0].items) == 500


@pytest.mark.parametrize("flows", [2, 3])
async def test_flows_of_a_class_share_evenly(store: Store, flows: int) -> None:
    ids = [
        await load(store, {LANE: 500}, rates={LANE: 40.0}, batch=500, first=i * 1000) for i in range(flows)
    ]
    await join(store)
    found = await shares(store, 4 * flows)
    assert [found[bid] for bid in ids] == [80] * flows


async def test_long_messages_count_as_long(store: Store) -> None:
    short = await load(store, {LANE: 500}, rates={LANE: 40.0}, batch=500)
    long = await load(store, {LANE: 500}, batch=500, segments=5, first=1000)
    await join(store)
    found = await shares(store, 20)
    assert found[short] / found[long] == pytest.approx(5.0, rel=0.15)


async def test_a_resumed_flow_neither_catches_up_nor_waits(store: Store) -> None:
    one = await load(store, {LANE: 2000}, rates={LANE: 40.0}, batch=500)
    two = await load(store, {LANE: 2000}, batch=500, first=10_000)
    await join(store)
    await shares(store, 2)
    await store.run(control.pause(one, "a while"))
    assert set(await shares(store, 8)) == {two}
    await store.run(control.resume(one))
    found = await shares(store, 8)
    assert abs(found[one] - found[two]) <= 20


async def test_a_late_broadcast_begins_at_the_clock_of_its_class(store: Store) -> None:
    old = await load(store, {LANE: 2000}, rates={LANE: 40.0}, batch=500)
    await join(store)
    await shares(store, 20)
    new = await load(store, {LANE: 2000}, batch=500, first=10_000)
    found = await shares(store, 8)
    assert abs(found[old] - found[new]) <= 20


async def test_an_urgent_message_is_next_behind_a_bulk_backlog(store: Store) -> None:
    await load(store, {LANE: 2000}, rates={LANE: 10.0}, batch=500, priority=Priority.BULK)
    await join(store)
    await shares(store, 10)
    urgent = await load(store, {LANE: 1}, priority=Priority.URGENT, first=10_000)
    assert urgent in await shares(store, 2)


async def test_retries_go_before_what_is_new_in_their_flow(store: Store) -> None:
    await load(store, {LANE: 20}, rates={LANE: 10.0}, batch=20)
    await join(store)
    (held,) = await take(store)
    assert (await ask(store, held)).yes == "11111"
    retried = [result(row, 1, State.RETRY, code=429) for row in (4, 1)]
    await tell(store, held, [*retried, result(0, 1, State.ACCEPTED, sid=SID)])
    await store.run(claims.release("w1", [held.claim]))
    (again,) = await take(store, horizon_seconds=1.0)
    assert sorted((i.row, i.attempt) for i in again.items) == [(1, 1), (4, 1)]
    (new,) = await take(store, horizon_seconds=2.0)
    assert [i.row for i in new.items] == [5, 6, 7, 8, 9]


async def test_a_retry_that_is_not_due_yet_makes_nobody_wait(store: Store) -> None:
    await load(store, {LANE: 2}, batch=1)
    await join(store)
    (held,) = await take(store, records=1)
    await ask(store, held)
    await tell(store, held, [result(0, 1, State.RETRY, code=429, delay_us=20_000_000)])
    await store.run(claims.release("w1", [held.claim]))
    assert [s.batch for s in await take(store)] == ["0.1"]
    call = claims.claim("w1", "n", lanes=10, records=10, horizon_seconds=0.05)
    answer = await store.run(call)
    assert answer.slices == []
    assert answer.next_seconds == pytest.approx(20.0, abs=0.5)
    (due,) = await take(store, horizon_seconds=21.0)
    assert [(i.row, i.attempt) for i in due.items] == [(0, 1)]


async def test_a_probe_takes_what_was_never_tried_before_what_was(store: Store) -> None:
    """A long silence does not spend all attempts of a few messages."""
    await load(store, {LANE: 3}, rates={LANE: 1000.0})
    await join(store)
    (held,) = await take(store, records=1)
    await ask(store, held)
    await tell(store, held, [result(0, 1, State.RETRY)])
    await store.run(claims.release("w1", [held.claim]))
    taken = []
    for at in range(3):
        call = claims.claim("w1", f"p{at}", lanes=9, records=1, horizon_seconds=0.5, probing=True)
        (probe,) = (await store.run(call)).slices
        taken += [item.row for item in probe.items]
    assert taken == [1, 2, 0]
