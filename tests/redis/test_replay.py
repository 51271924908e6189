"""Dead letters that go again, or are laid down: once each, as they were seen, and never what Twilio has."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import pytest
from driving import LANE, OTHER, SID, ask, everything, join, result, send_all, take, tell
from loading import counts, load, records

from broadcaster.domain.record import Reason, State
from broadcaster.lanes import claims, control
from broadcaster.ledger.replaying import (
    FAILURES,
    Answer,
    Letters,
    by_code,
    carry_out,
    discard,
    find_letters,
    may_have_been_sent,
    replay,
)
from broadcaster.reporting.messages import read_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.lanes.claims import Slice
    from broadcaster.store.connection import Store

DEAD = (State.DEAD, 30003)


async def played(
    store: Store, lanes: dict[str, int], outcomes: Sequence[tuple[State, int]], **more: float
) -> str:
    """Load a broadcast and end its first messages so."""
    bid = await load(store, lanes, batch=3, expires_at=more.get("expires_at"))
    await join(store)
    await play(store, outcomes)
    return bid


async def play(store: Store, outcomes: Sequence[tuple[State, int]]) -> list[Slice]:
    """Claim, ask and end messages so, in the order they come."""
    left, seen = list(outcomes), []
    while left and (slices := await take(store, horizon_seconds=10.0)):
        for held in slices:
            seen.append(held)
            some, left = left[: len(held.items)], left[len(held.items) :]
            items = held.items[: len(some)]
            if items:
                assert (await ask(store, held, items)).yes == "1" * len(items)
                told = [
                    result(
                        item.row,
                        item.attempt + 1,
                        state,
                        code=code,
                        spend=1,
                        sid=SID if 4 <= state < 10 else b"",
                    )
                    for item, (state, code) in zip(items, some, strict=True)
                ]
                await tell(store, held, told, twice=True)
            await store.run(claims.release("w1", [held.claim]))
    assert not left
    return seen


async def letters(
    store: Store, bid: str, *, states: Sequence[State] = (State.DEAD,), codes: Sequence[int] = ()
) -> list[Letters]:
    return [found async for found in find_letters(store, bid, codes=codes, states=states)]


async def state_of(store: Store, bid: str) -> str:
    raw = await store.redis.hget(store.keys.broadcast(bid), "state")
    return (raw or b"").decode()


async def test_a_completed_broadcast_runs_again_for_its_dead_letters(store: Store) -> None:
    bid = await played(store, {LANE: 5, OTHER: 2}, [DEAD] * 7)
    assert await state_of(store, bid) == "completed"
    found = await letters(store, bid)
    assert [(one.lane, one.batch, len(one)) for one in found] == [
        (LANE, "0.0", 3), (LANE, "0.1", 2), (OTHER, "1.0", 2),
    ]  # fmt: skip
    assert await store.run(replay(found[0])) == Answer("ok", 3, 0)
    assert await state_of(store, bid) == "running"
    assert await counts(store, bid) == {State.RETRY: 3, State.DEAD: 4}
    assert await store.redis.sismember(store.keys.plain("active"), bid)
    one = (await records(store, bid))["0.0", 0]
    assert (one.state, one.attempt, one.spent, one.code, one.sid) == (State.RETRY, 1, 0, 30003, None)
    assert await send_all(store) == 3
    assert await state_of(store, bid) == "completed"
    assert (await records(store, bid))["0.0", 0].attempt == 2
    assert await counts(store, bid) == {State.ACCEPTED: 3, State.DEAD: 4}
    codes = await store.redis.hgetall(store.keys.broadcast(bid, ":codes"))
    assert codes == {b"10:30003": b"4"}
    marks = await store.redis.hgetall(store.keys.broadcast(bid, ":dead"))
    assert marks == {b"0.1": b"2", b"1.0": b"2"}


async def test_a_second_replay_of_the_same_letters_does_nothing(store: Store) -> None:
    bid = await played(store, {LANE: 3}, [DEAD] * 3)
    (found,) = await letters(store, bid)
    await store.run(replay(found))
    before = await everything(store)
    assert await store.run(replay(found)) == Answer("ok", 0, 0)
    assert await everything(store) == before
    await play(store, [DEAD] * 3)  # they die again: letters of another attempt
    before = await everything(store)
    assert await store.run(replay(found)) == Answer("ok", 0, 0)
    assert await everything(store) == before
    (newer,) = await letters(store, bid)
    assert newer.pairs.tolist() == [0, 2, 1, 2, 2, 2]
    assert (await store.run(replay(newer))).changed == 3


async def test_a_report_that_comes_again_kills_no_replayed_message(store: Store) -> None:
    bid = await load(store, {LANE: 1})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    died = [result(0, 1, State.DEAD, code=30003, spend=1)]
    await tell(store, held, died)
    (found,) = await letters(store, bid)
    await store.run(replay(found))
    assert (await tell(store, held, died)).changed == 0
    assert await counts(store, bid) == {State.RETRY: 1}


async def test_the_history_keeps_what_was_before(store: Store) -> None:
    bid = await played(store, {LANE: 1}, [DEAD])
    (found,) = await letters(store, bid)
    await store.run(replay(found))
    await play(store, [(State.DEAD, 30005)])
    told = await read_message(store, f"{bid}.0.0.0")
    assert told is not None
    assert [(a.attempt, a.state, a.code, a.evidence) for a in told[1]] == [
        (1, State.DEAD, 30003, ""), (1, State.RETRY, 30003, "replay"), (2, State.DEAD, 30005, ""),
    ]  # fmt: skip


async def test_a_message_in_a_paused_broadcast_waits_for_its_resume(store: Store) -> None:
    bid = await played(store, {LANE: 3}, [DEAD] * 2)
    await store.run(control.pause(bid, "a test"))
    (found,) = await letters(store, bid)
    assert (await store.run(replay(found))).changed == 2
    assert await state_of(store, bid) == "paused"
    assert await take(store, horizon_seconds=10.0) == []
    await store.run(control.resume(bid))
    assert await send_all(store) == 3


async def test_a_run_of_content_refusals_and_a_replay_send_once(store: Store) -> None:
    bid = await load(store, {LANE: 30}, rates={LANE: 1e5})
    await join(store)
    (held,) = await take(store, horizon_seconds=10.0)
    await ask(store, held)
    told = await tell(store, held, [result(i, 1, State.DEAD, code=21617, content=1) for i in range(20)])
    assert told.paused
    (found,) = await letters(store, bid)
    assert (await store.run(replay(found))).changed == 20
    await store.run(control.resume(bid))
    assert (await counts(store, bid))[State.RETRY] == 20
    assert (await store.redis.zcard(store.keys.flow(bid, LANE, ":retry"))) == 20


async def test_canceled_and_expired_broadcasts_refuse(store: Store) -> None:
    bid = await played(store, {LANE: 3}, [DEAD] * 2, expires_at=4e9)
    (found,) = await letters(store, bid)
    await store.redis.hset(store.keys.broadcast(bid), "expires", "1000.5")
    before = await everything(store)
    assert await store.run(replay(found)) == Answer("expired", 0, 0)
    await store.run(control.cancel(bid, "a test"))
    assert await store.run(replay(found)) == Answer("canceled", 0, 0)
    done = await carry_out(store, [found], again=True)
    assert (done.changed, done.unchanged, done.refused) == (0, 2, {bid: "canceled"})
    gone = Letters("gone", LANE, "0.0", array("H", [0, 1]), (30003,))
    assert await store.run(replay(gone)) == Answer("gone", 0, 0)
    assert {k: v for k, v in before.items() if ":led:" in k} == {
        k: v for k, v in (await everything(store)).items() if ":led:" in k
    }


async def test_a_discarded_letter_is_skipped_and_counted(store: Store) -> None:
    bid = await played(store, {LANE: 3}, [DEAD, (State.ACCEPTED, 0), DEAD])
    (found,) = await letters(store, bid)
    assert await store.run(discard(found)) == Answer("ok", 2, 0)
    before = await everything(store)
    assert await store.run(discard(found)) == Answer("ok", 0, 0)
    assert await store.run(replay(found)) == Answer("ok", 0, 0)
    assert await everything(store) == before
    assert await state_of(store, bid) == "completed"
    assert await counts(store, bid) == {State.ACCEPTED: 1, State.SKIPPED: 2}
    one = (await records(store, bid))["0.0", 2]
    assert (one.state, one.code, one.attempt) == (State.SKIPPED, Reason.DISCARDED, 1)
    codes = await store.redis.hgetall(store.keys.broadcast(bid, ":codes"))
    assert codes == {b"10:30003": b"0", b"11:%d" % Reason.DISCARDED: b"2"}
    assert not await store.redis.exists(store.keys.broadcast(bid, ":dead"))
    told = await read_message(store, f"{bid}.0.0.0")
    assert told is not None
    assert [(a.state, a.code, a.evidence) for a in told[1]] == [
        (State.DEAD, 30003, ""), (State.SKIPPED, Reason.DISCARDED, "discard"),
    ]  # fmt: skip


async def test_what_an_earlier_attempt_brought_to_twilio_does_not_go_again(store: Store) -> None:
    bid = await played(store, {LANE: 1}, [(State.RETRY, 30001)])
    (held,) = await play(store, [(State.ACCEPTED, 0)])
    failed = [result(0, 2, State.UNDELIVERED, code=30003, sid=SID)]
    assert (await tell(store, held, failed)).changed == 1
    (found,) = await letters(store, bid, states=FAILURES)
    late = [result(0, 1, State.SENT, sid=bytes(reversed(SID)))]
    assert (await tell(store, held, late)).caused == 1
    assert await store.run(replay(found)) == Answer("ok", 0, 1)
    assert await counts(store, bid) == {State.UNDELIVERED: 1}


async def test_a_letter_whose_earlier_attempt_arrived_is_none_any_more(store: Store) -> None:
    bid = await played(store, {LANE: 1}, [(State.RETRY, 30001)])
    (held,) = await play(store, [DEAD])
    (found,) = await letters(store, bid)
    told = await tell(store, held, [result(0, 1, State.SENT, sid=SID)], twice=True)
    assert (told.changed, told.caused) == (1, 0)
    assert await store.run(replay(found)) == Answer("ok", 0, 0)
    assert await counts(store, bid) == {State.SENT: 1}


async def test_old_news_of_what_was_skipped_before_it_went_again_changes_nothing(store: Store) -> None:
    bid = await played(store, {LANE: 1}, [(State.ACCEPTED, 0)])
    held = claims.Slice("claim", LANE, bid, "0.0", 0.0, 0.0, [])
    failed = [result(0, 1, State.UNDELIVERED, code=30003, sid=SID)]
    await tell(store, held, failed)
    (found,) = await letters(store, bid, states=FAILURES)
    assert (await store.run(replay(found))).changed == 1
    await store.run(control.cancel(bid, "a test"))
    assert await store.run(control.skip(bid, LANE, "0.0", Reason.CANCELED)) == 1
    assert (await tell(store, held, failed)).changed == 0
    assert (await tell(store, held, [result(0, 1, State.SENT, sid=SID)])).changed == 0
    assert (await tell(store, held, [result(0, 1, State.DELIVERED, sid=SID)])).changed == 1


async def test_what_failed_on_its_way_goes_again_and_old_news_of_it_changes_nothing(store: Store) -> None:
    bid = await played(store, {LANE: 2}, [(State.ACCEPTED, 0)] * 2)
    held = claims.Slice("claim", LANE, bid, "0.0", 0.0, 0.0, [])
    failed = [result(row, 1, State.UNDELIVERED, code=30003, sid=SID) for row in (0, 1)]
    await tell(store, held, failed)
    assert await letters(store, bid) == []
    (found,) = await letters(store, bid, states=FAILURES)
    assert await store.run(replay(found)) == Answer("ok", 2, 0)
    assert await counts(store, bid) == {State.RETRY: 2}
    again = await tell(store, held, failed)
    assert (again.changed, again.caused) == (0, 0)
    assert (await tell(store, held, [result(0, 1, State.SENT, sid=SID)])).changed == 0
    assert (await tell(store, held, [result(0, 1, State.DELIVERED, sid=SID)])).changed == 1
    await play(store, [(State.IN_DOUBT, 6)])
    again = await tell(store, held, [failed[1]])
    assert (again.changed, again.caused) == (0, 0)
    assert await counts(store, bid) == {State.DELIVERED: 1, State.IN_DOUBT: 1}
    assert (await tell(store, held, [result(1, 1, State.DELIVERED, sid=SID)])).caused == 1


async def test_letters_are_found_by_code_and_replayed_batch_by_batch(store: Store) -> None:
    bid = await played(store, {LANE: 8}, [DEAD, (State.DEAD, 21211)] * 4)
    found = await letters(store, bid, codes=[21211])
    assert [(one.batch, one.pairs.tolist(), one.codes) for one in found] == [
        ("0.0", [1, 1], (21211,)), ("0.1", [0, 1, 2, 1], (21211, 21211)), ("0.2", [1, 1], (21211,)),
    ]  # fmt: skip
    assert by_code(await letters(store, bid)) == {30003: 4, 21211: 4}
    done = await carry_out(store, found, again=True)
    assert (done.changed, done.unchanged, done.late, done.refused) == (4, 0, 0, {})
    done = await carry_out(store, found, again=True)
    assert (done.changed, done.unchanged) == (0, 4)
    assert await counts(store, bid) == {State.DEAD: 4, State.RETRY: 4}


async def test_a_big_batch_goes_in_parts(store: Store) -> None:
    bid = await load(store, {LANE: 300}, rates={LANE: 1e5}, batch=300)
    await join(store)
    await play(store, [DEAD] * 300)
    (found,) = await letters(store, bid)
    assert [len(part) for part in found.parts(125)] == [125, 125, 50]
    assert (await carry_out(store, [found], again=True)).changed == 300
    assert await send_all(store) == 300
    assert await state_of(store, bid) == "completed"


async def test_replayed_messages_leave_at_the_senders_pace(store: Store) -> None:
    bid = await load(store, {LANE: 10}, rates={LANE: 1000.0})
    await join(store)
    await play(store, [DEAD] * 10)
    await store.run(control.set_rate(LANE, 1.0))
    done = await carry_out(store, await letters(store, bid), again=True)
    assert done.changed == 10
    (held,) = await take(store)
    assert [item.row for item in held.items] == [0]
    assert await take(store) == []


@pytest.mark.parametrize(
    ("code", "maybe"),
    [
        (9, True),
        (5, True),
        (6, True),
        (8, False),
        (10, False),
        (30003, False),
        (503, True),
        (408, True),
        (404, False),
    ],
)
def test_which_letters_may_have_been_sent(code: int, maybe: bool) -> None:  # noqa: FBT001
    assert may_have_been_sent(code) is maybe
