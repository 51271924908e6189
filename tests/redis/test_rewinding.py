"""Redis comes back with an older ledger: that is noticed, and what is unsent is in doubt before it is sent.

Another server is played by changing what is written about the last one; what is lost, by putting it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, SID, ask, everything, join, result, send_all, take, tell
from loading import counts, load, records

from broadcaster.domain.record import Reason, State
from broadcaster.lanes import claims, control
from broadcaster.ledger.rewinding import rewind
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.store.errors import EpochChanged
from broadcaster.store.guard import Guard
from broadcaster.store.scripts import Call, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.store.connection import Store


async def another(store: Store, **before: str) -> None:
    """Say that the server before was another one, of these qualities."""
    await store.redis.hset(
        store.keys.plain("server"),
        mapping={"run": "an earlier one", "always": "1", "alone": "1", "confirmed": "0", "replid": "r"}
        | before,
    )


async def lost(store: Store) -> None:
    """Let writes be lost, as the next to look finds out; the worker has nothing in flight."""
    await another(store, always="0")
    found = await store.guard.look("w1")
    assert found.lost
    await store.guard.look("w1", cleared=found.at)


async def settled(store: Store, bid: str, *, absent: bool = True, hold: bool = False) -> Any:
    """Judge all that is in doubt."""
    verdicts = [
        Verdict(LANE, bid, batch, row, r.attempt, r.changed, absent=absent, hold=hold)
        for (batch, row), r in sorted((await records(store, bid)).items())
        if r.state is State.IN_DOUBT
    ]
    return await store.run(settle(verdicts, 5))


@pytest.mark.parametrize(
    ("before", "known", "is_lost"),
    [
        pytest.param({}, 0, False, id="every write was on disk, and no replica"),
        pytest.param({"always": "0"}, 0, True, id="its last second may be gone"),
        pytest.param({"always": "0", "confirmed": "1"}, 0, True, id="confirmed, but none of its replicas"),
        pytest.param({"alone": "0"}, 0, True, id="a replica may have taken its place"),
        pytest.param({"alone": "0", "confirmed": "1"}, 0, False, id="on disk, and replicas confirm"),
        pytest.param({}, 10**6, True, id="on disk, but older than a worker knows: a backup"),
    ],
)
async def test_another_server_has_kept_all_or_not(
    store: Store,
    before: dict[str, str],
    known: int,
    is_lost: bool,  # noqa: FBT001 - a table
) -> None:
    await store.guard.look()
    await another(store, **before)
    guard = Guard(store.redis, store.run, replicas=0)
    guard._known = known  # what a worker that lived through it knows
    assert (await guard.look()).lost is is_lost
    assert not (await guard.look()).lost


async def test_the_same_server_has_lost_nothing(store: Store) -> None:
    first = await store.guard.look("w1")
    second = await store.guard.look("w1")
    assert not second.lost
    assert second.run_id == first.run_id
    assert second.count > first.count


async def test_loading_scripts_into_another_server_finds_out_first(store: Store) -> None:
    bid = await load(store, {LANE: 3})
    await join(store)
    await another(store, always="0")
    await store.redis.script_flush()
    assert await take(store) == []
    await store.guard.look("w1", cleared=(await store.guard.look("w1")).at)
    assert (await rewind(store)) is not None
    assert await counts(store, bid) == {State.IN_DOUBT: 3}


async def test_nothing_leaves_until_all_is_in_doubt(store: Store) -> None:
    bid = await load(store, {LANE: 40}, batch=16)
    await join(store)
    (held,) = await take(store, records=4)
    await lost(store)
    assert await take(store) == []
    assert (await ask(store, held)).refused == "account"
    assert (await settled(store, bid)) == (0, 0, 0, 0, [], [])
    done = await rewind(store)
    assert done is not None
    assert (done.broadcasts, done.messages) == (1, 40)
    assert await counts(store, bid) == {State.IN_DOUBT: 40}
    # what was claimed before is as little sendable as what was not
    assert (await ask(store, held)).yes == "0" * len(held.items)
    assert await take(store) == []


@pytest.mark.parametrize("state", ["running", "paused"])
async def test_what_is_shown_absent_is_sent_once(store: Store, state: str) -> None:
    bid = await load(store, {LANE: 60}, rates={LANE: 1000.0}, batch=16)
    await join(store)
    (held,) = await take(store, records=10)
    (asked, *_) = held.items
    assert (await ask(store, held, [asked])).yes == "1"
    if state == "paused":
        await store.run(control.pause(bid, "by request"))
    await lost(store)
    await rewind(store)
    await settled(store, bid)
    assert await counts(store, bid) == {State.QUEUED: 60}
    await store.run(claims.release("w1", [held.claim]))
    if state == "paused":
        assert await take(store) == []
        assert await store.run(control.resume(bid)) == "ok"
    seen: list[tuple[str, int]] = []
    while slices := await take(store, horizon_seconds=10.0):
        for one in slices:
            seen += [(one.batch, item.row) for item in one.items]
            verdict = await ask(store, one)
            assert verdict.yes == "1" * len(one.items)
            await tell(store, one, [result(i.row, i.attempt + 1, State.ACCEPTED, sid=SID) for i in one.items])
            await store.run(claims.release("w1", [one.claim]))
    assert len(seen) == len(set(seen)) == 60
    assert await counts(store, bid) == {State.ACCEPTED: 60}


async def test_under_hold_it_becomes_dead_letters(store: Store) -> None:
    bid = await load(store, {LANE: 5})
    await join(store)
    await lost(store)
    await rewind(store)
    await settled(store, bid, hold=True)
    found = await records(store, bid)
    assert {(r.state, r.code) for r in found.values()} == {(State.DEAD, Reason.UNKNOWN)}


async def test_twice_changes_nothing_more(store: Store) -> None:
    bid = await load(store, {LANE: 20}, batch=16)
    await join(store)
    await lost(store)
    await rewind(store)
    before = await records(store, bid)
    await lost(store)
    await rewind(store)
    assert {key: r.attempt for key, r in (await records(store, bid)).items()} == {
        key: r.attempt for key, r in before.items()
    }


async def lost_sending(store: Store, outcomes: Sequence[tuple[State, int]]) -> str:
    """Send one message, let Redis lose that, and tell it its outcomes, (state, attempt), again."""
    bid = await load(store, {LANE: 1})
    await join(store)
    ledger = store.keys.ledger(bid, "0.0")
    before = await store.redis.get(ledger)
    fields = await store.redis.hgetall(store.keys.broadcast(bid))
    (held,) = await take(store)
    assert (await ask(store, held)).yes == "1"
    await store.redis.set(ledger, before)
    await store.redis.delete(store.keys.broadcast(bid))
    await store.redis.hset(store.keys.broadcast(bid), mapping=fields)
    for state, attempt in outcomes:
        sid = SID if state is State.ACCEPTED else b""
        await tell(store, held, [result(0, attempt, state, sid=sid)])
    return bid


@pytest.mark.parametrize("marked_first", [False, True])
@pytest.mark.parametrize(
    ("outcomes", "state", "attempt"),
    [
        ([(State.ACCEPTED, 1)], State.ACCEPTED, 1),
        ([(State.DEAD, 1)], State.DEAD, 1),
        ([(State.IN_DOUBT, 1)], State.IN_DOUBT, 1),
        ([(State.RETRY, 1)], State.IN_DOUBT, 1),
        ([(State.RETRY, 1), (State.ACCEPTED, 2)], State.ACCEPTED, 2),
        ([(State.ACCEPTED, 2)], State.ACCEPTED, 2),
    ],
)
async def test_outcomes_of_lost_attempts_are_believed_when_they_end_it(
    store: Store,
    outcomes: list[tuple[State, int]],
    state: State,
    attempt: int,
    marked_first: bool,  # noqa: FBT001 - a table
) -> None:
    bid = await lost_sending(store, [] if marked_first else outcomes)
    await lost(store)
    await rewind(store)
    if marked_first:
        held = claims.Slice("gone", LANE, bid, "0.0", 0.0, 0.0, [])
        for told, number in outcomes:
            sid = SID if told is State.ACCEPTED else b""
            await tell(store, held, [result(0, number, told, sid=sid)])
    (record,) = (await records(store, bid)).values()
    assert (record.state, record.attempt) == (state, attempt)
    if state is State.ACCEPTED:
        assert await send_all(store) == 0


async def test_a_living_worker_is_waited_for_until_it_says_that_nothing_is_under_way(store: Store) -> None:
    bid = await load(store, {LANE: 2})
    await join(store)
    await another(store, always="0")
    look = await store.guard.look("w1")
    assert (look.asked, look.rewinding_since > 0) == (True, True)
    ended = Call("rewound", (look.at, 60), text)
    assert await store.run(ended) == "waits"
    assert not (await store.guard.look("w1", cleared=look.at)).asked
    done = await rewind(store)
    assert done is not None
    assert await counts(store, bid) == {State.IN_DOUBT: 2}
    assert await store.run(ended) == "none"


async def test_a_person_may_say_that_the_data_is_old(store: Store) -> None:
    bid = await load(store, {LANE: 2})
    await store.guard.look("w1")
    await store.guard.look(rewind_to=1_700_000_000)
    done = await rewind(store)
    assert done is not None
    assert done.since == 1_700_000_000
    assert {r.began for r in (await records(store, bid)).values()} == {1_700_000_000}
    raw = await store.redis.hgetall(store.keys.plain("rewound"))
    assert raw[b"owner:*"] == b""


async def test_what_has_ended_is_left_alone(store: Store) -> None:
    bid = await load(store, {LANE: 3})
    await join(store)
    assert await send_all(store) == 3
    before = await everything(store)
    await lost(store)
    done = await rewind(store)
    assert done is not None
    assert done.messages == 0
    after = await everything(store)
    for key in (store.keys.ledger(bid, "0.0"), store.keys.broadcast(bid)):
        assert after[key] == before[key]


async def test_a_new_epoch_refuses_whoever_was_here_before(store: Store) -> None:
    after = await store.with_new_epoch()
    with pytest.raises(EpochChanged):
        await join(store)
    await join(after)


async def test_data_older_than_a_worker_knows_gives_it_nothing(store: Store) -> None:
    """Also before it has looked, when somebody else has loaded the scripts."""
    await load(store, {LANE: 2})
    await join(store)
    known = (await store.guard.look("w1")).count + 1
    call = claims.claim("w1", "1.a", lanes=10, records=10, horizon_seconds=1.0, known=known)
    assert (await store.run(call)).slices == []
    again = claims.claim("w1", "2.b", lanes=10, records=10, horizon_seconds=1.0, known=known - 1)
    assert len((await store.run(again)).slices) == 1
