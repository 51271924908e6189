from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, SID, ask, everything, join, overdue, result, take, tell
from loading import counts, load, records

from broadcaster.domain.record import Evidence, Reason, State
from broadcaster.lanes import claims, control
from broadcaster.ledger.settling import Found, Settled, Verdict, accept, settle
from broadcaster.store.scripts import unpacked

if TYPE_CHECKING:
    from broadcaster.lanes.claims import Slice
    from broadcaster.store.connection import Store

NAME = "SM" + SID.hex()


async def in_doubt(store: Store, *, lost: bool = False, **more: Any) -> tuple[str, Slice]:
    """A broadcast of one whose message is in doubt, by a lost answer or a lost lease."""
    bid = await load(store, {LANE: 1}, **more)
    await join(store)
    (held,) = await take(store)
    assert (await ask(store, held)).yes == "1"
    if lost:
        await overdue(store, "w1")
        for _ in range(2):
            await store.run(claims.sweep(0.0))
    else:
        await tell(store, held, [result(0, 1, State.IN_DOUBT, code=Reason.NO_ANSWER, spend=1)])
        await store.run(claims.release("w1", [held.claim]))
    assert await counts(store, bid) == {State.IN_DOUBT: 1}
    assert await store.redis.smembers(store.keys.plain("doubtful")) == {bid.encode()}
    return bid, held


async def one(store: Store, bid: str) -> Any:
    return (await records(store, bid))["0.0", 0]


async def judge(
    store: Store, bid: str, *, absent: bool = True, hold: bool = False, most: int = 5, attempt: int = 1
) -> Settled:
    """Settle without evidence, twice: the second time must change nothing."""
    changed = (await one(store, bid)).changed
    call = settle([Verdict(LANE, bid, "0.0", 0, attempt, changed, absent, hold)], most)
    told = await store.run(call)
    before = await everything(store)
    assert (await store.run(call))[:4] == (0, 0, 0, 0)
    assert await everything(store) == before
    return told


async def history(store: Store, bid: str) -> list[list[Any]]:
    redis: Any = store.redis
    lines = await redis.lrange(store.keys.history(bid, "0.0", 0), 0, -1)
    return [[e[0], State(e[1]), e[7]] for e in map(unpacked, lines)]


@pytest.mark.parametrize("lost", [False, True])
async def test_absence_sends_again_and_spends_one_attempt(store: Store, lost: bool) -> None:  # noqa: FBT001
    bid, _ = await in_doubt(store, lost=lost)
    assert (await one(store, bid)).spent == (0 if lost else 1)
    assert (await judge(store, bid)).retried == 1
    found = await one(store, bid)
    assert (found.state, found.attempt, found.spent) == (State.RETRY, 1, 1)
    assert (await history(store, bid))[-1] == [1, State.RETRY, "absent"]
    assert await store.redis.smembers(store.keys.plain("doubtful")) == set()
    await join(store, "w2")
    (held,) = await take(store, "w2", horizon_seconds=5)
    assert (await ask(store, held, worker="w2")).yes == "1"
    assert (await one(store, bid)).attempt == 2


@pytest.mark.parametrize(
    ("why", "absent", "hold", "most"),
    [("hold", True, True, 5), ("the last attempt", True, False, 1), ("no evidence", False, False, 5)],
)
async def test_what_may_not_be_sent_again_is_a_dead_letter(
    store: Store, why: str, *, absent: bool, hold: bool, most: int
) -> None:
    bid, held = await in_doubt(store)
    told = await judge(store, bid, absent=absent, hold=hold, most=most)
    assert (told.dead, told.completed) == (1, [bid]), why
    found = await one(store, bid)
    assert (found.state, found.code, found.evidence) == (State.DEAD, Reason.UNKNOWN, Evidence.POLICY)
    # later evidence that it had arrived still counts
    call = accept([Found(LANE, bid, "0.0", 0, 1, NAME)], Evidence.CALLBACK)
    assert (await store.run(call)).changed == 1
    found = await one(store, bid)
    assert (found.state, found.sid, found.evidence) == (State.ACCEPTED, NAME, Evidence.CALLBACK)
    assert (await history(store, bid))[-1] == [1, State.ACCEPTED, "callback"]
    codes = await store.redis.hgetall(store.keys.broadcast(bid, ":codes"))
    assert codes == {b"10:9": b"0"}
    assert (await tell(store, held, [result(0, 1, State.DEAD, code=Reason.UNKNOWN)])).changed == 0


async def test_other_dead_letters_stay_dead(store: Store) -> None:
    _, held = await in_doubt(store)
    await tell(store, held, [result(0, 1, State.DEAD, code=21211)])
    assert (await tell(store, held, [result(0, 1, State.SENT, sid=SID)])).changed == 0


@pytest.mark.parametrize("hold", [False, True])
async def test_absent_from_a_canceled_broadcast_is_skipped(store: Store, hold: bool) -> None:  # noqa: FBT001
    bid, _ = await in_doubt(store)
    await store.run(control.cancel(bid, "a test"))
    assert (await judge(store, bid, hold=hold)).skipped == 1
    found = await one(store, bid)
    assert (found.state, found.code) == (State.SKIPPED, Reason.CANCELED)


async def test_absent_and_expired_is_never_sent_again(store: Store) -> None:
    bid, _ = await in_doubt(store)
    await store.redis.hset(store.keys.broadcast(bid), "expires", "1")
    assert (await judge(store, bid)).skipped == 1
    found = await one(store, bid)
    assert (found.state, found.code) == (State.SKIPPED, Reason.EXPIRED)


async def test_evidence_ends_doubt_with_its_kind(store: Store) -> None:
    bid, _ = await in_doubt(store, lost=True)
    call = accept([Found(LANE, bid, "0.0", 0, 1, "MM" + SID.hex())], Evidence.LIST)
    assert (await store.run(call))[:5] == (1, [], [], [bid], 0)
    found = await one(store, bid)
    assert (found.state, found.sid, found.evidence) == (State.ACCEPTED, "MM" + SID.hex(), Evidence.LIST)
    assert (await history(store, bid))[-1] == [1, State.ACCEPTED, "list"]
    assert (await judge(store, bid))[:4] == (0, 0, 0, 0), "too late: it is settled"


async def test_a_judgement_of_an_older_look_changes_nothing(store: Store) -> None:
    """The owner reported meanwhile: its request ended later than the look assumed."""
    bid, held = await in_doubt(store, lost=True)
    changed = (await one(store, bid)).changed
    await store.redis.setrange(store.keys.ledger(bid, "0.0"), 28, (changed + 9).to_bytes(4, "big"))
    stale = settle([Verdict(LANE, bid, "0.0", 0, 1, changed, absent=True, hold=False)], 5)
    assert (await store.run(stale))[:4] == (0, 0, 0, 0)
    assert (await tell(store, held, [result(0, 1, State.DEAD, code=21211)])).changed == 1


async def test_the_owners_own_word_takes_the_place_of_a_lost_lease(store: Store) -> None:
    bid, held = await in_doubt(store, lost=True)
    assert await store.redis.smembers(store.keys.plain("owners")) == {b"w1"}
    unknown = [result(0, 1, State.IN_DOUBT, code=503, spend=1)]
    assert (await tell(store, held, unknown, twice=True)).changed == 1
    found = await one(store, bid)
    assert (found.state, found.code, found.spent) == (State.IN_DOUBT, 503, 1)
    assert await counts(store, bid) == {State.IN_DOUBT: 1}


async def test_evidence_of_attempt_1_during_attempt_2_is_a_duplicate_and_ends_the_second_doubt(
    store: Store,
) -> None:
    bid, _ = await in_doubt(store)
    await judge(store, bid)
    (held,) = await take(store, horizon_seconds=5)
    assert (await ask(store, held)).yes == "1"
    await tell(store, held, [result(0, 2, State.IN_DOUBT, code=503, spend=1)])
    late = accept([Found(LANE, bid, "0.0", 0, 1, NAME)], Evidence.LIST)
    assert [(await store.run(late)).caused for _ in range(2)] == [1, 0]
    assert (await one(store, bid)).state is State.IN_DOUBT, "an older attempt's evidence changes no state"
    assert (await judge(store, bid, attempt=2)).accepted == 1
    found = await one(store, bid)
    assert (found.state, found.attempt, found.sid, found.evidence) == (State.ACCEPTED, 2, NAME, Evidence.LIST)
    assert await take(store, horizon_seconds=60) == []
