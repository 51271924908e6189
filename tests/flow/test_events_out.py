"""Events all the way: from a script's change to a customer's receiver, through failures and kills."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from asking import TRUST, asking, receiver
from deployment import deployment
from deployment import stop as end_process
from driving import LANE
from loading import load, number

from broadcaster.events.courier import Courier
from broadcaster.events.endpoints import read_place
from broadcaster.events.sending import Postman
from broadcaster.events.serving import Pace
from broadcaster.ledger.optouts import opt_out
from broadcaster.operations import event_endpoints
from broadcaster.operations.actor import Actor
from broadcaster.store.ending import end
from broadcaster.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from conftest import type_of_wait

    from broadcaster.store.connection import Store

TESTER = Actor("person:test", "here")
OPEN = {"BROADCASTER_EVENTS_ALLOW_PRIVATE": "true", "BROADCASTER_EVENTS_ALLOW_HTTP": "1"}
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def says(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", *headers, "", ""]).encode()


@asynccontextmanager
async def delivering(store: Store, metrics: Metrics | None = None, **pace: Any) -> AsyncIterator[None]:
    """Deliver in this process, as a worker does; rounds follow each other faster."""
    async with Postman(trust=TRUST, allow_private=True, allow_http=True, timeout_seconds=2) as postman:
        courier = Courier(store, postman, metrics or Metrics(), Pace(**{"retry_scale": 0.001, **pace}))

        async def rounds() -> None:
            while True:
                await courier.round()
                await asyncio.sleep(0.05)

        going = asyncio.create_task(rounds())
        try:
            yield
        finally:
            await end([going])
            await courier.close()


async def happened(store: Store, count: int, first: int = 0) -> None:
    await store.run(opt_out([number(first + i) for i in range(count)], "test"))


async def test_each_accepted_message_is_told_by_a_worker(tmp_path: Path, wait_until: type_of_wait) -> None:
    count = 200
    async with deployment(tmp_path, workers=0) as made, receiver() as hook:
        kinds = ("message.accepted", "broadcast.started", "broadcast.completed")
        name, secret = await asking(made.store, *kinds, url=hook.url)
        hook.secrets.append(secret)
        bid = await load(made.store, {LANE: count}, rates={LANE: 1e5})
        made.start_worker(**OPEN)
        await made.settled(bid, 30)
        await wait_until(lambda: len(hook.got) >= count + 2, 20, "everything is told")
        assert len(set(hook.ids)) == len(hook.ids) == count + 2
        assert Counter(hook.kinds()) == dict(zip(kinds, (count, 1, 1), strict=True))
        told = {event["data"]["to"]: event["data"] for event in hook.got if "to" in event["data"]}
        assert set(told) == {number(i) for i in range(count)}
        sent = {line["to"]: line["sid"] for line in await made.simulator.lines("accepted")}
        assert {to: data["sid"] for to, data in told.items()} == sent
        (over,) = [event["data"] for event in hook.got if event["type"] == "broadcast.completed"]
        assert (over["id"], over["total"], over["counts"]) == (bid, count, {"accepted": count})

        async def nothing_left() -> bool:
            place = await read_place(made.store, name)
            return (place.waiting, place.behind, place.delivered) == (0, 0, count + 2)

        await wait_until(nothing_left, 5)
        end_process(made.workers[0])
        logs = made.logs()
        assert "webhook.delivered" in logs
        assert "query-secret" not in logs
        assert secret not in logs


@pytest.mark.slow
async def test_a_worker_killed_between_reading_and_delivering_loses_nothing(
    tmp_path: Path, wait_until: type_of_wait
) -> None:
    count = 200
    async with deployment(tmp_path, workers=0) as made, receiver() as hook:
        name, secret = await asking(made.store, "message.accepted", url=hook.url)
        hook.secrets.append(secret)
        hook.answer = lambda number: OK if number < 50 else b""  # then it takes requests and says nothing
        bid = await load(made.store, {LANE: count}, rates={LANE: 1e5})
        made.start_worker(**OPEN)
        await made.settled(bid, 30)
        await wait_until(lambda: hook.refused >= 8, 20, "requests are under way")
        assert (await read_place(made.store, name)).waiting > 0
        made.workers[0].kill()
        made.workers[0].wait()
        hook.answer = lambda _: OK
        await made.store.redis.delete(made.store.keys.endpoint(name, ":holder"))  # its lease runs out
        made.start_worker(**OPEN)
        await wait_until(lambda: len(set(hook.ids)) == count, 20, "everything is told")


async def test_one_that_ends_in_the_middle_loses_nothing(store: Store, wait_until: type_of_wait) -> None:
    async with receiver() as hook:
        name, _ = await asking(store, "opt_out.changed", url=hook.url)
        hook.answer = lambda number: OK if number < 20 else b""  # then it takes requests and says nothing
        await happened(store, 60)
        async with Postman(trust=TRUST, allow_private=True, allow_http=True) as postman:
            courier = Courier(store, postman, Metrics())
            await courier.round()
            await wait_until(lambda: hook.refused >= 8, 10, "requests are under way")
            await end(list(courier._serving.values()))  # as by kill -9: nothing more is written down
        hook.answer = lambda _: OK
        await store.redis.delete(store.keys.endpoint(name, ":holder"))
        async with delivering(store):
            await wait_until(lambda: len(set(hook.ids)) == 60, 10, "everything is told")
            await wait_until(lambda: _place_is(store, name, waiting=0, delivered=60), 5)


async def test_one_that_fails_and_recovers_gets_everything(store: Store, wait_until: type_of_wait) -> None:
    async with receiver() as hook:
        name, _ = await asking(store, "opt_out.changed", url=hook.url)
        hook.answer = lambda number: says("500 Oops") if number % 3 == 0 or number < 15 else OK
        await happened(store, 60)
        metrics = Metrics()
        async with delivering(store, metrics, retry_scale=1e-5):
            await wait_until(lambda: len(hook.got) == 60, 10, "everything is told")
            await wait_until(lambda: _place_is(store, name, waiting=0, delivered=60), 5)
        assert len(set(hook.ids)) == 60
        assert (await read_place(store, name)).failing_since == 0
        text = metrics.text().decode()
        assert 'broadcaster_webhook_deliveries_total{result="delivered"} 60.0' in text
        assert f'broadcaster_webhook_deliveries_total{{result="failed"}} {hook.refused}.0' in text


async def test_one_that_never_answers_well_has_its_deliveries_parked_and_replayed(
    store: Store, wait_until: type_of_wait
) -> None:
    async with receiver() as hook:
        name, _ = await asking(store, "opt_out.changed", url=hook.url)
        hook.answer = lambda _: says("400 No")
        await happened(store, 3)
        async with delivering(store, retry_scale=1e-6):
            await wait_until(lambda: _place_is(store, name, parked=3, waiting=0), 10)
            assert hook.refused == 24  # eight tries each
            (first, *_) = await event_endpoints.deliveries(store, name, parked=True)
            assert (first["tries"], first["last_answer"]) == (8, "HTTP 400")
            hook.answer = lambda _: OK
            assert await event_endpoints.replay(store, TESTER, name, [first["id"]]) == 1
            await wait_until(lambda: hook.ids == [first["id"]], 5)
            assert await event_endpoints.replay(store, TESTER, name) == 2
            await wait_until(lambda: len(set(hook.ids)) == 3, 5)


async def test_a_410_disables_and_what_came_meanwhile_is_not_told(
    store: Store, wait_until: type_of_wait
) -> None:
    async with receiver() as hook:
        name, _ = await asking(store, "opt_out.changed", url=hook.url)
        hook.answer = lambda _: says("410 Gone")
        async with delivering(store):
            await happened(store, 1)
            await wait_until(lambda: _place_is(store, name, parked=1), 5)
            await wait_until(lambda: _disabled(store, name), 5)
            view = await event_endpoints.show(store, name)
            assert view.summary()["state_reason"] == "it answered 410 Gone"
            hook.answer = lambda _: OK
            await happened(store, 1, first=1)
            await event_endpoints.enable(store, TESTER, name)
            await happened(store, 1, first=2)
            await wait_until(lambda: len(hook.got) == 1, 5)
        assert hook.got[0]["data"]["address"] == number(2)


async def test_one_that_is_overloaded_is_left_in_peace_as_long_as_it_says(
    store: Store, wait_until: type_of_wait
) -> None:
    async with receiver() as hook:
        name, _ = await asking(store, "opt_out.changed", url=hook.url)
        hook.answer = lambda _: says("429 Slow down", "Retry-After: 600")
        await happened(store, 50)
        async with delivering(store, at_once=4):
            await wait_until(lambda: hook.refused, 5)
            held = (await wait_until(lambda: _held(store, name), 5)) - _now()
            assert 590 < held <= 600
            for _ in range(10):
                await asyncio.sleep(0)
        assert hook.refused <= 4


async def test_one_that_hangs_holds_up_no_other(store: Store, wait_until: type_of_wait) -> None:
    async with receiver() as slow, receiver() as quick:
        slow.answer = lambda _: b""
        await asking(store, "opt_out.changed", url=slow.url)
        await asking(store, "opt_out.changed", url=quick.url)
        await happened(store, 40)
        async with delivering(store):
            await wait_until(lambda: len(quick.got) == 40 and slow.refused == 8, 5)


async def test_two_workers_deliver_each_event_once(store: Store, wait_until: type_of_wait) -> None:
    async with receiver() as hook:
        name, _ = await asking(store, "opt_out.changed", url=hook.url)
        async with delivering(store), delivering(store):
            for first in range(0, 120, 20):
                await happened(store, 20, first)
            await wait_until(lambda: len(hook.ids) >= 120, 10)
            await wait_until(lambda: _place_is(store, name, waiting=0, behind=0), 5)
        assert len(hook.ids) == len(set(hook.ids)) == 120


async def test_one_that_leaves_waits_for_what_is_under_way(store: Store, wait_until: type_of_wait) -> None:
    async with receiver() as hook, Postman(trust=TRUST, allow_private=True, allow_http=True) as postman:
        name, _ = await asking(store, "opt_out.changed", url=hook.url)
        let_go = asyncio.Event()
        hook.before = let_go.wait
        await happened(store, 30)
        courier = Courier(store, postman, Metrics())
        await courier.round()
        await wait_until(lambda: len(hook.connected) == 8, 5)
        closing = asyncio.create_task(courier.close())
        await asyncio.sleep(0)
        let_go.set()
        await closing
        assert len(hook.ids) == 8
        assert await _place_is(store, name, delivered=8, waiting=22)
        await courier.round()
        assert await _place_is(store, name, delivered=8)


async def test_a_rotated_secret_and_the_old_one_both_sign(store: Store, wait_until: type_of_wait) -> None:
    async with receiver() as hook:
        name, old = await asking(store, "opt_out.changed", url=hook.url)
        _, new = await event_endpoints.rotate(store, TESTER, name)
        hook.secrets += [old, new]
        async with delivering(store):
            await happened(store, 5)
            await wait_until(lambda: len(hook.got) == 5, 5)
        assert all(len(headers["webhook-signature"].split(" ")) == 2 for headers in hook.headers)
        async with Postman(trust=TRUST, allow_private=True, allow_http=True) as postman:
            tried = await event_endpoints.test(store, postman, name)
        assert (tried["ok"], tried["status"]) == (True, 204)
        assert hook.kinds()[-1] == "endpoint.test"


def _now() -> float:
    return time.time()


async def _held(store: Store, name: str) -> float:
    return (await read_place(store, name)).held_until


async def _place_is(store: Store, name: str, **fields: int) -> bool:
    place = await read_place(store, name)
    return all(getattr(place, field) == value for field, value in fields.items())


async def _disabled(store: Store, name: str) -> bool:
    return bool((await event_endpoints.show(store, name)).endpoint.disabled)
