"""What a review found: each of these once lost a worker, a record, or a refusal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from dispatching import dispatching
from loading import counts, load

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.domain.record import State
from broadcaster.lanes import control
from broadcaster.ledger.optouts import OptOuts, opt_in, opt_out
from broadcaster.store.ending import end
from broadcaster.store.errors import Unreachable
from workers import contents, supervisor
from workers.duty import Duty

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.store.connection import Store

    Wait = Callable[..., Awaitable[Any]]

LANE, OTHER = "+15550000001", "+15550000002"


class Twilio:
    """Accepts everything, once `open` is set; `before` may raise."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.forms: list[bytes] = []
        self.before: Callable[[], None] = lambda: None

    async def post(self, form: bytes) -> Outcome:
        self.forms.append(form)
        self.before()
        await self.open.wait()
        return Outcome(Kind.ACCEPTED, sid=f"SM{len(self.forms):032x}", http_status=201)


@pytest.mark.parametrize("setting", ["replicas", "readonly"])
async def test_a_redis_that_refuses_writes_is_waited_for(
    store: Store, wait_until: Wait, setting: str
) -> None:
    """Too few replicas, a primary that became a replica: POSTs in flight go on and are written afterwards."""
    twilio = Twilio()
    twilio.open.clear()
    redis = store.redis
    bid = await load(store, {LANE: 5})
    async with dispatching(store, twilio) as task:
        await wait_until(lambda: len(twilio.forms) == 5)
        if setting == "replicas":
            await redis.config_set("min-replicas-to-write", 1)
        else:
            await redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            await asyncio.sleep(0.4)  # the refusals themselves: some renewals
            twilio.open.set()
            await asyncio.sleep(0.2)
            assert not task.done(), task
        finally:
            await redis.config_set("min-replicas-to-write", 0)
            await redis.execute_command("REPLICAOF", "NO", "ONE")
        await wait_until(lambda: accepted(store, bid, 5))


async def accepted(store: Store, bid: str, count: int) -> bool:
    return await counts(store, bid) == {State.ACCEPTED: count}


async def test_jobs_go_on_after_a_worker_whose_close_was_canceled(
    store: Store, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """arq's close gathers jobs that it has canceled, and raises what they raise: CancelledError."""
    built = []

    class Broken:
        async def main(self) -> None:
            raise OSError("gone")

        async def close(self) -> None:
            task = asyncio.ensure_future(asyncio.Event().wait())
            task.cancel()
            await asyncio.gather(task)

    def build(*_: Any) -> Broken:
        built.append(1)
        return Broken()

    monkeypatch.setattr(supervisor, "_build", build)
    monkeypatch.setattr(supervisor, "REBUILD_SECONDS", 0.01)
    duty = Duty()
    duty.hear(on=True)
    jobs = asyncio.create_task(supervisor._run_jobs({"store": store}, 1000, duty))
    try:
        await wait_until(lambda: len(built) >= 3 or jobs.done())
        assert not jobs.done(), jobs
    finally:
        await end([jobs])


async def test_a_refusal_after_a_lost_yes_leaves_nothing_sending(
    store: Store, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate said yes, the answer was lost, and before it was asked again the broadcast was paused."""
    twilio = Twilio()
    bid = await load(store, {LANE: 5}, begin=False)
    real = store.run_each
    lost: list[int] = []

    async def losing(calls: Any) -> list[Any]:
        answers = await real(calls)
        if not lost and any(call.script == "intent" for call in calls):
            lost.append(1)
            assert await store.run(control.pause(bid, "test")) == "ok"
            raise Unreachable("the answer was lost")
        return answers

    monkeypatch.setattr(store, "run_each", losing)
    async with dispatching(store, twilio):
        await store.run(control.start(bid))
        await wait_until(lambda: lost)
        await wait_until(lambda: nothing_sending(store, bid), timeout=3)
        assert await store.run(control.resume(bid)) == "ok"
        await wait_until(lambda: accepted(store, bid, 5))
        assert len(twilio.forms) == 5


async def nothing_sending(store: Store, bid: str) -> bool:
    return not (await counts(store, bid)).get(State.SENDING)


async def test_a_cache_too_small_for_what_is_held_loses_no_worker(
    store: Store, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More senders at once than batches are kept unpacked."""
    monkeypatch.setattr(contents, "BATCHES_KEPT", 20)
    lanes = {f"+1555000{i:04d}": 12 for i in range(20)}
    bid = await load(store, lanes, rates={lane: 5.0 + i * 7 for i, lane in enumerate(lanes)}, batch=3)
    async with dispatching(store, Twilio()):
        await wait_until(lambda: accepted(store, bid, 240), timeout=20)


async def test_an_unreadable_batch_holds_up_only_itself(store: Store, wait_until: Wait) -> None:
    twilio = Twilio()
    bad = await load(store, {LANE: 3}, begin=False)
    good = await load(store, {OTHER: 3}, first=100, begin=False)
    await store.redis.set(store.keys.batch(bad, "0.0"), b"garbage")
    await store.run_all([control.start(bad), control.start(good)])
    async with dispatching(store, twilio):
        await wait_until(lambda: accepted(store, good, 3), timeout=5)
        await store.run(control.pause(bad, "test"))
    assert await counts(store, bad) == {State.QUEUED: 3}


async def test_whatever_a_post_raises_is_a_doubt(store: Store, wait_until: Wait) -> None:
    """A panic of the HTTP engine is no `Exception`."""

    class Panic(BaseException):
        pass

    def panic() -> None:
        if len(twilio.forms) == 1:
            raise Panic

    twilio = Twilio()
    twilio.before = panic
    bid = await load(store, {LANE: 5})

    async def ended() -> bool:
        return await counts(store, bid) == {State.ACCEPTED: 4, State.IN_DOUBT: 1}

    async with dispatching(store, twilio, concurrency=1):
        await wait_until(ended, timeout=5)


async def test_two_refreshes_at_once_never_show_half_the_opt_outs(store: Store) -> None:
    """Renewing the lease and being refused at the gate both refresh, in the same moment."""
    many = [f"+1415{i:07d}" for i in range(20_000)]
    await store.run(opt_out(many, "test"))
    known = OptOuts()
    await known.refresh(store)
    await asyncio.gather(*(store.redis.ping() for _ in range(4)))  # connections for all
    await store.run(opt_in(many[:1]))
    seen = []

    async def watch() -> None:
        while True:
            if known.epoch == "20001":
                seen.append(known.blocks(many[-1], ("*",)))
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    first, second = (asyncio.create_task(known.refresh(store)) for _ in range(2))
    await first
    await second
    await asyncio.sleep(0)
    await end([watching])
    assert seen
    assert all(seen)


async def test_a_pause_works_at_once_where_few_may_be_in_flight(store: Store, wait_until: Wait) -> None:
    """Of those with a yes no more wait than the worker's share of the account sends in a moment."""
    twilio = Twilio()
    twilio.open.clear()
    bid = await load(store, {LANE: 200})
    async with dispatching(store, twilio, concurrency=64, account_initial=1, account_most=1):
        await wait_until(lambda: twilio.forms)
        await wait_until(lambda: some_sending(store, bid))
        assert await store.run(control.pause(bid, "test")) == "ok"
        sending = (await counts(store, bid))[State.SENDING]
        twilio.open.set()
        assert sending <= 5


async def some_sending(store: Store, bid: str) -> bool:
    return (await counts(store, bid)).get(State.SENDING, 0) >= 4


async def test_opt_outs_on_the_way_cost_a_lane_no_permits(store: Store, wait_until: Wait) -> None:
    """Each 21610 changes the epoch that the gate compares; a slice is asked for again, not given up."""

    class Refusing(Twilio):
        async def post(self, form: bytes) -> Outcome:
            accepted = await super().post(form)
            opted_out = Outcome(Kind.REJECTED, code=21610, http_status=400)
            return opted_out if len(self.forms) % 10 == 0 else accepted

    bid = await load(store, {LANE: 200}, rates={LANE: 100.0})

    async def ended() -> bool:
        return await counts(store, bid) == {State.ACCEPTED: 180, State.DEAD: 20}

    async with dispatching(store, Refusing(), concurrency=64):
        begun = asyncio.get_running_loop().time()
        await wait_until(ended, timeout=20)
        assert asyncio.get_running_loop().time() - begun < 3.5, "two seconds by the lane's rate"
