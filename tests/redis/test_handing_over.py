"""A broadcast handed to Twilio's scheduler by a real dispatcher, against the simulator."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from driving import join, take
from loading import counts, load, records

from broadcaster.cli.showing import show_broadcast
from broadcaster.domain.broadcast import Scheduler
from broadcaster.domain.record import Reason, State
from broadcaster.lanes import control
from broadcaster.lanes.windows import keep
from broadcaster.ledger.outcomes import RetryPolicy
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.simulator.config import ACCOUNT_SID, SERVICE_SID, SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.store.ending import end
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.rest import TwilioRest
from broadcaster.twilio.send import MessageSender
from workers.clock import RedisClock
from workers.dispatcher import Dispatcher
from workers.jobs import start_due
from workers.lease import Limits
from workers.recalling import Recaller

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conftest import type_of_wait

    from broadcaster.simulator.server import Simulator
    from broadcaster.store.connection import Store

AUTH = (ACCOUNT_SID, "simulator")
QUARTER = 15 * 60
SLACK = 60


@dataclass
class Running:
    """A dispatcher, and the Twilio that it sends to."""

    simulator: Simulator
    dispatcher: Dispatcher

    def kept(self) -> dict[str, bool]:
        """Whom Twilio has a message for, and whether it keeps that back."""
        return {message.to: bool(message.scheduled_at) for message in self.simulator.world.messages}


@asynccontextmanager
async def running(store: Store, **config: Any) -> AsyncIterator[Running]:
    made = SimulatorConfig(**config)
    async with (
        running_simulator(made) as simulator,
        MessageSender(ACCOUNT_SID, AUTH, simulator.url) as sender,
    ):
        limits = Limits(concurrency=8, renew_seconds=0.05, drain_seconds=5.0)
        dispatcher = Dispatcher(store, sender, limits, RetryPolicy(base_seconds=0.01), Metrics())
        task = asyncio.create_task(dispatcher.run())
        try:
            yield Running(simulator, dispatcher)
            dispatcher.stop()
            await task
        finally:
            await end([task])


async def handed(store: Store, count: int, seconds: float, **more: Any) -> str:
    """A broadcast that Twilio is to keep for so long."""
    return await load(store, {SERVICE_SID: count}, schedule_in=seconds, scheduler=Scheduler.TWILIO, **more)


async def test_every_message_is_handed_over_at_once_and_a_cancel_reaches_them_there(
    store: Store, wait_until: type_of_wait, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(store) as run:
        bid = await handed(store, 60, 3600)
        await wait_until(lambda: done(store, bid, {State.ACCEPTED: 60}))
        assert set(run.kept().values()) == {True}
        view = await read_broadcast(store, bid)
        assert view is not None
        assert (view.state, view.summary()["scheduler"]) == ("completed", "twilio")
        assert await store.run(control.cancel(bid, "by hand")) == "ok"
        after = await read_broadcast(store, bid)
        for shown, told in ((view, " UTC\n"), (after, ": a worker cancels them there\n")):
            show_broadcast(shown.summary() if shown else {}, as_json=False)
            (line,) = (one for one in capsys.readouterr().out.splitlines(True) if "wait at Twilio" in one)
            assert line.startswith("60 wait at Twilio until ")
            assert line.endswith(told)
        async with TwilioRest(ACCOUNT_SID, AUTH, run.simulator.url) as rest:
            await Recaller(store, rest, Metrics()).round()
        assert all(message.canceled for message in run.simulator.world.messages)
        assert await counts(store, bid) == {State.SKIPPED: 60}
        assert {one.code for one in (await records(store, bid)).values()} == {Reason.SCHEDULED_CANCELED}


async def test_what_cannot_be_handed_over_in_time_goes_by_itself_then(
    store: Store, wait_until: type_of_wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At thirty a second, and a second or two before Twilio takes no more."""
    seconds = QUARTER + SLACK + 2
    async with running(store) as run:
        bid = await handed(store, 100, seconds, rates={SERVICE_SID: 30.0})
        key = store.keys.lane(SERVICE_SID, ":later")
        at = await wait_until(lambda: store.redis.zscore(key, bid))
        now = await counts(store, bid)
        assert set(now) == {State.ACCEPTED, State.QUEUED}
        assert 1 <= now[State.ACCEPTED] < 100
        assert set(run.kept().values()) == {True}
        assert abs(at / 1e6 - time.time() - QUARTER - SLACK) < 3, "they are looked at when it is time"
        view = await read_broadcast(store, bid)
        assert view is not None
        assert "what is left goes by itself" in view.state_reason
        assert view.windows.count(":") == 2
        # its time has come, for Redis, the worker and Twilio
        shown = time.time() + QUARTER + SLACK + 3
        run.dispatcher.clock.hear(shown - time.clock_gettime(time.CLOCK_BOOTTIME))
        monkeypatch.setattr(RedisClock, "hear", lambda *_: None)  # Redis' own shows today
        run.simulator.configure(clock_skew_seconds=QUARTER + SLACK + 3, senders={})
        await store.run(keep([(bid, "0:253402300799")]))
        await wait_until(lambda: done(store, bid, {State.ACCEPTED: 100}), timeout=15)
        kept = list(run.kept().values())
        assert (kept.count(True), kept.count(False)) == (now[State.ACCEPTED], 100 - now[State.ACCEPTED])
        assert not run.simulator.world.answers.get("400/35115")


@pytest.mark.parametrize(
    ("code", "config"), [(35115, {"clock_skew_seconds": QUARTER}), (35125, {"faults": {"35125": 1.0}})]
)
async def test_what_twilio_does_not_keep_waits_for_its_time(
    store: Store, wait_until: type_of_wait, code: int, config: dict[str, Any]
) -> None:
    """Its clock is ahead of ours, or it keeps too much for the account already."""
    async with running(store, **config) as run:
        bid = await handed(store, 3, QUARTER + 2 * SLACK)
        await wait_until(lambda: done(store, bid, {State.RETRY: 3}))
        found = await records(store, bid)
        assert {one.code for one in found.values()} == {code}
        view = await read_broadcast(store, bid)
        assert view is not None
        assert view.state == "running"
        retries = await store.redis.zrange(
            store.keys.flow(bid, SERVICE_SID, ":retry"), 0, -1, withscores=True
        )
        assert all(abs(at / 1e6 - time.time() - QUARTER - 2 * SLACK) < 2 for _, at in retries)
        assert run.simulator.world.messages == []


async def test_nothing_leaves_in_the_last_quarter_of_an_hour_and_a_late_retry_waits_too(store: Store) -> None:
    bid = await handed(store, 2, QUARTER - 5)
    await join(store)
    assert await take(store, horizon_seconds=30.0) == []
    at = await store.redis.zscore(store.keys.lane(SERVICE_SID, ":later"), bid)
    assert abs(at / 1e6 - time.time() - QUARTER + 5) < 2
    assert float(await store.redis.zscore(store.keys.plain("handed"), bid)) > time.time()


async def test_ours_is_canceled_to_the_last_second(store: Store) -> None:
    """What we keep has not left before its time, so a cancel a second before it sends nothing."""
    bid = await load(store, {SERVICE_SID: 5}, schedule_in=1.0)
    await join(store)
    await start_due({"store": store})
    assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"scheduled"
    assert await store.run(control.cancel(bid, "by hand")) == "ok"
    await store.redis.zadd(store.keys.plain("scheduled"), {bid: time.time() - 1})  # its time has come
    await start_due({"store": store})
    assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"canceled"
    assert await take(store, horizon_seconds=30.0) == []


async def done(store: Store, bid: str, wanted: dict[State, int]) -> bool:
    return await counts(store, bid) == wanted
