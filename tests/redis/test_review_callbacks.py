"""What a reviewer tried against callbacks, polling, resending and retention; each failed once."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from driving import LANE, SID, join, send_all
from loading import counts, load, number, records
from test_recalling import SERVICE, scene
from test_rewinding import lost

from broadcaster.api.webhooks.opening import webhook_parts
from broadcaster.domain.broadcast import OnDoubt, Priority
from broadcaster.domain.content import Content
from broadcaster.domain.record import State
from broadcaster.domain.resending import Resending
from broadcaster.intake.single_rows import Row, stream_batch
from broadcaster.intake.streams import Item, Stream, StreamKey, remove_streams
from broadcaster.ledger import strays
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.optouts import opt_out
from broadcaster.ledger.removing import mark
from broadcaster.ledger.resending import Resender
from broadcaster.ledger.rewinding import rewind
from broadcaster.ledger.strays import Stray
from broadcaster.operations.retention import remove_old
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.settings import load_settings
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.resources import Message
from broadcaster.twilio.rest import TwilioError
from workers.poll_ledgers import Awaited
from workers.poll_twilio import Asking
from workers.recalling import Recaller

if TYPE_CHECKING:
    import pytest

    from broadcaster.store.connection import Store
    from broadcaster.twilio.rest import TwilioRest


def status(bid: str, row: int, word: str, *, attempt: int = 1, code: int = 0) -> Status:
    return Status(bid, "0.0", row, attempt, "SM" + SID.hex(), word, code)


async def codes(store: Store, bid: str) -> dict[str, int]:
    found = await store.redis.hgetall(store.keys.broadcast(bid, ":codes"))
    return {field.decode(): int(n) for field, n in found.items() if int(n)}


async def test_codes_add_up_where_a_failed_message_was_read_after_all(store: Store) -> None:
    bid = await load(store, {LANE: 2})
    await join(store)
    await send_all(store)
    await store.run(write_statuses([status(bid, 0, "undelivered", code=63024)]))
    assert await codes(store, bid) == {"8:63024": 1}
    await store.run(write_statuses([status(bid, 0, "read")]))
    assert await counts(store, bid) == {State.ACCEPTED: 1, State.READ: 1}
    assert await codes(store, bid) == {}


class Failed(NamedTuple):
    """A delivery that failed, as the resender is told of it."""

    broadcast: str
    batch: str
    row: int
    attempt: int
    code: int


async def test_old_news_of_what_goes_again_ends_no_doubt_that_a_loss_has_made(store: Store) -> None:
    bid = await load(store, {LANE: 1})
    await join(store)
    await send_all(store)
    await store.run(write_statuses([status(bid, 0, "undelivered", code=30001)]))
    await Resender(store, Resending(frozenset({30001})))([Failed(bid, "0.0", 0, 1, 30001)])
    await lost(store)
    await rewind(store)
    assert await counts(store, bid) == {State.IN_DOUBT: 1}
    # Twilio tells them again, and in any order
    for word, code in (("sent", 0), ("undelivered", 30001)):
        assert (await store.run(write_statuses([status(bid, 0, word, code=code)]))).changed == 0


async def due_at_twilio(store: Store) -> str:
    """A broadcast that Twilio has taken for in ten days."""
    at = datetime.now(UTC) + timedelta(days=10)
    content = Content(body="hello", options={"ScheduleType": "fixed", "SendAt": at.isoformat()})
    bid = await load(store, {LANE: 2}, content=content)
    await join(store)
    await send_all(store)
    return bid


async def test_people_whose_messages_wait_at_twilio_are_known_until_they_are_sent(store: Store) -> None:
    """Else who opts out before that hour could not be recalled."""
    bid = await due_at_twilio(store)
    now, _ = await store.redis.time()
    assert (await remove_old(store, 2, now + 5 * 86_400)).broadcasts == 0
    view = await read_broadcast(store, bid)
    assert view is not None
    assert (await store.run(mark(bid, view.spec))).verdict == "handed", "nor by request"
    assert (await remove_old(store, 2, now + 11 * 86_400)).broadcasts == 0
    await store.redis.zrem(store.keys.plain("handed"), bid)  # as five minutes after its hour
    assert (await remove_old(store, 2, now + 11 * 86_400)).broadcasts == 0, "two days after they were sent"
    assert (await remove_old(store, 2, now + 13 * 86_400)).broadcasts == 1


async def test_a_stream_that_waits_at_twilio_stays_until_its_messages_are_sent(store: Store) -> None:
    at = datetime.now(UTC) + timedelta(days=10)
    options = {"ScheduleType": "fixed", "SendAt": at.isoformat()}
    key = StreamKey("k", "shape", ((LANE, 1e3),), None, Priority.URGENT, OnDoubt.RESEND, None, None, 1)
    into = Stream.of(key, Content(body="{{ body }}", options=options))
    batch = stream_batch(0, ("body",), [Row(0, number(1), None, ("hello",), 1, 0)], [0], int(time.time()))
    await store.run(into.append([Item("p:0", 1, 60, [batch])]))
    await join(store)
    assert await send_all(store) == 1
    await _aged(store, into.id, 2 * 86_400)
    assert await remove_streams(store, 86_400) == 0
    await store.redis.zrem(store.keys.plain("handed"), into.id)
    assert await remove_streams(store, 86_400) == 0


async def _aged(store: Store, stream: str, seconds: int) -> None:
    """Let a stream have been over for so long."""
    redis, keys = store.redis, store.keys
    now, _ = await redis.time()
    await redis.hset(keys.broadcast(stream), "finished", now - seconds)
    await redis.zadd(keys.plain("streams"), {stream: (now - seconds) * 1_000_000})
    led = keys.ledger(stream, "0.0")
    await redis.setrange(led, 28, (now - seconds).to_bytes(4, "big"))


async def test_strays_of_people_in_many_broadcasts_are_looked_for_a_few_ledgers_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person of two hundred batches each: what is read at once must not be all of that."""
    bids = [await load(store, {LANE: 1}, begin=False) for _ in range(40)]
    read: list[int] = []
    mget = store.redis.mget

    async def counted(keys: Any) -> Any:
        read.append(sum(":led:" in key or "led:" in key for key in keys))
        return await mget(keys)

    monkeypatch.setattr(store.redis, "mget", counted)
    monkeypatch.setattr(strays, "_LEDGERS_AT_ONCE", 8, raising=False)
    oldest = Stray(number(0), "SM" + SID.hex(), "delivered", 0)
    led = store.keys.ledger(bids[0], "0.0")
    await store.redis.setrange(led, 8, SID)
    found = await strays.find(store, [oldest, oldest._replace(sid="SM" + "f" * 32)])
    assert set(found) == {oldest}
    assert (found[oldest].broadcast, found[oldest].row) == (bids[0], 0)
    assert max(read) <= 8
    assert sum(read) == 40, "each once"


class OneBroken:
    """A Twilio that can't answer for one message, and has no list."""

    def __init__(self, broken: set[str]) -> None:
        self.broken = broken
        self.asked: list[str] = []

    async def fetch(self, sid: str) -> Message:
        self.asked.append(sid)
        if sid in self.broken:
            raise TwilioError(500, 20500)
        return Message(sid=sid, status="delivered")


def awaited(count: int) -> list[Awaited]:
    return [Awaited("b", "0.0", row, 1, State.SENT, 0, f"SM{row:032x}") for row in range(count)]


async def test_one_message_that_twilio_fails_to_tell_does_not_keep_the_others_from_being_asked() -> None:
    told: list[int] = []

    async def tell(one: Awaited, _message: Message | None) -> None:
        told.append(one.row)

    some = awaited(40)
    twilio = OneBroken({some[3].sid})
    asking = Asking(cast("Any", twilio), tell, rate=1e5, at_once=2)
    await asking.one_by_one(some)
    assert sorted(told) == [row for row in range(40) if row != 3]
    assert asking.refused is None
    assert len(twilio.asked) <= 42


async def test_a_twilio_that_is_down_is_left_alone() -> None:
    async def tell(_one: Awaited, _message: Message | None) -> None:
        raise AssertionError("it tells nothing")

    some = awaited(400)
    twilio = OneBroken({one.sid for one in some})
    asking = Asking(cast("Any", twilio), tell, rate=1e5, at_once=2)
    await asking.one_by_one(some)
    assert isinstance(asking.refused, TwilioError)
    assert len(twilio.asked) < 20


class Stubborn:
    """Twilio, which refuses to cancel some messages for a reason of its own."""

    def __init__(self, rest: TwilioRest, sids: set[str]) -> None:
        self._rest = rest
        self._sids = sids

    async def cancel(self, sid: str) -> Message:
        if sid in self._sids:
            raise TwilioError(400, 20001)
        return await self._rest.cancel(sid)

    async def fetch(self, sid: str) -> Message:
        return await self._rest.fetch(sid)


async def test_what_twilio_refuses_to_cancel_keeps_nothing_else_from_being_canceled(
    store: Store,
) -> None:
    async with scene(store) as it:
        bid = await it.handed(12)
        await store.run(opt_out([number(row) for row in range(12)], "reply", SERVICE))
        found = await records(store, bid)
        stubborn = {found["0.0", row].sid or "" for row in range(5)}
        recaller = Recaller(store, Stubborn(it.rest, stubborn), it.metrics)
        await recaller.round()
        assert it.canceled() == [number(row) for row in range(5, 12)]
        assert await it.cursor() is None, "it is tried again"


async def test_a_password_in_the_public_url_is_not_told(store: Store) -> None:
    url = "https://proxy:secret@a.example/sub"
    settings = load_settings(None, twilio_auth_token="t" * 32, public_url=url)
    hint = webhook_parts(settings, store, Metrics(), ["k" * 32]).hint
    assert "secret" not in hint
    assert "a.example/sub" in hint
