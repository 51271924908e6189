"""What keeps an SMS in place of a WhatsApp message from going twice, or to whom it may not go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from content_templates import settings, simulated
from dispatching import dispatching
from driving import ask, take
from falling_back import SENDER, WHATSAPP, child, fail, follow, out, person, state
from loading import counts, number, records
from test_rewinding import lost

from broadcaster.domain.forgotten import addresses_of
from broadcaster.domain.record import Reason, State
from broadcaster.domain.resending import Resending
from broadcaster.ledger import forgetting
from broadcaster.ledger.forgetting import forget_in_batches
from broadcaster.ledger.optouts import opt_out
from broadcaster.ledger.people import find_places
from broadcaster.ledger.replaying import carry_out, find_letters
from broadcaster.ledger.resending import Resender
from broadcaster.ledger.rewinding import rewind
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.runtime import message_sender
from broadcaster.settings import Settings
from workers.following import Failed

if TYPE_CHECKING:
    from conftest import type_of_wait

    from broadcaster.store.connection import Store


async def began_at(store: Store, bid: str, second: int) -> None:
    """Let the first message have left then."""
    await store.redis.setrange(store.keys.ledger(bid, "0.0"), 24, second.to_bytes(4, "big"))


@pytest.mark.parametrize("history", ["whole", "cut"])
async def test_a_lost_mark_and_a_retry_before_the_failure_is_followed(store: Store, history: str) -> None:
    """Its SMS went, and Redis lost that; a person retried meanwhile, so the last try left after the loss."""
    bid = await out(store)
    now, _ = await store.redis.time()
    await began_at(store, bid, now - 100)
    await fail(store, bid, 63024)
    await lost(store)
    letters = [group async for group in find_letters(store, bid, states=(State.FAILED,))]
    assert (await carry_out(store, letters, again=True)).changed == 1
    await rewind(store)
    (one,) = (await records(store, bid)).values()
    absent = Verdict(WHATSAPP, bid, "0.0", 0, one.attempt, one.changed, absent=True, hold=False)
    await store.run(settle([absent], 5))
    await store.redis.hset(store.keys.plain("rewound"), "at", now - 50)
    (held,) = await take(store)
    assert (await ask(store, held)).yes == "1"
    (one,) = (await records(store, bid)).values()
    assert one.began >= now
    await fail(store, bid, 63024, attempt=one.attempt)
    since = now - 100
    if history == "cut":
        since = now - 200
        await store.redis.hset(store.keys.broadcast(bid), "created", since)
        await store.redis.delete(store.keys.history(bid, "0.0", 0))
    assert await follow(store) == 1
    ((sms),) = (await records(store, await child(store, bid))).values()
    assert (sms.state, sms.began) == (State.IN_DOUBT, since)


async def test_what_was_tried_twice_after_a_loss_is_in_no_doubt(store: Store) -> None:
    bid = await out(store)
    now, _ = await store.redis.time()
    await store.redis.hset(store.keys.plain("rewound"), "at", now - 50)
    await fail(store, bid, 63024)
    letters = [group async for group in find_letters(store, bid, states=(State.FAILED,))]
    await carry_out(store, letters, again=True)
    (held,) = await take(store)
    await ask(store, held)
    await fail(store, bid, 63024, attempt=2)
    assert await follow(store) == 1
    assert await counts(store, await child(store, bid)) == {State.QUEUED: 1}


@pytest.mark.parametrize("scope", ["*", WHATSAPP])
async def test_who_opts_out_over_whatsapp_meanwhile_gets_no_sms(
    store: Store, scope: str, wait_until: type_of_wait
) -> None:
    """Before the SMS is queued, or before it leaves; another sender's opt-outs don't matter."""
    bid = await out(store, 3)
    await store.run(opt_out([person(0)], "reply", scope))
    await store.run(opt_out([person(1)], "reply", "whatsapp:+14155550111"))
    await fail(store, bid, 63024, 63024, 63024)
    await follow(store)
    sms = await child(store, bid)
    assert await counts(store, sms) == {State.SKIPPED: 1, State.QUEUED: 2}
    assert (await records(store, sms))["0.0", 0].code == Reason.OPTED_OUT
    await store.run(opt_out([person(2)], "reply", scope))
    async with simulated() as simulator:
        chosen = Settings(**settings(simulator))
        async with message_sender(chosen, 4) as sender, dispatching(store, sender):

            async def completed() -> bool:
                return await state(store, sms) == "completed"

            await wait_until(completed)
        assert [message.to for message in simulator.world.messages] == [number(1)]
    assert (await records(store, sms))["0.0", 2].code == Reason.OPTED_OUT


async def test_forgotten_while_the_sms_is_put_in_its_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid = await out(store)
    await fail(store, bid, 63024)
    appended: list[int] = []

    async def meanwhile(*asked: Any) -> Any:
        found = await find_places(*asked)
        if not appended:
            appended.append(await follow(store))
        return found

    monkeypatch.setattr(forgetting, "find_places", meanwhile)
    done = await forget_in_batches(store, addresses_of(number(0)))
    assert (appended, done.messages, done.skipped) == ([1], 2, 1)
    assert await counts(store, await child(store, bid)) == {State.SKIPPED: 1}
    assert not any((await find_places(store, addresses_of(number(0)))).values())


@pytest.mark.parametrize(
    "spec",
    [
        msgpack.packb({"name": 1}),
        msgpack.packb(
            {
                "name": "",
                "senders": [WHATSAPP],
                "content": {"body": "{{ a | newer }}", "sms": {"sender": SENDER, "body": None}},
            }
        ),
    ],
)
async def test_a_spec_that_cannot_be_read_holds_up_no_other(store: Store, spec: bytes) -> None:
    """It is another version's; what failed of others is seen to, and the list of failures gets empty."""
    bids = [await out(store, first=first) for first in (0, 10)]
    for bid, code in zip(bids, (63024, 63024), strict=True):
        await fail(store, bid, code)
    await fail(store, bids[0], 63024)
    await store.redis.hset(store.keys.broadcast(bids[0]), "spec", spec)
    resender = Resender(store, Resending())
    told = [Failed(bids[0], "0.0", 0, 1, State.FAILED, code, "SM", 1, WHATSAPP) for code in (63016, 30610)]
    await resender(told)
    assert await follow(store) == 1
    assert await counts(store, await child(store, bids[1])) == {State.QUEUED: 1}
    assert await store.redis.llen(store.keys.plain("failures")) == 0


@pytest.mark.parametrize(("rate", "goes"), [(None, 1), (0.001, 0)])
async def test_sms_keep_to_the_pace_of_their_broadcast(store: Store, rate: float | None, goes: int) -> None:
    bid = await out(store, rate=rate)
    await fail(store, bid, 63024)
    assert await follow(store) == 1
    assert len(await take(store)) == goes, "what went over WhatsApp has taken the next 1000 s"
