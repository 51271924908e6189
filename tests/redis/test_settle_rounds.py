"""Rounds of settling against the simulator's list, both in this process."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from driving import LANE, ask, join, overdue, result, take, tell
from loading import counts, load, number, records

from broadcaster.domain.content import Content
from broadcaster.domain.evidence import Patience
from broadcaster.domain.record import Evidence, Reason, State
from broadcaster.lanes import claims
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.simulator.config import SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.rest import TwilioRest
from workers.owner import identity, note_gone, surely_gone
from workers.settling import Settler, Settling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.simulator.world import World
    from broadcaster.store.connection import Store

AT_ONCE = Patience(0.0, 0.0)
NEVER = Patience(500.0, 1000.0)


class Scene:
    """A simulator, and rounds of settling that read its list."""

    def __init__(self, store: Store, world: World, http: httpx.AsyncClient, rest: TwilioRest) -> None:
        self.store = store
        self.world = world
        self.metrics = Metrics()
        self._http = http
        self._rest = rest

    @property
    def account(self) -> tuple[str, tuple[str, str], str]:
        """What another client of Twilio's is made of."""
        sid = self.world.config.account_sid
        return sid, (sid, self.world.config.token), str(self._http.base_url)

    async def post(self, to: str, body: str = "hello", sender: str = LANE) -> str:
        """Twilio takes a message of which nobody here hears; returns its SID."""
        path = f"/2010-04-01/Accounts/{self.world.config.account_sid}/Messages.json"
        answer = await self._http.post(path, data={"To": to, "From": sender, "Body": body})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["sid"])

    def settler(self, patience: Patience, **how: Any) -> Settler:
        return Settler(self.store, self._rest, Settling(patience, **how), self.metrics)

    async def round(self, patience: Patience = AT_ONCE, **how: Any) -> None:
        """One round of a process that has looked at nothing before."""
        await self.settler(patience, **how).round()


@asynccontextmanager
async def scene(store: Store, **config: Any) -> AsyncIterator[Scene]:
    fields: dict[str, Any] = {"senders": {LANE: 1000.0}, "delivery_seconds": 0}
    made = SimulatorConfig(**(fields | config))
    auth = (made.account_sid, made.token)
    async with (
        running_simulator(made) as simulator,
        httpx.AsyncClient(base_url=simulator.url, auth=auth, trust_env=False) as http,
        TwilioRest(made.account_sid, auth, simulator.url) as rest,
    ):
        yield Scene(store, simulator.world, http, rest)


async def doubtful(
    store: Store, count: int = 1, *, worker: str = "w1", lost: bool = False, **more: Any
) -> str:
    """A broadcast whose messages are all in doubt."""
    bid = await load(store, {LANE: count}, batch=500, **more)
    await join(store, worker)
    (held,) = await take(store, worker, horizon_seconds=5)
    assert set((await ask(store, held, worker=worker)).yes) == {"1"}
    if lost:
        await overdue(store, worker)
        for _ in range(2):
            await store.run(claims.sweep(0.0))
    else:
        ends = [result(row, 1, State.IN_DOUBT, code=503, spend=1) for row in range(count)]
        await tell(store, held, ends, worker=worker)
        await store.run(claims.release(worker, [held.claim]))
    return bid


@pytest.mark.parametrize("many", [50, 10])
async def test_by_recipient_or_account_wide_the_same_is_found(store: Store, many: int) -> None:
    async with scene(store, clock_skew_seconds=100) as it:
        bid = await doubtful(store, 40)
        for i in range(0, 40, 2):
            await it.post(number(i))
        requests = it.world.requests
        await it.round(NEVER, many=many)
        assert await counts(store, bid) == {State.ACCEPTED: 20, State.IN_DOUBT: 20}
        spent = it.world.requests - requests
        assert (spent == 1) if many == 10 else (spent == 40)
        skew = it.metrics.registry.get_sample_value("broadcaster_clock_skew_seconds", {"clock": "twilio"})
        assert skew is not None
        assert abs(skew - it.world.config.clock_skew_seconds) < 10
        await it.round(many=many)
        assert await counts(store, bid) == {State.ACCEPTED: 20, State.RETRY: 20}


@pytest.mark.parametrize("many", [50, 0])
@pytest.mark.parametrize("nulls", ["first", "last"])
async def test_a_list_that_answers_500_half_way_proves_no_absence(
    store: Store, nulls: Any, many: int
) -> None:
    async with scene(store, list_fail_from_page=1, list_nulls=nulls) as it:
        bid = await doubtful(store)
        for _ in range(3):
            await it.post(number(0), body="another text")
        await it.round(page_size=2, many=many)
        assert await counts(store, bid) == {State.IN_DOUBT: 1}
        await it.round(page_size=10, many=many)
        assert await counts(store, bid) == {State.RETRY: 1}


async def test_a_list_that_answers_429_half_way_is_left_alone_for_a_while(store: Store) -> None:
    refused: dict[str, Any] = {"list_fail_status": 429, "retry_after_seconds": 30}
    async with scene(store, list_fail_from_page=1, **refused) as it:
        bid = await doubtful(store)
        for _ in range(3):
            await it.post(number(0), body="another text")
        settler = it.settler(AT_ONCE, page_size=2)
        await settler.round()
        requests = it.world.requests
        await settler.round()
        assert it.world.requests == requests, "Twilio wished us to wait"
        assert await counts(store, bid) == {State.IN_DOUBT: 1}
        view = await read_broadcast(store, bid)
        assert view is not None
        assert view.search is not None
        assert "429" in view.search.words(1)


async def test_who_was_not_looked_at_for_want_of_room_is_next(store: Store) -> None:
    async with scene(store) as it:
        bid = await doubtful(store, 7)
        settler = it.settler(AT_ONCE, looks_at_most=3)
        for left in (4, 1, 0):
            await settler.round()
            assert (await counts(store, bid)).get(State.IN_DOUBT, 0) == left


async def test_what_is_found_before_the_500_is_ours_nevertheless(store: Store) -> None:
    async with scene(store, list_fail_from_page=1) as it:
        bid = await doubtful(store)
        for _ in range(3):
            await it.post(number(0), body="another text")
        await it.post(number(0))
        await it.round(page_size=2)
        assert await counts(store, bid) == {State.ACCEPTED: 1}


async def test_an_unsent_message_at_the_end_of_the_list_is_found(store: Store) -> None:
    """Unsent ones have no date: where Twilio sorts them isn't documented."""
    async with scene(store, list_nulls="last", senders={LANE: 0.001, "+14155550109": 1000.0}) as it:
        it.world.now = lambda: time.time() - 5000
        for _ in range(4):
            await it.post(number(0), body="old", sender="+14155550109")
        it.world.now = time.time
        bid = await doubtful(store)
        sid = await it.post(number(0))
        for many in (0, 50):
            await it.round(page_size=2, many=many)
        (one,) = (await records(store, bid)).values()
        assert (one.state, one.sid, one.evidence) == (State.ACCEPTED, sid, Evidence.LIST)


async def test_a_message_that_another_record_holds_is_not_ours(store: Store) -> None:
    async with scene(store) as it:
        sid = await it.post(number(0))
        other = await load(store, {LANE: 1})
        await join(store, "w0")
        (held,) = await take(store, "w0")
        assert (await ask(store, held, worker="w0")).yes == "1"
        bid = await doubtful(store)
        # while the other one is being sent, what is listed may be its
        await it.round()
        assert await counts(store, bid) == {State.IN_DOUBT: 1}
        await tell(store, held, [result(0, 1, State.ACCEPTED, sid=bytes.fromhex(sid[2:]))])
        await it.round()
        assert await counts(store, other) == {State.ACCEPTED: 1}
        assert await counts(store, bid) == {State.RETRY: 1}


async def test_two_doubts_about_one_person_share_what_is_listed(store: Store) -> None:
    async with scene(store) as it:
        bids = [await doubtful(store, worker=f"w{i}") for i in range(2)]
        sid = await it.post(number(0))
        await it.round(NEVER)
        found = [(await records(store, bid))["0.0", 0] for bid in bids]
        assert sorted(r.state for r in found) == [State.IN_DOUBT, State.ACCEPTED]
        second = await it.post(number(0))
        await it.round(NEVER)
        assert {(await records(store, bid))["0.0", 0].sid for bid in bids} == {sid, second}


async def test_obfuscated_addresses_prove_nothing_so_it_is_held(store: Store) -> None:
    async with scene(store) as it:
        bid = await doubtful(store, content=Content(body="hello", options={"AddressRetention": "obfuscate"}))
        await it.round(NEVER)
        assert await counts(store, bid) == {State.IN_DOUBT: 1}
        await it.round()
        (one,) = (await records(store, bid)).values()
        assert (one.state, one.code) == (State.DEAD, Reason.UNKNOWN)


@pytest.mark.parametrize("obfuscated", [False, True])
async def test_past_its_time_what_nothing_proves_is_held(store: Store, obfuscated: bool) -> None:  # noqa: FBT001
    """Not sent again in any case: in doubt for as long as the list can't be read, else a dead letter."""
    options = {"AddressRetention": "obfuscate"} if obfuscated else {}
    async with scene(store, list_fail_from_page=0 if obfuscated else -1) as it:
        bid = await doubtful(store, content=Content(body="hello", options=options))
        await store.redis.hset(store.keys.broadcast(bid), "expires", "1")
        await it.round()
        (one,) = (await records(store, bid)).values()
        assert one.state is (State.DEAD if obfuscated else State.IN_DOUBT)
        assert not obfuscated or one.code == Reason.UNKNOWN


async def test_a_lost_workers_message_waits_for_its_owner_but_not_for_evidence(store: Store) -> None:
    async with scene(store) as it:
        bid = await doubtful(store, 2, lost=True)
        await it.post(number(1))
        await it.round()
        assert await counts(store, bid) == {State.ACCEPTED: 1, State.IN_DOUBT: 1}
        await note_gone(store, 900)
        await it.round()
        assert await counts(store, bid) == {State.ACCEPTED: 1, State.IN_DOUBT: 1}
        await note_gone(store, 0)
        await it.round()
        assert await counts(store, bid) == {State.ACCEPTED: 1, State.RETRY: 1}
        assert await store.redis.smembers(store.keys.plain("owners")) == set()


async def test_an_owner_whose_name_redis_has_forgotten_counts_as_gone_after_its_time(store: Store) -> None:
    async with scene(store) as it:
        bid = await doubtful(store, lost=True)
        await store.redis.delete(store.keys.worker("w1"))
        await it.round(owner_gone_seconds=900)
        assert await counts(store, bid) == {State.IN_DOUBT: 1}
        await it.round(owner_gone_seconds=0)
        assert await counts(store, bid) == {State.RETRY: 1}


async def test_only_one_process_settles_at_a_time(store: Store) -> None:
    async with scene(store) as it:
        bid = await doubtful(store)
        await store.redis.set(store.keys.plain("settling"), b"another", px=60_000)
        await it.round()
        assert await counts(store, bid) == {State.IN_DOUBT: 1}
        await store.redis.delete(store.keys.plain("settling"))
        await it.round()
        assert await counts(store, bid) == {State.RETRY: 1}
        assert not await store.redis.exists(store.keys.plain("settling"))


def test_this_process_is_not_gone_and_one_that_took_its_pid_is_not_it() -> None:
    import os  # noqa: PLC0415 - for this test alone

    me = {"pid": os.getpid(), **identity()}
    if "kernel" not in me:
        pytest.skip("no /proc here")
    assert not surely_gone(me)
    assert surely_gone(me | {"started": me["started"] - 1})
    assert not surely_gone(me | {"started": 1, "kernel": "another host"})
    assert not surely_gone({"pid": me["pid"]})
