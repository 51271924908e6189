from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, SID, ask, everything, group, join, overdue, result, take, tell
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import counts, load, number, records

from broadcaster.domain.record import Reason, Record, State
from broadcaster.lanes import claims, control
from broadcaster.ledger.optouts import OptOuts, opt_in, opt_out
from broadcaster.store.batches import first_records

if TYPE_CHECKING:
    from broadcaster.lanes.claims import Slice
    from broadcaster.store.connection import Store


async def one_slice(store: Store, count: int = 5, **more: Any) -> tuple[str, Slice]:
    bid = await load(store, {LANE: count}, **more)
    await join(store)
    (held,) = await take(store)
    return bid, held


async def test_a_yes_writes_sending_and_raises_the_attempt(store: Store) -> None:
    bid, held = await one_slice(store)
    assert await ask(store, held, held.items[:3]) == claims.Verdict("", "111")
    found = await records(store, bid)
    sending = found["0.0", 0]
    assert (sending.state, sending.attempt, sending.segments) == (State.SENDING, 1, 1)
    assert abs(sending.began - time.time()) < 3
    assert await counts(store, bid) == {State.QUEUED: 2, State.SENDING: 3}


async def test_asked_twice_it_answers_the_same_and_changes_nothing(store: Store) -> None:
    _, held = await one_slice(store)
    first = await ask(store, held)
    before = await everything(store)
    assert await ask(store, held) == first == claims.Verdict("", "11111")
    assert await everything(store) == before


async def test_another_attempt_or_state_than_expected_is_a_no(store: Store) -> None:
    bid, held = await one_slice(store)
    await ask(store, held, held.items[:2])
    await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID), result(1, 1, State.RETRY, code=429)])
    old_and_wrong = [*held.items[:2], held.items[2]._replace(attempt=3), held.items[3]]
    assert await ask(store, held, old_and_wrong) == claims.Verdict("", "0001")
    assert await counts(store, bid) == {
        State.ACCEPTED: 1, State.RETRY: 1, State.QUEUED: 2, State.SENDING: 1,
    }  # fmt: skip


async def test_a_row_that_is_not_there_is_a_no(store: Store) -> None:
    bid, held = await one_slice(store)
    before = await store.redis.get(store.keys.ledger(bid, "0.0"))
    beyond = held.items[0]._replace(row=5)
    assert await ask(store, held, [beyond]) == claims.Verdict("", "0")
    assert await store.redis.get(store.keys.ledger(bid, "0.0")) == before


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.lists(st.integers(0, 29), min_size=1, unique=True))
async def test_records_may_be_asked_for_in_any_order(store: Store, order: list[int]) -> None:
    await store.redis.flushdb()
    await store.redis.set(store.keys.plain("epoch"), store.epoch)
    bid, held = await one_slice(store, 30)
    chosen = [held.items[i] for i in order]
    assert (await ask(store, held, chosen)).yes == "1" * len(order)
    found = await records(store, bid)
    assert len(found) == 30
    for (_, row), one in found.items():
        assert (one.state, one.attempt) == ((State.SENDING, 1) if row in order else (State.QUEUED, 0))


@pytest.mark.parametrize(
    ("stopped", "refused"),
    [
        ("claim", "claim"),
        ("lease", "claim"),
        ("account", "account"),
        ("lane", "lane"),
        ("hold", "hold"),
        ("pause", "paused"),
        ("cancel", "canceled"),
        ("gone", "gone"),
        ("optouts", "optouts"),
    ],
)
async def test_what_is_stopped_gets_no_yes(store: Store, stopped: str, refused: str) -> None:
    bid, held = await one_slice(store)
    match stopped:
        case "claim":
            await store.run(claims.release("w1", [held.claim]))
        case "lease":
            await overdue(store, "w1")
            for _ in range(2):
                await store.run(claims.sweep(0.0))
        case "account":
            await store.run(control.pause_account("a test"))
        case "lane":
            await store.run(control.pause_lane(LANE, "a test"))
        case "hold":
            await store.run(control.hold_lane(LANE, 30, "a test"))
        case "pause":
            await store.run(control.pause(bid, "a test"))
        case "cancel":
            await store.run(control.cancel(bid, "a test"))
        case "gone":
            await store.redis.delete(store.keys.broadcast(bid))
        case "optouts":
            assert await store.run(opt_out([number(1)], "a test")) == 1
    assert await ask(store, held) == claims.Verdict(refused, "")
    assert {r.state for r in (await records(store, bid)).values()} == {State.QUEUED}


async def test_what_has_expired_gets_no_yes(store: Store) -> None:
    bid, held = await one_slice(store, expires_at=time.time() + 60)
    assert (await ask(store, held, held.items[:1])).yes == "1"
    await store.redis.hset(store.keys.broadcast(bid), "expires", repr(time.time() - 1))
    assert await ask(store, held, held.items[1:]) == claims.Verdict("expired", "")


async def test_a_refused_group_leaves_the_others_of_the_round_trip(store: Store) -> None:
    one, _ = await load(store, {LANE: 3}), await join(store)
    two = await load(store, {LANE: 3}, first=10)
    slices = [*await take(store), *await take(store, horizon_seconds=1.0)]
    assert {s.broadcast for s in slices} == {one, two}
    await store.run(control.pause(one, "a test"))
    answers = await store.run(claims.intend("w1", "0", [group(s) for s in slices]))
    assert sorted(answers) == [claims.Verdict("", "111"), claims.Verdict("paused", "")]


async def test_a_worker_that_knows_of_the_opt_out_may_go_on(store: Store) -> None:
    _, held = await one_slice(store)
    local = OptOuts()
    await local.refresh(store)
    assert local.epoch == "0"
    await store.run(opt_out([number(1), number(2)], "a test"))
    assert (await ask(store, held, optout_epoch=local.epoch)).refused == "optouts"
    await local.refresh(store)
    everywhere = local.scopes(LANE, None, "utility")
    blocked = (local.blocks(number(1), everywhere), local.blocks(number(3), everywhere))
    assert (local.epoch, *blocked) == ("2", True, False)
    assert (await ask(store, held, optout_epoch=local.epoch)).yes == "11111"


async def test_opt_outs_are_counted_once_and_logged(store: Store) -> None:
    local = OptOuts()
    await store.run(opt_out([number(1)], "a test"))
    await local.refresh(store)
    call = opt_out([number(1), number(2)], "a test", scope=LANE)
    assert await store.run(call) == 2
    before = await everything(store)
    assert await store.run(call) == 0
    assert await everything(store) == before
    await local.refresh(store)
    assert local.blocks(number(2), local.scopes(LANE, None, "utility"))
    another = local.scopes("another lane", None, "utility")
    assert not local.blocks(number(2), another)
    assert await store.run(opt_in([number(1)])) == 1
    assert await store.run(opt_in([number(1)])) == 0
    await local.refresh(store)
    assert local.scopes("another lane", None, "utility") == ()
    assert (local.epoch, local.blocks(number(1), another)) == ("4", False)
    assert local.blocks(number(1), local.scopes(LANE, None, "utility"))
    assert await store.redis.lrange(store.keys.plain("optouts:log"), -1, -1) == [
        b"4|-*|" + number(1).encode()
    ]


async def test_whoever_missed_more_than_the_log_reads_everything(store: Store) -> None:
    local = OptOuts()
    await store.run(opt_out([number(1)], "a test"))
    await local.refresh(store)
    await store.run(opt_in([number(1)]))
    await store.run(opt_out([f"whatsapp:{number(i)}" for i in range(2, 9)], "a test"))
    await store.redis.ltrim(store.keys.plain("optouts:log"), -2, -1)
    await local.refresh(store)
    assert (local.epoch, len(local)) == ("9", 7)
    everywhere = local.scopes(LANE, None, "utility")
    assert local.blocks(f"whatsapp:{number(2)}", everywhere)
    assert not local.blocks(number(2), everywhere)


async def test_lua_and_python_agree_on_the_layout(store: Store) -> None:
    """A record with every field in use passes the gate and the ledger: but for `by_template` it all stays."""
    bid, held = await one_slice(store, 3)
    key = store.keys.ledger(bid, "0.0")
    odd = Record(State.RETRY, 255, attempt=0x1234, spent=9, flags=0x60, code=0x123456, began=7, changed=8)
    raw = await store.redis.get(key)
    await store.redis.set(key, raw[:32] + odd.pack() + raw[64:])
    assert (await ask(store, held, [held.items[1]._replace(attempt=0x1234)])).yes == "1"
    sent = (await records(store, bid))["0.0", 1]
    assert (sent.attempt, sent.spent, sent.flags, sent.code, sent.segments) == (
        0x1235, 9, 0x40, 0x123456, 255,
    )  # fmt: skip
    outcome = result(1, 0x1235, State.ACCEPTED, code=0xFEDCBA, sid=SID, flags=1, spend=1)
    await tell(store, held, [outcome])
    done = (await records(store, bid))["0.0", 1]
    assert done == Record(
        State.ACCEPTED, 255, attempt=0x1235, spent=10, flags=0x41, code=0xFEDCBA, sid="MM" + SID.hex(),
        began=sent.began, changed=done.changed,
    )  # fmt: skip
    after = await store.redis.get(key)
    assert after[:32] + after[64:] == raw[:32] + raw[64:]


def test_the_first_records_are_the_ones_python_packs() -> None:
    states = bytes([State.QUEUED, State.SKIPPED, State.QUEUED])
    raw = first_records(states, [0, Reason.DUPLICATE, 0], bytes([3, 0, 0]), 1234)
    assert [Record.unpack(raw, at) for at in (0, 32, 64)] == [
        Record(State.QUEUED, 3, changed=1234),
        Record(State.SKIPPED, 1, code=Reason.DUPLICATE, changed=1234),
        Record(State.QUEUED, 1, changed=1234),
    ]
