"""What waits at Twilio for its hour is canceled there when its people opt out, against the simulator."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from driving import ask, everything, join, result, take, tell
from loading import counts, load, number, records

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content
from broadcaster.domain.forgotten import addresses_of
from broadcaster.domain.record import Reason, State
from broadcaster.lanes import claims, control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.optouts import opt_out
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.operations.actor import Actor
from broadcaster.operations.broadcasts import delete
from broadcaster.operations.errors import Conflict
from broadcaster.operations.people import forget
from broadcaster.operations.removals import remove
from broadcaster.operations.retention import remove_old
from broadcaster.simulator.config import SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.rest import TwilioRest
from workers.recalling import Recaller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.lanes.claims import Slice
    from broadcaster.simulator.world import World
    from broadcaster.store.connection import Store

TESTER = Actor("person:tester@here", "test")
SERVICE = next(iter(SimulatorConfig().services))


class Scene:
    """A simulator that keeps messages back, and rounds that recall them."""

    def __init__(self, store: Store, world: World, http: httpx.AsyncClient, rest: TwilioRest) -> None:
        self.store = store
        self.world = world
        self.rest = rest
        self.metrics = Metrics()
        self.recaller = Recaller(store, rest, self.metrics)
        self._http = http
        self.held: list[Slice] = []

    async def handed(self, count: int, *, first: int = 0, minutes: float = 60, leave: int = 0) -> str:
        """A broadcast that Twilio has taken for later; the last `leave` are still on their way."""
        at = datetime.now(UTC) + timedelta(minutes=minutes)
        content = Content(body="hello", options={"ScheduleType": "fixed", "SendAt": at.isoformat()})
        bid = await load(self.store, {SERVICE: count}, first=first, content=content)
        await join(self.store)
        left = count
        while left:
            for held in await take(self.store, horizon_seconds=5):
                self.held.append(held)
                assert set((await ask(self.store, held, optout_epoch=await self.epoch())).yes) == {"1"}
                base = first + 50 * int(held.batch.split(".")[1])
                rows = [item.row for item in held.items if item.row < count - leave]
                sids = [await self.post(number(base + row), content.options) for row in rows]
                ends = [
                    result(row, 1, State.ACCEPTED, sid=bytes.fromhex(sid[2:]))
                    for row, sid in zip(rows, sids, strict=True)
                ]
                if ends:
                    await tell(self.store, held, ends)
                if not leave:
                    await self.store.run(claims.release("w1", [held.claim]))
                left -= len(held.items)
        return bid

    async def epoch(self) -> str:
        return (await self.store.redis.get(self.store.keys.plain("optouts:epoch")) or b"0").decode()

    async def post(self, to: str, options: dict[str, str]) -> str:
        path = f"/2010-04-01/Accounts/{self.world.config.account_sid}/Messages.json"
        form = {"To": to, "MessagingServiceSid": SERVICE, "Body": "hello", **options}
        answer = await self._http.post(path, data=form)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["sid"])

    def canceled(self) -> list[str]:
        """To whom messages were canceled at Twilio."""
        return sorted(message.to for message in self.world.messages if message.canceled)

    async def cursor(self) -> bytes | None:
        found: bytes | None = await self.store.redis.get(self.store.keys.plain("handed:cursor"))
        return found


@asynccontextmanager
async def scene(store: Store, **config: Any) -> AsyncIterator[Scene]:
    made = SimulatorConfig(**({"delivery_seconds": 0} | config))
    auth = (made.account_sid, made.token)
    async with (
        running_simulator(made) as simulator,
        httpx.AsyncClient(base_url=simulator.url, auth=auth, trust_env=False) as http,
        TwilioRest(made.account_sid, auth, simulator.url) as rest,
    ):
        yield Scene(store, simulator.world, http, rest)


async def test_who_opts_out_is_recalled_and_nobody_else(store: Store) -> None:
    await store.run(opt_out([number(99)], "before"))
    async with scene(store) as it:
        await it.recaller.round()
        assert await it.cursor() == b"1"
        bid = await it.handed(5)
        await store.run(opt_out([number(1)], "reply", SERVICE))
        await store.run(opt_out([number(2)], "reply", "12345"))  # from another sender
        await store.run(opt_out([number(3)], "reply", "*#marketing"))
        await it.recaller.round()
        assert it.canceled() == [number(1)]
        found = await records(store, bid)
        assert (found["0.0", 1].state, found["0.0", 1].code) == (State.SKIPPED, Reason.SCHEDULED_CANCELED)
        assert await counts(store, bid) == {State.ACCEPTED: 4, State.SKIPPED: 1}
        assert await it.cursor() == b"4"
        before, asked = await everything(store), it.world.requests
        await it.recaller.round()
        assert await everything(store) == before
        assert it.world.requests == asked


@pytest.mark.parametrize("stop", ["cancel", "opt-out"])
async def test_a_duplicate_that_waits_is_recalled_too(store: Store, stop: str) -> None:
    """The list did not show the first attempt's message, so it was sent again; then Twilio told of it."""
    async with scene(store) as it:
        bid = await it.handed(1, leave=1)
        raw = await store.redis.hget(store.keys.broadcast(bid), "spec")
        options = msgspec.msgpack.decode(raw, type=BroadcastSpec).content.options
        first = await it.post(number(0), options)
        held = it.held[0]
        await tell(store, held, [result(0, 1, State.IN_DOUBT, code=Reason.NO_ANSWER, spend=1)])
        await store.run(claims.release("w1", [held.claim]))
        (one,) = (await records(store, bid)).values()
        await store.run(settle([Verdict(SERVICE, bid, "0.0", 0, 1, one.changed, absent=True, hold=False)], 5))
        (held,) = await take(store)
        assert (await ask(store, held, optout_epoch=await it.epoch())).yes == "1"
        second = await it.post(number(0), options)
        await tell(store, held, [result(0, 2, State.ACCEPTED, sid=bytes.fromhex(second[2:]))])
        told = await store.run(write_statuses([Status(bid, "0.0", 0, 1, first, "scheduled")]))
        assert told.caused == 1
        if stop == "cancel":
            assert await store.run(control.cancel(bid, "by hand")) == "ok"
        else:
            await store.run(opt_out([number(0)], "reply"))
        await it.recaller.round()
        assert it.canceled() == [number(0), number(0)]
        (one,) = (await records(store, bid)).values()
        assert (one.state, one.code, one.attempt) == (State.SKIPPED, Reason.SCHEDULED_CANCELED, 2)
        before, asked = await everything(store), it.world.requests
        await it.recaller.round()
        assert (await everything(store), it.world.requests) == (before, asked)


async def test_one_that_never_looked_looks_at_everything(store: Store) -> None:
    """As one whose log of opt-outs doesn't reach back."""
    async with scene(store) as it:
        await it.handed(3)
        await store.run(opt_out([number(0)], "reply"))
        assert await it.cursor() is None
        await it.recaller.round()
        assert it.canceled() == [number(0)]
        assert await it.cursor() == b"1"


async def test_who_is_on_the_way_is_looked_at_again(store: Store) -> None:
    async with scene(store) as it:
        await it.recaller.round()
        await it.handed(2, leave=1)
        await store.run(opt_out([number(0), number(1)], "reply"))
        await it.recaller.round()
        assert (it.canceled(), await it.cursor()) == ([number(0)], b"0")


async def test_too_late_is_told_and_what_was_canceled_before_is_noted(store: Store) -> None:
    async with scene(store) as it:
        await it.recaller.round()
        bid = await it.handed(3)
        late, known, _ = sorted(it.world.messages, key=lambda message: message.to)
        late.scheduled_at = 0.0
        known.canceled = True  # by a process that died before it could say so
        await store.run(opt_out([number(0), number(1)], "reply"))
        await it.recaller.round()
        found = await records(store, bid)
        assert found["0.0", 0].state >= State.ACCEPTED
        assert found["0.0", 1].code == Reason.SCHEDULED_CANCELED
        told = it.metrics.registry.get_sample_value
        assert told("broadcaster_recalled_total", {"result": "too_late"}) == 1
        assert told("broadcaster_recalled_total", {"result": "canceled"}) == 1
        assert await it.cursor() == b"2"


async def test_where_twilio_refuses_it_is_tried_again(store: Store) -> None:
    async with scene(store) as it:
        await it.recaller.round()
        await it.handed(2)
        await store.run(opt_out([number(0)], "reply"))
        broken = Recaller(store, TwilioRest("AC" + "0" * 32, ("x", "y"), "http://127.0.0.1:9"), it.metrics)
        await broken.round()
        assert (it.canceled(), await it.cursor()) == ([], b"0")
        await it.recaller.round()
        assert (it.canceled(), await it.cursor()) == ([number(0)], b"1")


async def test_a_canceled_broadcast_is_recalled_whole(store: Store) -> None:
    async with scene(store) as it:
        bid, other = await it.handed(120), await it.handed(2, first=500)
        assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"completed"
        with pytest.raises(Conflict, match="wait at Twilio"):
            await delete(store, TESTER, bid)
        assert await store.run(control.cancel(bid, "by hand")) == "ok"
        with pytest.raises(Conflict, match="wait at Twilio"):
            await delete(store, TESTER, bid)
        await it.recaller.round()
        assert it.canceled() == [number(i) for i in range(120)]
        assert await counts(store, bid) == {State.SKIPPED: 120}
        assert await store.redis.zrange(store.keys.plain("handed"), 0, -1) == [other.encode()]
        await delete(store, TESTER, bid)


async def test_what_has_left_is_over(store: Store) -> None:
    bid = await load(
        store, {SERVICE: 0}, content=Content(body="x", options={"SendAt": "2020-01-01T00:00:00Z"})
    )
    assert await store.redis.zscore(store.keys.plain("handed"), bid) == 1577836800
    async with scene(store) as it:
        await it.recaller.round()
    assert await store.redis.zcard(store.keys.plain("handed")) == 0
    assert await store.run(control.cancel(bid, "by hand")) == "completed"


async def test_a_forgotten_person_s_waiting_messages_are_told_and_canceled_at_twilio(store: Store) -> None:
    async with scene(store) as it:
        await it.handed(3)
        only_here = await forget(store, TESTER, addresses_of(number(1)))
        assert only_here.batches.handed == 1
        assert any("wait at Twilio" in why and "--at-twilio" in why for why in only_here.again)
        there = await forget(store, TESTER, addresses_of(number(1)), twilio=it.rest)
        assert (it.canceled(), there.again) == ([number(1)], [])
        past = await it.handed(1, first=50, minutes=20)
        await store.redis.zadd(store.keys.plain("handed"), {past: 1})
        assert (await forget(store, TESTER, addresses_of(number(50)))).again == []


async def test_what_waits_at_twilio_is_known_until_its_hour(store: Store) -> None:
    """Who opts out meanwhile is found by the list of the broadcast: neither age nor an archive takes it."""
    async with scene(store) as it:
        bid = await it.handed(2, minutes=34 * 24 * 60)
        now, _ = await store.redis.time()
        assert (await remove_old(store, 30, now + 33 * 86_400)).broadcasts == 0
        with pytest.raises(Conflict, match="wait at Twilio") as refused:
            await remove(store, TESTER, bid)
        assert refused.value.state == "handed"
        await store.run(opt_out([number(1)], "reply"))
        await it.recaller.round()
        assert it.canceled() == [number(1)]
        await store.redis.zadd(store.keys.plain("handed"), {bid: now - 1})
        assert (await remove_old(store, 30, now + 65 * 86_400)).broadcasts == 1
