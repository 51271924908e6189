"""SMS in place of WhatsApp messages that failed themselves, and go again: as long as their broadcast may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from driving import SID, ask, join, result, send_all, take, tell
from falling_back import CONTENT, SENDER, WHATSAPP, child, fail, follow, person, state
from loading import counts, load

from broadcaster.domain.record import State
from broadcaster.domain.resending import Resending
from broadcaster.lanes import control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.replaying import carry_out, find_letters
from broadcaster.ledger.resending import Resender
from workers.following import Failed
from workers.jobs import skip_unsent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.store.connection import Store

    Again = Callable[[Store, str], Awaitable[int]]

QUEUE_FULL = 30001


async def sms_failed(store: Store, *, more: int = 1) -> tuple[str, str]:
    """A broadcast of which `more` are still queued, and its stream of one SMS, which has failed."""
    bid = await load(store, {WHATSAPP: 1 + more}, content=CONTENT, address=person)
    await store.run(control.set_rate(SENDER, 1000))
    await join(store)
    (held,) = await take(store, records=1)
    await ask(store, held)
    await fail(store, bid, 63024)
    assert await follow(store) == 1
    sms = await child(store, bid)
    for one in await take(store):
        if one.broadcast == sms:
            await ask(store, one)
            await tell(store, one, [result(0, 1, State.ACCEPTED, sid=SID)])
    assert await state(store, sms) == "completed"
    await store.run(write_statuses([Status(sms, "0.0", 0, 1, f"SM{SID.hex()}", "failed", QUEUE_FULL)]))
    return bid, sms


async def resend(store: Store, sms: str) -> int:
    """Let it go again by itself; returns how many wait for that."""
    resender = Resender(store, Resending(frozenset({QUEUE_FULL}), 5))
    await resender(
        [Failed(sms, "0.0", 0, 1, State.FAILED, QUEUE_FULL, f"SM{SID.hex()}", 1, SENDER)],
    )
    return resender.waiting


async def retry(store: Store, sms: str) -> int:
    """Let a person try it again; returns how many wait for that."""
    letters = [group async for group in find_letters(store, sms, states=(State.FAILED,))]
    return (await carry_out(store, letters, again=True)).changed


async def test_neither_goes_again_once_its_broadcast_is_canceled(store: Store) -> None:
    bid, sms = await sms_failed(store)
    assert await store.run(control.cancel(bid, "by hand")) == "ok"
    assert (await resend(store, sms), await retry(store, sms)) == (0, 0)
    assert await state(store, sms) == "canceled"
    await skip_unsent({"store": store}, sms)
    assert await counts(store, sms) == {State.FAILED: 1}


@pytest.mark.parametrize("again", [resend, retry])
async def test_it_waits_while_its_broadcast_is_paused(store: Store, again: Again) -> None:
    bid, sms = await sms_failed(store)
    assert await store.run(control.pause(bid, "by hand")) == "ok"
    assert await again(store, sms) == 1
    assert (await state(store, sms), await take(store)) == ("paused", [])
    assert await store.run(control.resume(bid)) == "ok"
    await store.redis.zadd(store.keys.flow(sms, SENDER, ":retry"), {"0:0": 1})
    await store.redis.zadd(store.keys.lane(SENDER, ":later"), {sms: 1})
    await store.redis.zadd(store.keys.plain("due"), {SENDER: 1})
    assert await send_all(store) == 1
    assert await counts(store, sms) == {State.ACCEPTED: 1}
    assert (await state(store, sms), await state(store, bid)) == ("completed", "running")


async def test_a_pause_leaves_an_sms_that_is_done_alone(store: Store) -> None:
    bid, sms = await sms_failed(store)
    assert await store.run(control.pause(bid, "by hand")) == "ok"
    assert await store.run(control.resume(bid)) == "ok"
    assert (await state(store, sms), await state(store, bid)) == ("completed", "running")
    active = await store.redis.smembers(store.keys.plain("active"))
    assert active == {bid.encode()}


async def test_its_broadcast_runs_while_an_sms_of_it_goes_again(store: Store) -> None:
    bid, sms = await sms_failed(store, more=0)
    assert await state(store, bid) == "completed"
    assert await resend(store, sms) == 1
    assert (await state(store, sms), await state(store, bid)) == ("running", "running")
    assert await store.run(control.cancel(bid, "by hand")) == "ok"
    await skip_unsent({"store": store}, sms)
    assert await counts(store, sms) == {State.SKIPPED: 1}


@pytest.mark.parametrize("gone", [{"state": "deleting"}, {"removed": "1"}])
async def test_nothing_goes_again_of_what_is_being_removed(store: Store, gone: dict[str, str]) -> None:
    bid, sms = await sms_failed(store, more=0)
    await store.redis.hset(store.keys.broadcast(bid), mapping=gone)
    assert (await resend(store, sms), await retry(store, sms)) == (0, 0)
    assert await state(store, sms) == "completed"
