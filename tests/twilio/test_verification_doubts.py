"""Starts of verifications whose answers are lost: said to be in doubt, and never made again by themselves."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from faulty import Seen, Visit, answer
from faulty import serving as misbehaving
from serving import key_for
from serving import serving as serving_api
from verifying import TO, VE

from broadcaster.domain.verifications import Start
from broadcaster.operations import verifications as acts
from broadcaster.operations.actor import Actor
from broadcaster.operations.errors import InDoubt, KeyReused, Limited, UnderWay
from broadcaster.reporting.health_verify import check_verify
from broadcaster.simulator.config import ACCOUNT_SID
from broadcaster.simulator.verify_settings import VERIFY_SID
from broadcaster.twilio.verify import Verification, Verify
from broadcaster.twilio.wire import TwilioUnreachable, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from broadcaster.store.connection import Store

GOOD = answer("201 Created", json.dumps({"sid": VE, "status": "pending", "channel": "sms"}).encode())


class Starting:
    """Starts by one key after the other against a Twilio of the test's own."""

    def __init__(self, store: Store, wire: Wire, seen: Seen) -> None:
        self.wire = wire
        self.work = acts.Verifying(store, Verify(wire), Actor("key:1 test", "here"), VERIFY_SID, None)
        self.seen = seen

    async def start(self, key: str = "", locale: str | None = None) -> Verification:
        return await acts.start(
            self.work, Start(TO, locale=locale), key=acts.Key(f"n{key}" if key else "", key)
        )


@asynccontextmanager
async def starting(
    store: Store, script: Callable[[Visit], Awaitable[None]], url: str = ""
) -> AsyncIterator[Starting]:
    async with (
        misbehaving(script) as (there, seen),
        Wire(ACCOUNT_SID, (ACCOUNT_SID, "x"), url or there) as wire,
    ):
        yield Starting(store, wire, seen)


async def test_a_lost_answer_is_a_doubt_and_nothing_is_sent_again(store: Store) -> None:
    bad = {
        "reset": b"",
        "500": answer("500 Oh", b'{"code":20500,"message":"x","status":500}'),
        "504": answer("504 Gateway", b"<html>"),
        "no JSON": answer("201 Created", b"<html>"),
        "conflict": answer("409 Conflict", b'{"code":20409,"message":"x","status":409}'),
    }
    left = list(bad.values())

    async def lose(visit: Visit) -> None:
        await visit.request()
        visit.send(told) if (told := left.pop(0)) else visit.reset()

    async with starting(store, lose) as desk:
        for key in bad:
            for _ in range(3):
                with pytest.raises(InDoubt, match="may have been sent") as lost:
                    await desk.start(key)
                assert lost.value.began_at > 1_700_000_000
            with pytest.raises(KeyReused):
                await desk.start(key, locale="de")
        assert len(desk.seen.requests) == len(bad)
        left.append(b"")
        with pytest.raises(InDoubt, match="start again"):
            await desk.start()


async def test_who_was_not_reached_or_refuses_leaves_the_key_free(store: Store) -> None:
    left = [
        answer("429 Too Many", b'{"code":60203,"message":"x","status":429}'),
        answer("429 Too Many", b"", "Retry-After: 7", "Twilio-Reached-Rate-Limit: user"),
        GOOD,
    ]

    async def refuse(visit: Visit) -> None:
        await visit.request()
        visit.send(left.pop(0))

    async with starting(store, refuse, "http://127.0.0.1:9") as desk:
        with pytest.raises(TwilioUnreachable):
            await desk.start("one")
    async with starting(store, refuse) as desk:
        limits = []
        for _ in range(2):
            with pytest.raises(Limited) as limited:
                await desk.start("one")
            limits.append((limited.value.code, limited.value.limit, limited.value.retry_after_seconds))
        assert limits == [(60203, "send_attempts", 600), (0, "user", 7)]
        assert (await desk.start("one")).sid == VE
        assert (await desk.start("one")).to == TO


async def test_two_at_once_are_one_and_a_process_that_dies_leaves_a_doubt(store: Store) -> None:
    entered, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(visit: Visit) -> None:
        await visit.request()
        entered.set()
        await goes_on.wait()
        visit.send(GOOD)

    async with starting(store, slow) as desk:
        first = asyncio.ensure_future(desk.start("one"))
        await entered.wait()
        with pytest.raises(UnderWay) as under_way:
            await desk.start("one")
        assert 50 < under_way.value.retry_after_seconds <= 65
        goes_on.set()
        assert (await first).sid == (await desk.start("one")).sid == VE

        entered.clear()
        goes_on.clear()
        second = asyncio.ensure_future(desk.start("two"))
        await entered.wait()
        second.cancel()  # as a process that dies: nothing more is written
        await asyncio.gather(second, return_exceptions=True)
        await store.redis.hset(store.keys.plain("verify:ntwo"), "until", 0)  # its time runs out
        with pytest.raises(InDoubt):
            await desk.start("two")
        goes_on.set()
        assert len(desk.seen.requests) == 2


async def test_the_doctor_looks_for_the_service(store: Store) -> None:
    body = {"sid": VERIFY_SID, "friendly_name": "Owl", "code_length": 6}
    left = [
        answer("200 OK", json.dumps(body).encode()),
        answer("404 Not Found", b'{"code":20404,"message":"x","status":404}'),
        answer("403 Forbidden", b'{"code":20006,"message":"x","status":403}'),
        answer("503 Oh", b""),
    ]

    async def tell(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        visit.send(left.pop(0))

    async with starting(store, tell) as desk:
        found = [await check_verify(desk.wire, VERIFY_SID) for _ in range(len(left))]
        assert [one.level for (one,) in found] == ["ok", "fail", "ok", "warn"]
        assert "Owl: codes of 6 digits" in found[0][0].found
        assert await check_verify(desk.wire, None) == []
    async with starting(store, tell, "http://127.0.0.1:9") as desk:
        assert [one.level for one in await check_verify(desk.wire, VERIFY_SID)] == ["warn"]


@pytest.mark.slow
async def test_an_api_process_killed_while_twilio_is_asked(store: Store) -> None:
    """The next process with the same key asks nothing of Twilio: at first it waits, then it is a doubt."""
    entered = asyncio.Event()

    async def hang(visit: Visit) -> None:
        await visit.request()
        entered.set()
        await visit.until_closed()

    request: dict[str, Any] = {"json": {"to": TO}, "headers": {"Idempotency-Key": "one"}}
    async with misbehaving(hang) as (url, seen):
        settings = {"TWILIO_API_BASE_URL": url, "TWILIO_VERIFY_SERVICE_SID": VERIFY_SID}
        key = await key_for(store)
        async with serving_api(store, key=key, **settings) as api:
            asked = asyncio.ensure_future(api.client.post("/v1/verifications", **request))
            await entered.wait()
            api.kill()
            with pytest.raises(httpx.TransportError):
                await asked
        async with serving_api(store, key=key, **settings) as api:
            for name in await store.redis.keys(store.keys.plain("once:*")):  # its turn runs out after 10 s
                await store.redis.hset(name, "until", 0)
            waits = await api.client.post("/v1/verifications", **request)
            assert waits.json()["type"] == "/problems/in-progress"
            for name in await store.redis.keys(store.keys.plain("verify:*")):  # and the start after 65
                await store.redis.hset(name, "until", 0)
            lost = await api.client.post("/v1/verifications", **request)
            assert lost.json()["type"] == "/problems/in-doubt"
        assert len(seen.requests) == 1
