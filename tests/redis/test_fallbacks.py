"""An SMS in place of a WhatsApp message that can't reach its person: exactly one, whatever happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from driving import ask, everything, join, overdue, result, send_all, take, tell
from falling_back import (
    CONTENT,
    SENDER,
    WHATSAPP,
    child,
    children,
    fail,
    follow,
    follower,
    no_pool,
    out,
    person,
    state,
)
from loading import counts, load, number, records
from test_rewinding import lost

from broadcaster.domain.content import Content
from broadcaster.domain.fallback import UNREACHABLE
from broadcaster.domain.record import Reason, State
from broadcaster.intake.fallbacks import Fallbacks
from broadcaster.lanes import control
from broadcaster.lanes.claims import sweep
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.optouts import opt_out
from broadcaster.ledger.replaying import carry_out, find_letters
from broadcaster.ledger.rewinding import rewind
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.settings import load_settings
from broadcaster.store.scripts import read_script
from broadcaster.telemetry.metrics import Metrics
from workers.following import Follower
from workers.jobs import skip_unsent

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def test_who_is_not_on_whatsapp_gets_one_sms(store: Store) -> None:
    bid = await out(store, 4)
    await fail(store, bid, 63024, 63003, 63016)
    await store.run(write_statuses([Status(bid, "0.0", 3, 1, f"SM{9:032x}", "delivered")]))
    assert await state(store, bid) == "completed"
    assert await follow(store) == 2
    assert await state(store, bid) == "running", "an SMS of it waits"
    sms = await child(store, bid)
    assert await counts(store, sms) == {State.QUEUED: 2}
    assert await counts(store, bid) == {State.FAILED: 3, State.DELIVERED: 1}
    flagged = {row: one.fell_back for (_, row), one in (await records(store, bid)).items()}
    assert flagged == {0: True, 1: True, 2: False, 3: False}
    assert await send_all(store) == 2
    assert (await state(store, sms), await state(store, bid)) == ("completed", "completed")


async def test_the_same_failure_told_twice_by_two_followers_is_one_sms(store: Store) -> None:
    bid = await out(store, 3)
    await fail(store, bid, 63024, 63024, 63024)
    redis, key = store.redis, store.keys.plain("failures")
    raws = await redis.lrange(key, 0, -1)
    assert await follow(store) == 3
    before = await everything(store)
    await redis.rpush(key, *raws)
    assert await follow(store) == 0
    assert await everything(store) == before
    # at the same moment, with part of it done
    await send_all(store)
    other = await out(store, 3, first=10)
    await fail(store, other, 63024, 63024, 63024)
    failed = await follower(store)[0]._read(await redis.lrange(key, 0, -1))
    several = [Fallbacks(store, load_settings(None), no_pool) for _ in range(3)]
    await several[0](failed[:1])
    await asyncio.gather(*(one(failed) for one in several))
    assert sum(one.appended for one in several) == 3
    assert await counts(store, await child(store, other)) == {State.QUEUED: 3}


async def test_a_follower_that_dies_before_it_takes_the_failure_off_the_list(store: Store) -> None:
    bid = await out(store, 2)
    await fail(store, bid, 63024, 63024)
    fallbacks = Fallbacks(store, load_settings(None), no_pool)

    async def dies(failed: Any) -> None:
        await fallbacks(failed)
        raise ConnectionError(str(len(failed)))

    one = Follower(store, Metrics(), dies)
    with pytest.raises(ConnectionError):
        await one.round()
    assert await store.redis.llen(store.keys.plain("failures")) == 2
    assert await follow(store) == 0
    assert await counts(store, await child(store, bid)) == {State.QUEUED: 2}


async def test_an_answer_that_was_lost_changes_nothing_the_second_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid = await out(store)
    await fail(store, bid, 63024)
    runs: list[Any] = []
    run = store.run

    async def twice(call: Any) -> Any:
        runs.append(call)
        return await run(call)

    with monkeypatch.context() as patched:
        patched.setattr(store, "run", twice)
        assert await follow(store) == 1
    (call,) = [one for one in runs if one.script == "fall_back"]
    before = await everything(store)
    again = await store.run(call)
    assert (again.verdict, again.unfit) == ("unfit", [0])
    assert await everything(store) == before


async def test_a_refusal_at_the_post_leads_to_the_sms_too(store: Store) -> None:
    bid = await load(store, {WHATSAPP: 2}, content=CONTENT, address=person)
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await tell(
        store, held, [result(0, 1, State.DEAD, code=63003), result(1, 1, State.DEAD, code=21211)], twice=True
    )
    assert await follow(store) == 1
    assert await counts(store, bid) == {State.DEAD: 2}


async def test_without_an_sms_nothing_follows(store: Store) -> None:
    bid = await out(store, content=Content(body="Hi"))
    await fail(store, bid, 63024)
    assert await follow(store) == 0
    assert await children(store, bid) == []
    mixed = await load(store, {"+14155550100": 1}, content=CONTENT)  # who isn't written to over WhatsApp
    (held,) = await take(store)
    await ask(store, held)
    await fail(store, mixed, 63024)
    assert await follow(store) == 0


async def test_what_is_retried_by_a_person_meanwhile_waits_for_its_new_outcome(store: Store) -> None:
    bid = await out(store)
    await fail(store, bid, 63024)
    letters = [group async for group in find_letters(store, bid, states=(State.FAILED,))]
    assert (await carry_out(store, letters, again=True)).changed == 1
    assert await follow(store) == 0
    (held,) = await take(store)
    await ask(store, held)
    await fail(store, bid, 63024, attempt=2)
    assert await follow(store) == 1
    # and once the SMS went it does not go over WhatsApp again
    letters = [group async for group in find_letters(store, bid, states=(State.FAILED,))]
    done = await carry_out(store, letters, again=True)
    assert (done.changed, done.unchanged, done.instead) == (0, 0, 1)


async def test_news_that_come_after_it(store: Store) -> None:
    """It was read over WhatsApp after all: that counts, and an SMS that has gone stays gone."""
    bid = await out(store, 2)
    await fail(store, bid, 63024, 63024)
    await store.run(write_statuses([Status(bid, "0.0", 0, 1, f"SM{256:032x}", "read")]))
    assert await follow(store) == 1, "who read it before needs none"
    await store.run(write_statuses([Status(bid, "0.0", 1, 1, f"SM{257:032x}", "read")]))
    assert await counts(store, bid) == {State.READ: 2}
    assert await counts(store, await child(store, bid)) == {State.QUEUED: 1}
    assert (await records(store, bid))["0.0", 1].fell_back


async def test_it_stops_and_goes_on_with_its_broadcast(store: Store) -> None:
    bid = await out(store, 3)
    await fail(store, bid, 63024)
    assert await store.run(control.pause(bid, "by request")) == "ok"
    assert await follow(store) == 1
    sms = await child(store, bid)
    assert await state(store, sms) == "paused"
    await fail(store, bid, 63024, 63024)
    assert await follow(store) == 1
    assert await take(store) == []
    assert await store.run(control.resume(bid)) == "ok"
    assert await state(store, sms) == "running"
    assert await store.run(control.pause(bid, "by request")) == "ok"
    assert (await state(store, sms), await take(store)) == ("paused", [])
    assert await store.run(control.resume(bid)) == "ok"
    assert await send_all(store) == 2
    await fail(store, bid, 0, 0, 63024)
    assert (await follow(store), await send_all(store)) == (1, 1)
    assert await counts(store, sms) == {State.ACCEPTED: 3}
    assert (await state(store, sms), await state(store, bid)) == ("completed", "completed")


async def test_canceled_before_and_after(store: Store) -> None:
    bid = await out(store, 2)
    await fail(store, bid, 63024)
    assert await follow(store) == 1
    assert await store.run(control.cancel(bid, "by request")) == "ok"
    sms = await child(store, bid)
    assert await state(store, sms) == "canceled"
    await skip_unsent({"store": store}, sms)
    assert await counts(store, sms) == {State.SKIPPED: 1}
    await fail(store, bid, 0, 63024)
    assert await follow(store) == 0
    assert await send_all(store) == 0


async def test_expired_removed_forgotten(store: Store) -> None:
    for field, value in (("expires", "1"), ("removed", "1")):
        bid = await out(store)
        await fail(store, bid, 63024)
        await store.redis.hset(store.keys.broadcast(bid), field, value)
        assert await follow(store) == 0, field
    gone = await out(store)
    await fail(store, gone, 63024)
    await store.redis.setrange(store.keys.ledger(gone, "0.0"), 1, b"\x80")
    assert await follow(store) == 0


async def test_who_opted_out_of_the_sms_sender_is_skipped(store: Store) -> None:
    bid = await out(store, 2)
    await store.run(opt_out([number(1)], "person", SENDER))
    await fail(store, bid, 63024, 63024)
    assert await follow(store) == 2
    sms = await child(store, bid)
    assert await counts(store, sms) == {State.QUEUED: 1, State.SKIPPED: 1}
    assert (await records(store, sms))["0.0", 1].code == Reason.OPTED_OUT
    await store.run(opt_out([number(0)], "person"))
    (held,) = await take(store)
    assert (await ask(store, held)).refused == "optouts"


async def test_a_lost_worker_of_the_sms_is_doubt_not_a_second_one(store: Store) -> None:
    bid = await out(store)
    await fail(store, bid, 63024)
    await follow(store)
    (held,) = await take(store)
    await ask(store, held)
    await overdue(store, "w1")
    for _ in range(2):
        await store.run(sweep(0))
    assert await counts(store, await child(store, bid)) == {State.IN_DOUBT: 1}
    assert await state(store, bid) == "running"


async def test_a_mark_that_redis_lost_makes_the_sms_a_doubt(store: Store) -> None:
    """The SMS may have gone before; who left after the loss has one of a stream beside."""
    bid = await out(store)
    await fail(store, bid, 63024)
    await lost(store)
    with pytest.raises(Exception, match="rewinding"):
        await follow(store)
    await rewind(store)
    assert await store.redis.hexists(store.keys.plain("account"), "rewind") == 0
    assert await follow(store) == 1
    sms = await child(store, bid)
    one = (await records(store, sms))["0.0", 0]
    assert (one.state, one.code, one.attempt) == (State.IN_DOUBT, Reason.REWOUND, 1)
    assert one.began == (await records(store, bid))["0.0", 0].began
    assert await state(store, bid) == "running"
    assert await take(store) == []
    absent = Verdict(SENDER, sms, "0.0", 0, 1, one.changed, absent=True, hold=False)
    assert (await store.run(settle([absent], 5))).retried == 1
    assert (await send_all(store), await send_all(store)) == (1, 0)
    assert await counts(store, sms) == {State.ACCEPTED: 1}


def test_both_sides_know_the_same_codes() -> None:
    prelude = read_script("record")
    for code in UNREACHABLE:
        assert f"[{code}] = true" in prelude[prelude.index("UNREACHABLE = {") :].partition("}")[0]
    assert prelude[prelude.index("UNREACHABLE = {") :].partition("}")[0].count("true") == len(UNREACHABLE)
