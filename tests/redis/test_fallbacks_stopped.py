"""SMS in place of WhatsApp messages that stop: with their broadcast, which they may stop, or alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from driving import ask, join, result, take, tell
from falling_back import CONTENT, WHATSAPP, child, fail, follow, out, person, state
from loading import counts, load, number, records

from broadcaster.domain.content import Content
from broadcaster.domain.forgotten import addresses_of
from broadcaster.domain.record import State
from broadcaster.lanes import control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.forgetting import forget_in_batches
from workers.jobs import skip_unsent

if TYPE_CHECKING:
    from broadcaster.ledger.recording import Recorded
    from broadcaster.store.connection import Store


async def sms_of(store: Store, count: int) -> tuple[str, str]:
    """A broadcast to so many of whom WhatsApp reaches none, and the stream of their SMS."""
    bid = await out(store, count)
    await fail(store, bid, *[63024] * count)
    assert await follow(store) == count
    return bid, await child(store, bid)


async def refuse(store: Store, count: int, code: int, *, content: int = 0) -> Recorded:
    """Let so many of what is due be refused."""
    (held,) = await take(store, records=count)
    assert len(held.items) == count
    await ask(store, held)
    outcomes = [result(i.row, 1, State.DEAD, code=code, content=content) for i in held.items]
    return await tell(store, held, outcomes, twice=True)


async def test_sms_that_fail_stop_their_broadcast(store: Store) -> None:
    bid, sms = await sms_of(store, 30)
    await store.run(control.set_stop_rule(0.2, after=10, window=20))
    told = await refuse(store, 12, 21211)
    assert told.paused == [(bid, "failures:100:12:21211")]
    assert (await state(store, bid), await state(store, sms)) == ("paused", "paused")
    assert await store.run(control.resume(bid)) == "ok"
    assert (await state(store, bid), await state(store, sms)) == ("running", "running")
    assert (await refuse(store, 9, 21211)).paused == [], "what failed before counts no more"


@pytest.mark.parametrize("by", ["sms", "whatsapp"])
async def test_twenty_whose_content_was_refused_go_again_but_for_the_forgotten(store: Store, by: str) -> None:
    if by == "sms":
        bid, stopped = await sms_of(store, 25)
    else:
        bid = stopped = await load(
            store, {WHATSAPP: 25}, address=person, content=Content(body="Hi"), batch=64
        )
        await store.run(control.set_rate(WHATSAPP, 1000))
        await join(store)
    told = await refuse(store, 20, 21617, content=1)
    assert told.paused == [(bid, "content:21617")]
    await forget_in_batches(store, addresses_of(number(0)))
    assert await store.run(control.resume(bid)) == "ok"
    assert await counts(store, stopped) == {State.DEAD: 1, State.RETRY: 19, State.QUEUED: 5}
    assert (await records(store, stopped))["0.0", 0].state is State.DEAD


async def test_who_gets_an_sms_instead_does_not_go_again(store: Store) -> None:
    bid = await load(store, {WHATSAPP: 25}, address=person, content=CONTENT, batch=64)
    await store.run(control.set_rate(WHATSAPP, 1000))
    await join(store)
    assert (await refuse(store, 20, 63003, content=1)).paused
    assert await follow(store) == 20
    assert await store.run(control.resume(bid)) == "ok"
    assert await counts(store, bid) == {State.DEAD: 20, State.QUEUED: 5}


async def test_paused_by_themselves_they_stay_so(store: Store) -> None:
    bid, sms = await sms_of(store, 2)
    assert await store.run(control.pause(sms, "by hand")) == "ok"
    for steer in (control.pause(bid, "by hand"), control.resume(bid)):
        assert await store.run(steer) == "ok"
    assert (await state(store, bid), await state(store, sms)) == ("running", "paused")
    assert await store.run(control.pause(bid, "by hand")) == "ok"
    assert await store.run(control.resume(sms)) == "paused", "its broadcast is"
    assert await store.run(control.resume(bid)) == "ok"
    assert await store.run(control.resume(sms)) == "ok"
    for steer in (control.pause(bid, "by hand"), control.resume(bid)):
        assert await store.run(steer) == "ok"
    assert (await state(store, sms), len(await take(store))) == ("running", 1)


async def test_paused_by_themselves_their_broadcast_is_not_completed(store: Store) -> None:
    bid = await out(store, 2)
    await fail(store, bid, 63024)
    await store.run(write_statuses([Status(bid, "0.0", 1, 1, f"SM{257:032x}", "sent")]))
    await follow(store)
    sms = await child(store, bid)
    assert await store.run(control.pause(sms, "by hand")) == "ok"
    await skip_unsent({"store": store}, sms)
    assert (await state(store, sms), await state(store, bid)) == ("paused", "completed")
    await fail(store, bid, 0, 63024)
    assert await follow(store) == 1
    assert (await state(store, bid), await state(store, sms)) == ("running", "paused")


async def test_canceled_by_themselves_no_other_follows(store: Store) -> None:
    bid = await out(store, 2)
    await fail(store, bid, 63024)
    assert await follow(store) == 1
    sms = await child(store, bid)
    assert await store.run(control.cancel(sms, "by hand")) == "ok"
    await skip_unsent({"store": store}, sms)
    await fail(store, bid, 0, 63024)
    assert await follow(store) == 0
    assert (await child(store, bid), await state(store, bid)) == (sms, "completed")
