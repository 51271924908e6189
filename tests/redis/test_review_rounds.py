"""What a reviewer tried against polling, recalling and what runs them; each failed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from loading import number, records
from test_recalling import SERVICE, scene

from broadcaster.api.webhooks.opening import webhook_parts
from broadcaster.domain.record import State
from broadcaster.ledger.optouts import opt_out
from broadcaster.settings import load_settings
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.resources import Message
from broadcaster.twilio.rest import TwilioError
from workers.poll_ledgers import Awaited
from workers.poll_twilio import Asking
from workers.recalling import Recaller
from workers.redis_clock import look_at_clock

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.twilio.rest import TwilioRest


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


async def test_a_clock_that_was_moved_back_keeps_nobody_from_work(store: Store) -> None:
    """Who died holding such a key left it until an hour of the old clock; what was to be polled is, too."""
    redis, keys, hour = store.redis, store.keys, 3600
    now, _ = await redis.time()
    for name in ("settling", "polling", "following", "recalling"):
        await redis.set(keys.plain(name), "dead", ex=hour)
    await redis.zadd(keys.plain("polls"), {"b": now + hour + 30})
    await redis.hset(keys.plain("clock"), "last", str((now + hour) * 1_000_000))
    await store.run(look_at_clock())
    for name in ("settling", "polling", "following", "recalling"):
        assert not await redis.exists(keys.plain(name)), name
    assert 0 <= await redis.zscore(keys.plain("polls"), "b") - now < 60
    await store.run(look_at_clock())
    assert 0 <= await redis.zscore(keys.plain("polls"), "b") - now < 60
