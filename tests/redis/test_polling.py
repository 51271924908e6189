"""Rounds of asking Twilio for final states, against the simulator, both in this process."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, OTHER, ask, everything, join, result, take, tell
from loading import counts, load, number, records

from broadcaster.api.shapes import Broadcast
from broadcaster.domain.broadcast import Scheduler
from broadcaster.domain.content import Content
from broadcaster.domain.polling import PollTimes
from broadcaster.domain.record import Evidence, Reason, State
from broadcaster.lanes import claims, control
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.simulator.config import SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.rest import TwilioRest
from workers.polling import Poller, Polling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from broadcaster.simulator.world import World
    from broadcaster.store.connection import Store

#: The moments to ask lie a microsecond, two, four … after a change: everything is always due.
ALWAYS = PollTimes(1e-6)
NOBODY_WAITS: dict[str, Any] = {"senders": {LANE: 1e6}, "delivery_seconds": 0}
_WORDS = {
    "queued": State.ACCEPTED, "sending": State.ACCEPTED, "sent": State.SENT, "delivered": State.DELIVERED,
    "undelivered": State.UNDELIVERED, "failed": State.FAILED,
}  # fmt: skip


class Scene:
    """A simulator that has taken messages, and rounds that ask it."""

    def __init__(self, store: Store, world: World, http: Any, rest: TwilioRest) -> None:
        self.store = store
        self.world = world
        self.metrics = Metrics()
        self._http = http
        self.rest = rest

    async def accepted(
        self, count: int, *, batch: int = 500, first: int = 0, more: int = 0, **other: Any
    ) -> str:
        """A broadcast of whose messages Twilio has taken so many; `more` of another sender are queued."""
        lanes = {LANE: count} | ({OTHER: more} if more else {})
        bid = await load(
            self.store, lanes, rates=dict.fromkeys(lanes, 1e6), batch=batch, first=first, **other
        )
        if more:
            await self.store.run(control.pause_lane(OTHER, "a test"))
        await join(self.store)
        left = count
        while left:
            for held in await take(self.store, horizon_seconds=5):
                base = first + int(held.batch.split(".")[1]) * batch
                assert set((await ask(self.store, held)).yes) == {"1"}
                sids = [await self.post(number(base + item.row)) for item in held.items]
                ends = [
                    result(item.row, 1, State.ACCEPTED, sid=bytes.fromhex(sid[2:]))
                    for item, sid in zip(held.items, sids, strict=True)
                ]
                await tell(self.store, held, ends)
                await self.store.run(claims.release("w1", [held.claim]))
                left -= len(held.items)
        return bid

    async def post(self, to: str) -> str:
        path = f"/2010-04-01/Accounts/{self.world.config.account_sid}/Messages.json"
        answer = await self._http.post(path, data={"To": to, "From": LANE, "Body": "hello"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["sid"])

    def poller(self, times: PollTimes = ALWAYS, **how: Any) -> Poller:
        return Poller(self.store, self.rest, Polling(times, **({"rate": 1e5} | how)), self.metrics)

    async def round(self, times: PollTimes = ALWAYS, **how: Any) -> Poller:
        """One round of a process that has asked for nothing before."""
        poller = self.poller(times, **how)
        await poller.round()
        return poller

    def truth(self, to: Iterable[str]) -> dict[State, int]:
        """How many of them are in each state at Twilio now."""
        now, wanted = self.world.now(), set(to)
        return dict(Counter(_WORDS[m.status(now)] for m in self.world.messages if m.to in wanted))

    def answers(self, what: str) -> int:
        return self.world.answers[what]


@asynccontextmanager
async def scene(store: Store, **config: Any) -> AsyncIterator[Scene]:
    import httpx  # noqa: PLC0415 - for these tests alone

    made = SimulatorConfig(**(NOBODY_WAITS | config))
    auth = (made.account_sid, made.token)
    async with (
        running_simulator(made) as simulator,
        httpx.AsyncClient(base_url=simulator.url, auth=auth, trust_env=False) as http,
        TwilioRest(made.account_sid, auth, simulator.url) as rest,
    ):
        yield Scene(store, simulator.world, http, rest)


def everybody(count: int) -> list[str]:
    return [number(i) for i in range(count)]


async def test_counts_end_as_twilio_has_them_one_by_one_or_from_the_list(store: Store) -> None:
    failing = {"30003": 0.2, "30001": 0.1}
    async with scene(store, delivery_failures=failing, no_receipts=0.1) as it:
        for many, first in ((1000, 0), (10, 100)):
            bid = await it.accepted(60, batch=25, first=first)
            before = it.world.requests
            await it.round(many=many)
            assert it.world.requests - before == (1 if many == 10 else 60)
            told = await counts(store, bid)
            assert told == it.truth(number(first + i) for i in range(60))
            assert len(told) >= 3, "some of each kind"
            found = await records(store, bid)
            assert {r.evidence for r in found.values()} == {Evidence.LIST}
            codes = {r.code for r in found.values() if r.state in (State.UNDELIVERED, State.FAILED)}
            assert codes == {30003, 30001}
            assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"completed"
        gone = {name: await store.redis.zscore(store.keys.plain("polls"), name) for name in (bid,)}
        assert gone[bid] is not None, "some are only sent: they are asked for again"


@pytest.mark.parametrize(("share", "state"), [(0.1, b"running"), (0.4, b"paused")])
async def test_failures_that_are_heard_of_together_stop_a_campaign_by_their_share(
    store: Store, share: float, state: bytes
) -> None:
    """They come long after the acceptances, and after as many deliveries."""
    await store.run(control.set_stop_rule(0.2, after=20, window=50))
    async with scene(store, delivery_failures={"30003": share}) as it:
        bid = await it.accepted(150, more=1)
        for _ in range(2):  # of one that is still sending the first only notes it
            await it.round(many=10)
        found = await counts(store, bid)
        assert abs(found[State.UNDELIVERED] / 150 - share) < 0.08
        assert await store.redis.hget(store.keys.broadcast(bid), "state") == state


async def test_a_second_round_changes_nothing(store: Store) -> None:
    async with scene(store, no_receipts=1.0) as it:
        await it.accepted(5)
        await it.round()
        before = {k: v for k, v in (await everything(store)).items() if not k.endswith((":polled", "polls"))}
        await it.round()
        after = {k: v for k, v in (await everything(store)).items() if not k.endswith((":polled", "polls"))}
        assert after == before


async def test_nobody_is_asked_for_before_their_time_and_it_is_shown(store: Store) -> None:
    async with scene(store) as it:
        bid = await it.accepted(3)
        times = PollTimes(60.0)
        await it.round(times)
        assert it.answers("GET 200") == 0
        view = await read_broadcast(store, bid)
        assert view is not None
        assert view.awaiting is not None
        assert (view.awaiting.count, view.awaiting.given_up) == (3, 0)
        assert abs((view.awaiting.next_at or 0) - time.time() - 60) < 5
        assert "3 await their final state; Twilio is asked next at 20" in view.awaiting.words()
        assert view.summary()["awaiting"]["count"] == 3
        assert Broadcast.model_validate(view.summary()).awaiting is not None
        await it.round(times)
        assert it.answers("GET 200") == 0, "nor by a second process"


async def test_what_twilio_deleted_stays_as_it_is_and_is_not_asked_for_again(store: Store) -> None:
    async with scene(store) as it:
        bid = await it.accepted(2)
        it.world.messages[0].deleted = True
        for _ in range(3):
            await it.round()
        assert it.answers("GET 404") == 1
        assert await counts(store, bid) == {State.ACCEPTED: 1, State.DELIVERED: 1}
        view = await read_broadcast(store, bid)
        assert view is not None
        assert view.awaiting is not None
        assert view.awaiting.words() == "1 await their final state; 1 Twilio does not have any more"


async def test_after_its_time_it_is_given_up_and_counted(store: Store) -> None:
    async with scene(store, no_receipts=1.0) as it:
        bid = await it.accepted(2)
        times = PollTimes(1e-6, 1e-3)
        for _ in range(4):
            await it.round(times)
        assert it.answers("GET 200") <= 4, "once as accepted, and once as sent"
        view = await read_broadcast(store, bid)
        assert view is not None
        assert view.awaiting is not None
        assert (view.awaiting.count, view.awaiting.given_up) == (2, 2)
        assert await counts(store, bid) == {State.SENT: 2}


async def test_a_canceled_schedule_is_a_message_that_was_skipped(store: Store) -> None:
    async with scene(store) as it:
        bid = await it.accepted(1)
        it.world.messages[0].canceled = True
        await it.round()
        (one,) = (await records(store, bid)).values()
        assert (one.state, one.code) == (State.SKIPPED, Reason.SCHEDULED_CANCELED)


async def test_a_429_slows_it_down_and_loses_nothing(store: Store) -> None:
    refused: dict[str, Any] = {"list_fail_from_page": -1, "list_fail_status": 429, "retry_after_seconds": 0}
    async with scene(store, **refused) as it:
        bid = await it.accepted(3)
        poller = await it.round(many=1)
        assert await counts(store, bid) == {State.ACCEPTED: 3}
        assert 3 < it.answers("GET 429") < 20, "and then it is left alone"
        view = await read_broadcast(store, bid)
        assert view is not None
        assert view.awaiting is not None
        assert "Twilio did not answer: Twilio answered HTTP 429" in view.awaiting.words()
        asked = it.world.requests
        await poller.round()
        assert it.world.requests == asked, "for a minute"
        await it.round()
        assert await counts(store, bid) == {State.DELIVERED: 3}


async def test_what_the_list_does_not_show_is_asked_for_one_by_one(store: Store) -> None:
    async with scene(store) as it:
        bid = await it.accepted(4)
        it.world.configure(SimulatorConfig(**NOBODY_WAITS, list_lag_seconds=1000.0))
        await it.round(many=1)
        assert await counts(store, bid) == {State.DELIVERED: 4}


async def test_a_long_list_is_gone_through_round_by_round_from_where_the_last_ended(
    store: Store,
) -> None:
    async with scene(store) as it:
        bid = await it.accepted(70, batch=1)
        for done in (40, 70):
            await it.round(at_most=30)
            assert (await counts(store, bid))[State.DELIVERED] == done
        assert it.answers("GET 200") == 70


async def test_one_process_asks_and_streams_are_asked_for_too(store: Store) -> None:
    async with scene(store) as it:
        bid = await it.accepted(1)
        keys = store.keys
        await store.redis.zrem(keys.plain("bcs"), bid)
        await store.redis.zadd(keys.plain("streams"), {bid: 1})
        await store.redis.set(keys.plain("polling"), b"another", px=60_000)
        await it.round()
        assert await counts(store, bid) == {State.ACCEPTED: 1}
        await store.redis.delete(keys.plain("polling"))
        await it.round()
        assert await counts(store, bid) == {State.DELIVERED: 1}
        assert not await store.redis.exists(keys.plain("polling"))
        await it.round()
        assert await store.redis.zcard(keys.plain("polls")) == 0, "nothing is left to ask for"


class Dying:
    """Twilio's client in a process that dies after so many answers."""

    def __init__(self, rest: TwilioRest, answers: int) -> None:
        self._rest = rest
        self._left = answers

    async def fetch(self, sid: str) -> Any:
        self._left -= 1
        if self._left < 0:
            raise MemoryError
        return await self._rest.fetch(sid)

    def message_pages(self, **_: Any) -> Any:
        raise MemoryError


async def test_a_process_that_dies_in_between_leaves_no_more_than_asking_again(store: Store) -> None:
    async with scene(store, delivery_failures={"30003": 0.3}) as it:
        bid = await it.accepted(30, batch=10)
        for answers in (0, 7, 12):
            how = Polling(ALWAYS, rate=1e5)
            with pytest.raises(MemoryError):
                await Poller(store, Dying(it.rest, answers), how, it.metrics).round()
        await it.round()
        assert await counts(store, bid) == it.truth(everybody(30))
        assert (
            await store.redis.llen(store.keys.plain("failures")) == it.truth(everybody(30))[State.UNDELIVERED]
        )


@pytest.mark.parametrize("scheduler", Scheduler)
async def test_what_twilio_is_to_send_later_is_not_asked_for_before(
    store: Store, scheduler: Scheduler
) -> None:
    """By a parameter of its own, or handed over as a whole."""
    handed_over = scheduler is Scheduler.TWILIO
    async with scene(store) as it:
        later = datetime.fromtimestamp(time.time() + 86_400, UTC).isoformat()
        content = Content(body="hello", options={} if handed_over else {"SendAt": later})
        ours: dict[str, Any] = {"schedule_in": 86_400.0, "scheduler": scheduler} if handed_over else {}
        bid = await it.accepted(1, content=content, **ours)
        await it.round()
        assert it.answers("GET 200") == 0
        view = await read_broadcast(store, bid)
        assert view is not None
        assert view.awaiting is not None
        assert abs((view.awaiting.next_at or 0) - time.time() - 86_400) < 5
