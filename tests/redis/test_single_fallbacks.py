"""An SMS in place of a single WhatsApp message: exactly one, with its stream, and gone with that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from driving import ask, everything, join, result, send_all, take, tell
from falling_back import SENDER, SINGLE, WHATSAPP, child, children, fail, follow, no_pool, person, post, state
from loading import counts, number, records
from test_append import aged
from test_rewinding import lost

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content, SmsFallback
from broadcaster.domain.purpose import Consent, Purpose
from broadcaster.domain.record import Reason, State
from broadcaster.intake.fallbacks import Fallbacks
from broadcaster.intake.singles import Person, RefusedError, SingleMessages, SingleRequest
from broadcaster.intake.streams import remove_streams, retire
from broadcaster.lanes import claims, control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.people import find_places
from broadcaster.ledger.rewinding import rewind
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.reporting.bodies import read_body
from broadcaster.reporting.messages import read_message
from broadcaster.settings import load_settings
from broadcaster.telemetry.metrics import Metrics
from workers.following import Follower

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.store.connection import Store

DAY: Final = 86_400


@pytest.fixture(autouse=True)
def one_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test come upon the end of an hour, and so upon two streams."""
    monkeypatch.setattr("broadcaster.intake.singles.HOUR_SECONDS", 10**10)


async def out(store: Store, count: int = 1, **more: Any) -> str:
    """The same, and all have left."""
    stream = await post(store, count, **more)
    await join(store)
    assert await send_all(store) == count
    return stream


async def test_who_is_not_on_whatsapp_gets_one_sms_that_says_what_it_shall(store: Store) -> None:
    agreed = Consent("form", 1_700_000_000)
    bid = await out(store, 3, purpose=Purpose.MARKETING, consent=agreed, expires_in_seconds=3600)
    await fail(store, bid, 63024, 63016, 63003)
    key = store.keys.plain("failures")
    redis: Any = store.redis
    told = await redis.lrange(key, 0, -1)
    assert await follow(store) == 2
    sms = await child(store, bid)
    before = await everything(store)
    await redis.rpush(key, *told)
    assert await follow(store) == 0, "told twice"
    assert await everything(store) == before
    assert (await state(store, bid), await counts(store, sms)) == ("running", {State.QUEUED: 2})
    assert await send_all(store) == 2
    assert (await state(store, bid), await state(store, sms)) == ("completed", "completed")
    parent, found = await read_message(store, f"{bid}.0.0.2"), await read_message(store, f"{sms}.0.0.1")
    assert parent
    assert found
    assert (parent[0].fallback_id, parent[0].summary()["fallback"]) == (found[0].id, "sms")
    assert (found[0].to, found[0].sender, found[0].fallback_of) == (number(2), SENDER, parent[0].id)
    assert (found[0].reference, found[0].consent) == ("r2", parent[0].consent)
    assert (await read_body(store, found[0]))[1] == "N2, by SMS"
    specs = [
        msgspec.msgpack.decode(await redis.hget(store.keys.broadcast(one), "spec"), type=BroadcastSpec)
        for one in (bid, sms)
    ]
    assert len({(spec.purpose, spec.expires_at, spec.priority, spec.on_doubt) for spec in specs}) == 1


async def test_its_own_text_goes_where_the_sms_has_none(store: Store) -> None:
    bid = await out(store, content=Content(body="Hi {{ name }}", sms=SmsFallback(SENDER, None)))
    await fail(store, bid, 63024)
    assert await follow(store) == 1
    found = await read_message(store, f"{await child(store, bid)}.0.0.0")
    assert found
    assert (await read_body(store, found[0]))[1] == "Hi N0"


async def test_without_an_sms_or_after_its_time_nothing_follows(store: Store) -> None:
    for content, field in ((Content(body="Hi"), {}), (SINGLE, {"expires": "1"})):
        bid = await out(store, content=content)
        if field:
            await store.redis.hset(store.keys.broadcast(bid), mapping=field)
        await fail(store, bid, 63024)
        assert (await follow(store), await children(store, bid)) == (0, [])


async def test_a_canceled_message_has_none(store: Store) -> None:
    """Also where an attempt before turns out to have left, and to have failed."""
    bid = await post(store, 2)
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await tell(store, held, [result(i, 1, State.RETRY, code=30001, spend=1) for i in range(2)])
    await store.run(claims.release("w1", [held.claim]))
    assert (await store.run(control.cancel_message(bid, WHATSAPP, "0.0", 1))).changed
    for word in ("sent", "failed"):
        said = [Status(bid, "0.0", i, 1, f"SM{i + 1:032x}", word, 63024) for i in range(2)]
        await store.run(write_statuses(said))
    assert await counts(store, bid) == {State.FAILED: 2}
    assert await follow(store) == 1
    assert [one.fell_back for one in (await records(store, bid)).values()] == [True, False]
    # the SMS itself can be canceled as any message
    sms = await child(store, bid)
    assert (await store.run(control.cancel_message(sms, SENDER, "0.0", 0))).changed
    assert (await send_all(store), await state(store, bid)) == (0, "completed")


async def test_a_mark_that_redis_lost_makes_the_sms_a_doubt(store: Store) -> None:
    bid = await out(store)
    await fail(store, bid, 63024)
    await lost(store)
    await rewind(store)
    assert await follow(store) == 1
    sms = await child(store, bid)
    one = (await records(store, sms))["0.0", 0]
    assert (one.state, one.code) == (State.IN_DOUBT, Reason.REWOUND)
    absent = Verdict(SENDER, sms, "0.0", 0, 1, one.changed, absent=True, hold=False)
    assert (await store.run(settle([absent], 5))).retried == 1
    assert (await send_all(store), await send_all(store)) == (1, 0)
    assert await state(store, bid) == "completed"
    assert await post(store) != bid, "a stream from before takes no more"


async def test_later_messages_of_the_stream_are_sent_beside_it(store: Store) -> None:
    bid = await out(store)
    await fail(store, bid, 63024)
    assert await follow(store) == 1
    assert await post(store) == bid
    assert await send_all(store) == 2
    await store.run(write_statuses([Status(bid, "0.1", 0, 1, f"SM{99:032x}", "failed", 63024)]))
    assert (await follow(store), await send_all(store)) == (1, 1)
    assert await counts(store, await child(store, bid)) == {State.ACCEPTED: 2}
    assert await state(store, bid) == "completed"


async def test_both_are_removed_a_day_after_the_last_change_of_either(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid = await out(store)
    await fail(store, bid, 63024)
    assert await follow(store) == 1
    sms = await child(store, bid)
    for one in (bid, sms):
        await aged(store, one, 2 * DAY)
    assert await remove_streams(store, DAY) == 0, "the SMS waits"
    assert await send_all(store) == 1
    await aged(store, bid, 2 * DAY)
    assert await remove_streams(store, DAY) == 0, "the SMS changed a moment ago"
    assert await store.run(retire(sms, 0)) == "parent"
    await aged(store, sms, 2 * DAY)
    unlink = store.redis.unlink
    steps = removed = 0
    while not removed and steps < 9:  # whichever step it dies at
        left = iter(range(steps))

        async def counted(*arguments: Any, left: Iterator[int] = left) -> Any:
            if next(left, None) is None:
                raise ConnectionError
            return await unlink(*arguments)

        monkeypatch.setattr(store.redis, "unlink", counted)
        try:
            removed = await remove_streams(store, DAY)
        except ConnectionError:
            steps += 1
            assert await state(store, bid) == "removing"
    assert (steps, removed) == (3, 1)
    passing = tuple(map(store.keys.plain, ("append:", "stream:")))
    gone = {key: held for key, held in (await everything(store)).items() if not key.startswith(passing)}
    assert not [name for name in (bid, sms) if name in repr(gone)]
    assert not (await find_places(store, [number(0)]))[number(0)]


async def test_what_a_canceled_stream_still_has_under_way_keeps_it(store: Store) -> None:
    bid = await out(store)
    await fail(store, bid, 63024)
    await follow(store)
    (held,) = await take(store)
    await ask(store, held)
    await store.run(control.cancel(bid, "by hand"))
    assert await store.run(retire(bid, 0)) == "open"
    await tell(store, held, [result(0, 1, State.ACCEPTED, sid=bytes(range(16)))])
    assert await store.run(retire(bid, 0)) == "ok"


async def test_a_trial_account_skips_it_and_each_is_counted(store: Store) -> None:
    async def verified() -> frozenset[str]:
        return frozenset((number(1),))

    metrics = Metrics()
    bid = await out(store, 2)
    await fail(store, bid, 63024, 63024)
    fallbacks = Fallbacks(store, load_settings(None), no_pool, verified=verified, metrics=metrics)
    await Follower(store, metrics, fallbacks).round()
    found = await records(store, await child(store, bid))
    assert [(one.state, one.code) for one in found.values()] == [
        (State.SKIPPED, Reason.UNVERIFIED),
        (State.QUEUED, Reason.NONE),
    ]
    told = metrics.text().decode()
    for result_ in ("queued", "skipped"):
        assert f'broadcaster_fallbacks_total{{result="{result_}"}} 1.0' in told


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        (Content(content_sid="HX" + "0" * 32, sms=SmsFallback(SENDER, None)), "/sms_fallback/body"),
        (Content(body="Hi", sms=SmsFallback(SENDER, "x" * 1601)), "/sms_fallback/body"),
        (Content(body="Hi", sms=SmsFallback(WHATSAPP, "Hi")), "/sms_fallback/from"),
    ],
    ids=["none", "long", "whatsapp"],
)
async def test_an_sms_that_could_not_go_is_refused_at_once(
    store: Store, content: Content, pointer: str
) -> None:
    singles = SingleMessages(store, load_settings(None), no_pool)
    with pytest.raises(RefusedError) as refused:
        await singles.post(SingleRequest("k", content, [Person(person(0))], (WHATSAPP,)))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]
    await singles.close()
