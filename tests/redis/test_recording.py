from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, OTHER, SID, ask, everything, join, result, send_all, take, tell
from loading import counts, load, records

from broadcaster.domain.record import OPEN_STATES, Reason, State
from broadcaster.lanes import claims, control
from broadcaster.ledger.recording import Results, Twice, record
from broadcaster.store.scripts import unpacked

if TYPE_CHECKING:
    from broadcaster.lanes.claims import Slice
    from broadcaster.store.connection import Store

FINAL = [State.DELIVERED, State.READ, State.UNDELIVERED, State.FAILED]
OTHER_SID = bytes(range(16, 32))


async def out(store: Store, count: int = 1, **more: Any) -> tuple[str, Slice]:
    """A broadcast whose first slice is `sending`."""
    bid = await load(store, {LANE: count}, batch=64, **more)
    await join(store)
    (held,) = await take(store)
    assert set((await ask(store, held)).yes) == {"1"}
    return bid, held


async def again(store: Store, held: Slice) -> Slice:
    """Claim and send what is in retry."""
    await store.run(claims.release("w1", [held.claim]))
    (next_,) = await take(store, horizon_seconds=60.0)
    assert set((await ask(store, next_)).yes) == {"1"}
    return next_


async def history(store: Store, bid: str, row: int = 0) -> list[list[Any]]:
    redis: Any = store.redis
    return [unpacked(e)[:3] for e in await redis.lrange(store.keys.history(bid, "0.0", row), 0, -1)]


@pytest.mark.parametrize("state", [s for s in State if s not in {State.QUEUED, State.SENDING}])
async def test_every_end_of_a_post_is_written_once(store: Store, state: State) -> None:
    bid, held = await out(store, 2)
    outcome = result(0, 1, state, code=77, spend=1, delay_us=5_000_000)
    told = await tell(store, held, [outcome], twice=True)
    assert (told.changed, told.caused) == (1, 0)
    one = (await records(store, bid))["0.0", 0]
    assert (one.state, one.attempt, one.code, one.spent) == (state, 1, 77, 1)
    assert await counts(store, bid) == {State.SENDING: 1, state: 1}


@pytest.mark.parametrize("begun", list(State)[State.ACCEPTED : State.DEAD])
async def test_evidence_only_moves_a_record_up(store: Store, begun: State) -> None:
    bid, held = await out(store)
    await tell(store, held, [result(0, 1, begun, sid=SID)])
    rank = {State.ACCEPTED: 3, State.SENT: 4, State.DELIVERED: 5, State.READ: 6} | dict.fromkeys(
        [State.UNDELIVERED, State.FAILED], 5
    )
    now = begun
    for state in (State.ACCEPTED, State.RETRY, State.IN_DOUBT, State.SENT, State.FAILED, State.DEAD):
        told = await tell(store, held, [result(0, 1, state, sid=SID)], twice=True)
        moves = rank.get(state, 0) > rank[now]
        assert told.changed == moves
        now = state if moves else now
    assert (await records(store, bid))["0.0", 0].state is now


async def test_many_acceptances_are_one_write_and_count_the_same(store: Store) -> None:
    bid, held = await out(store, 60)
    sids = [bytes([row + 1]) * 16 for row in range(60)]
    outcomes = [result(i, 1, State.ACCEPTED, sid=sids[i], flags=i % 2) for i in reversed(range(60))]
    assert (await tell(store, held, outcomes, twice=True)).changed == 60
    found = await records(store, bid)
    for (_, row), one in found.items():
        assert one.sid == ("MM" if row % 2 else "SM") + sids[row].hex()
    assert await counts(store, bid) == {State.ACCEPTED: 60}


async def test_a_mixed_group_is_written_record_by_record(store: Store) -> None:
    bid, held = await out(store, 4)
    outcomes = [
        result(0, 1, State.ACCEPTED, sid=SID),
        result(1, 1, State.RETRY, code=429),
        result(2, 1, State.IN_DOUBT, code=Reason.NO_ANSWER, spend=1),
        result(3, 1, State.DEAD, code=21211, spend=1),
    ]
    assert (await tell(store, held, outcomes, twice=True)).changed == 4
    assert await counts(store, bid) == dict.fromkeys(
        (State.ACCEPTED, State.RETRY, State.IN_DOUBT, State.DEAD), 1
    )
    redis: Any = store.redis
    assert await redis.hgetall(store.keys.broadcast(bid, ":dead")) == {b"0.0": b"1"}
    assert await redis.hgetall(store.keys.broadcast(bid, ":doubt")) == {b"0.0": b"1"}
    assert await redis.hgetall(store.keys.broadcast(bid, ":codes")) == {b"10:21211": b"1"}


async def test_an_outcome_counts_although_the_claim_is_lost(store: Store) -> None:
    bid, held = await out(store)
    await store.run(claims.leave("w1"))
    assert await counts(store, bid) == {State.IN_DOUBT: 1}
    assert (await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID)])).changed == 1
    assert await counts(store, bid) == {State.ACCEPTED: 1}


async def test_the_last_open_record_completes_the_broadcast(store: Store) -> None:
    bid, held = await out(store, 2)
    assert (await tell(store, held, [result(0, 1, State.DEAD, code=1)])).completed == []
    assert (await tell(store, held, [result(1, 1, State.ACCEPTED, sid=SID)])).completed == [bid]
    fields = await store.redis.hgetall(store.keys.broadcast(bid))
    assert (fields[b"state"], int(fields[b"finished"]) > 0) == (b"completed", True)
    assert not await store.redis.smembers(store.keys.plain("active"))


async def test_a_retry_is_due_when_it_says(store: Store) -> None:
    bid, held = await out(store)
    await tell(store, held, [result(0, 1, State.RETRY, code=30001, spend=1, delay_us=30_000_000)])
    await store.run(claims.release("w1", [held.claim]))
    assert await take(store, horizon_seconds=29.0) == []
    (later,) = await take(store, horizon_seconds=31.0)
    (item,) = later.items
    assert (item.attempt, item.spent) == (1, 1)
    assert (await ask(store, later)).yes == "1"
    one = (await records(store, bid))["0.0", 0]
    assert (one.state, one.attempt) == (State.SENDING, 2)


async def test_a_retry_in_a_canceled_broadcast_is_skipped(store: Store) -> None:
    bid, held = await out(store, 2)
    await tell(store, held, [result(1, 1, State.IN_DOUBT, code=Reason.NO_ANSWER)])
    await store.run(control.cancel(bid, "a test"))
    retries = [result(row, 1, State.RETRY, code=429) for row in (0, 1)]
    assert (await tell(store, held, retries, twice=True)).changed == 2
    for one in (await records(store, bid)).values():
        assert (one.state, one.code) == (State.SKIPPED, Reason.CANCELED)


@pytest.mark.parametrize("claimed", [False, True])
async def test_what_waits_in_retry_can_be_skipped(store: Store, claimed: bool) -> None:  # noqa: FBT001
    bid, held = await out(store, 2)
    retries = [result(row, 1, State.RETRY, code=429) for row in (0, 1)]
    await tell(store, held, retries)
    if claimed:
        await store.run(claims.release("w1", [held.claim]))
        (held,) = await take(store, horizon_seconds=1.0)
    skips = [result(row, 1, State.SKIPPED, code=Reason.OPTED_OUT) for row in (0, 1)]
    assert (await tell(store, held, skips, twice=True)).changed == 2
    await store.run(claims.release("w1", [held.claim]))
    assert await take(store, horizon_seconds=60.0) == []
    assert await counts(store, bid) == {State.SKIPPED: 2}


async def test_an_acceptance_wins_over_a_waiting_retry(store: Store) -> None:
    bid, held = await out(store)
    await tell(store, held, [result(0, 1, State.RETRY, code=429)])
    told = await tell(store, held, [result(0, 1, State.DELIVERED, sid=SID)], twice=True)
    assert (told.changed, told.caused, told.completed) == (1, 0, [bid])
    assert await take(store, horizon_seconds=60.0) == []


async def test_an_older_attempts_acceptance_after_a_newer_left_is_a_duplicate_once(store: Store) -> None:
    bid, held = await out(store)
    await tell(store, held, [result(0, 1, State.RETRY, code=Reason.NO_ANSWER, spend=1)])
    newer = await again(store, held)
    assert (await tell(store, held, [result(0, 1, State.RETRY, code=429)])).changed == 0
    told = [
        await tell(store, held, [result(0, 1, state, sid=SID)], twice=True)
        for state in (State.ACCEPTED, State.SENT, State.DELIVERED)
    ]
    assert [(t.changed, t.caused) for t in told] == [(0, 1), (0, 0), (0, 0)]
    assert told[0].twice == [Twice(bid, "0.0", 0, 1, "SM" + SID.hex(), 2, None)]
    assert (await records(store, bid))["0.0", 0].state is State.SENDING
    assert (await tell(store, newer, [result(0, 2, State.ACCEPTED, sid=OTHER_SID)])).changed == 1
    one = (await records(store, bid))["0.0", 0]
    assert (one.state, one.sid) == (State.ACCEPTED, "SM" + OTHER_SID.hex())


@pytest.mark.parametrize("end", [State.RETRY, State.DEAD])
async def test_once_an_attempt_is_known_to_have_arrived_no_other_leaves(store: Store, end: State) -> None:
    bid, held = await out(store)
    await tell(store, held, [result(0, 1, State.RETRY, code=Reason.NO_ANSWER, spend=1)])
    newer = await again(store, held)
    await tell(store, held, [result(0, 1, State.SENT, sid=SID, flags=1)])
    await tell(store, newer, [result(0, 2, end, code=20429)], twice=True)
    one = (await records(store, bid))["0.0", 0]
    assert (one.state, one.attempt, one.sid) == (State.SENT, 2, "MM" + SID.hex())
    assert await take(store, horizon_seconds=60.0) == []
    # and what comes later about that message still counts
    assert (await tell(store, held, [result(0, 1, State.READ, sid=SID)], twice=True)).changed == 1
    assert await counts(store, bid) == {State.READ: 1}


async def test_an_older_acceptance_ends_a_later_attempts_retry(store: Store) -> None:
    bid, held = await out(store)
    await tell(store, held, [result(0, 1, State.RETRY, code=Reason.NO_ANSWER, spend=1)])
    newer = await again(store, held)
    await tell(store, newer, [result(0, 2, State.RETRY, code=429)])
    told = await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID)], twice=True)
    assert (told.changed, told.caused) == (1, 0)
    assert await counts(store, bid) == {State.ACCEPTED: 1}
    assert await take(store, horizon_seconds=60.0) == []


@pytest.mark.parametrize(
    ("ended", "code"), [(State.DEAD, 21211), (State.DEAD, Reason.UNKNOWN), (State.SKIPPED, Reason.CANCELED)]
)
async def test_an_older_acceptance_wins_where_the_newer_attempt_is_not_with_twilio(
    store: Store, ended: State, code: int
) -> None:
    """The person got it once: no duplicate, until the newer attempt turns out to be with Twilio after all."""
    bid, held = await out(store)
    await tell(store, held, [result(0, 1, State.RETRY, code=Reason.NO_ANSWER, spend=1)])
    newer = await again(store, held)
    assert (await tell(store, newer, [result(0, 2, ended, code=code)], twice=True)).changed == 1
    told = await tell(store, held, [result(0, 1, State.SENT, sid=SID)], twice=True)
    assert (told.changed, told.caused) == (1, 0)
    one = (await records(store, bid))["0.0", 0]
    assert (one.state, one.code, one.attempt, one.sid) == (State.SENT, 0, 2, "SM" + SID.hex())
    assert await counts(store, bid) == {State.SENT: 1}
    assert (await history(store, bid, 0))[-1] == [1, State.SENT, 0]
    codes = await store.redis.hgetall(store.keys.broadcast(bid, ":codes"))
    assert set(codes.values()) <= {b"0"}
    told = await tell(store, newer, [result(0, 2, State.DELIVERED, sid=OTHER_SID)], twice=True)
    assert (told.changed, told.caused) == (0, 1)
    assert told.twice == [Twice(bid, "0.0", 0, 2, "SM" + OTHER_SID.hex(), 2, "SM" + SID.hex())]
    assert await store.redis.hget(store.keys.plain("account"), "duplicates") == b"1"
    assert (await tell(store, held, [result(0, 1, State.DELIVERED, sid=SID)])).changed == 1


async def test_who_was_skipped_after_a_try_that_arrived_counts_as_sent_to(store: Store) -> None:
    bid, held = await out(store)
    await tell(store, held, [result(0, 1, State.RETRY, code=Reason.NO_ANSWER)])
    await tell(store, held, [result(0, 1, State.SKIPPED, code=Reason.OPTED_OUT)])
    assert (await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID)], twice=True)).changed == 1
    assert await counts(store, bid) == {State.ACCEPTED: 1}


async def test_history_is_kept_only_where_there_is_more_to_say_and_is_capped(store: Store) -> None:
    bid, held = await out(store, 2)
    await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID), result(1, 1, State.RETRY, code=429)])
    assert await history(store, bid, 0) == []
    assert await history(store, bid, 1) == [[1, State.RETRY, 429]]
    for attempt in range(2, 26):
        held = await again(store, held)
        await tell(store, held, [result(1, attempt, State.RETRY, code=429)])
    lines = await history(store, bid, 1)
    assert (len(lines), lines[-1]) == (20, [25, State.RETRY, 429])


# -- content


def refusals(rows: range) -> list[Any]:
    return [result(row, 1, State.DEAD, code=21617, spend=1, content=1) for row in rows]


@pytest.mark.parametrize("more", [0, 10])
async def test_twenty_content_refusals_in_a_row_pause_and_go_again_on_resume(store: Store, more: int) -> None:
    bid, held = await out(store, 20 + more)
    assert (await tell(store, held, refusals(range(19)))).paused == []
    assert (await tell(store, held, refusals(range(19, 20)), twice=True)).paused == [(bid, "content:21617")]
    if more:  # what was in flight at the pause
        await tell(store, held, [*refusals(range(20, 22)), result(22, 1, State.ACCEPTED, sid=SID)])
    assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"paused"
    await store.run(claims.release("w1", [held.claim]))
    assert await take(store, horizon_seconds=60.0) == []
    assert await store.run(control.resume(bid)) == "ok"
    before = await everything(store)
    assert await store.run(control.resume(bid)) == "running"
    assert await everything(store) == before
    found = await counts(store, bid)
    assert (found[State.RETRY], State.DEAD in found) == (22 if more else 20, False)
    one = (await records(store, bid))["0.0", 3]
    assert (one.state, one.spent, one.attempt) == (State.RETRY, 0, 1)
    assert await send_all(store) == (22 if more else 20)


async def test_an_acceptance_between_ends_the_run(store: Store) -> None:
    bid, held = await out(store, 40)
    await tell(store, held, refusals(range(19)))
    await tell(store, held, [result(19, 1, State.ACCEPTED, sid=SID)])
    assert (await tell(store, held, refusals(range(20, 39)))).paused == []
    assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"running"


async def test_other_refusals_are_no_run_and_an_unfinished_one_stays_dead(store: Store) -> None:
    bid, held = await out(store, 40)
    dead = [result(row, 1, State.DEAD, code=21211, spend=1) for row in range(30)]
    assert (await tell(store, held, dead)).paused == []
    await tell(store, held, refusals(range(30, 33)))
    await store.run(control.pause(bid, "by hand"))
    await store.run(control.resume(bid))
    assert (await counts(store, bid))[State.DEAD] == 33


async def test_several_batches_and_broadcasts_in_one_call(store: Store) -> None:
    one = await load(store, {LANE: 6, OTHER: 3}, batch=3)
    two = await load(store, {LANE: 3}, first=100)
    await join(store)
    slices = [s for _ in range(3) for s in await take(store, horizon_seconds=5.0)]
    assert len(slices) == 4
    for held in slices:
        await ask(store, held)
    call = record(
        "w1",
        [
            Results(s.lane, s.broadcast, s.batch, [result(r, 1, State.ACCEPTED, sid=SID) for r in range(3)])
            for s in slices
        ],
    )
    told = await store.run(call)
    assert (told.changed, sorted(told.completed)) == (12, sorted([one, two]))
    for bid in (one, two):
        assert not OPEN_STATES & set(await counts(store, bid))
