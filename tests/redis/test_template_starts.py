"""A broadcast whose template was paused, rejected or deleted since it was loaded does not start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from asgi_api import api_here
from content_templates import TO, VARIABLES, client, decide, hx, settings, simulated
from loading import counts, load
from msgspec.structs import replace

from broadcaster.domain.content import Content, Template
from broadcaster.domain.record import State
from broadcaster.lanes import control
from broadcaster.operations import broadcasts as acts
from broadcaster.operations.actor import Actor
from broadcaster.operations.errors import Conflict
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.simulator.config import SERVICE_SID
from workers import starting
from workers.starting import start_due

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.simulator.server import Simulator
    from broadcaster.store.connection import Store
    from broadcaster.twilio.content import Templates

LANE = "whatsapp:+14155550199"
OPERATOR = Actor("person:op@here", "test")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with simulated() as running:
        yield running


@pytest.fixture
async def templates(simulator: Simulator) -> AsyncIterator[Templates]:
    async with client(simulator) as twilio:
        yield twilio.templates


async def due(store: Store, lane: str = LANE, **content: Any) -> str:
    """Load a broadcast whose time has come."""
    content = content or {"content_sid": hx("good"), "content_variables": VARIABLES}
    return await load(store, {lane: 2}, schedule_in=-5, content=Content(**content))


async def state_of(store: Store, bid: str) -> tuple[str, str]:
    view = await read_broadcast(store, bid)
    assert view is not None
    return view.state, view.state_reason


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"status": "paused"}, "is paused by WhatsApp"),
    ({"status": "rejected", "rejection_reason": "TAG_CONTENT_MISMATCH"}, "(TAG_CONTENT_MISMATCH)"),
    ({"status": "approved", "category": "MARKETING"}, "of the category MARKETING, this is utility"),
    ({}, "has no template"),
]


async def test_its_hour_pauses_it(store: Store, simulator: Simulator) -> None:
    bids = [await due(store) for _ in CHANGES]
    for bid, (change, words) in zip(bids, CHANGES, strict=True):
        decide(simulator, "good", **change)
        await store.redis.zadd(store.keys.plain("scheduled"), dict.fromkeys(bids, 2e9) | {bid: 1.0})
        async with client(simulator) as twilio:
            await start_due(store, twilio.templates)
            state, reason = await state_of(store, bid)
            assert state == "paused"
            assert words in reason
            await start_due(store, twilio.templates)  # it is nobody's turn any more
        assert await state_of(store, bid) == (state, reason)
        assert await store.redis.zscore(store.keys.plain("scheduled"), bid) is None
    assert not await store.redis.exists(store.keys.plain("due"))


async def test_whoever_knows_better_resumes_it(
    store: Store, simulator: Simulator, templates: Templates
) -> None:
    bid = await due(store)
    decide(simulator, "good", status="paused")
    await start_due(store, templates)
    view = await read_broadcast(store, bid)
    assert view is not None
    assert (view.state, view.started_at) == ("paused", None)
    assert await store.run(control.resume(bid)) == "ok"
    view = await read_broadcast(store, bid)
    assert view is not None
    assert (view.state, view.state_reason) == ("running", "")
    assert view.started_at is not None
    assert await store.redis.zcard(store.keys.plain("due")) == 1
    assert await counts(store, bid) == {State.QUEUED: 2}


async def test_what_is_in_order_starts(store: Store, templates: Templates) -> None:
    """Also text messages, which need no approval."""
    fallback = Template(hx("good"), VARIABLES)
    started = [
        await due(store),
        await due(store, body="hello"),
        await due(store, body="hello", fallback=fallback),
        await due(store, "+14155550199", content_sid=hx("pending"), content_variables=VARIABLES),
    ]
    waits = await due(store, body="hello", fallback=Template(hx("paused"), VARIABLES))
    await start_due(store, templates)
    assert [(await state_of(store, bid))[0] for bid in started] == ["running"] * 4
    assert (await state_of(store, waits))[0] == "paused"


async def test_twilio_that_does_not_answer_is_asked_again_for_a_minute(
    store: Store, simulator: Simulator
) -> None:
    bids = [await due(store), await due(store)]
    simulator.world.configure(replace(simulator.world.config, denied={"/v1/Content": 20500}))
    for at_once in (True, False):
        async with client(simulator) as twilio:
            await start_due(store, twilio.templates)
        assert [await state_of(store, bid) for bid in bids] == [("scheduled", "")] * 2, at_once
    now, _ = await store.redis.time()
    await store.redis.set(store.keys.plain(f"unanswered:{bids[0]}"), int(now) - 60)
    async with client(simulator) as twilio:
        await start_due(store, twilio.templates)
        await start_due(store, twilio.templates)
    assert [await state_of(store, bid) for bid in bids] == [("running", ""), ("scheduled", "")]
    view = await read_broadcast(store, bids[0])
    assert view is not None
    (told,) = view.summary()["warnings"]
    assert told.startswith("the templates could not be checked at Twilio: ")
    simulator.world.configure(replace(simulator.world.config, denied={}))
    decide(simulator, "good", status="paused")
    async with client(simulator) as twilio:
        await start_due(store, twilio.templates)
    assert (await state_of(store, bids[1]))[0] == "paused"


async def test_who_may_not_ask_starts_at_once(store: Store) -> None:
    bid = await due(store)
    async with simulated(denied={"/v1/Content": 20003}) as broken, client(broken) as twilio:
        await start_due(store, twilio.templates)
    assert (await state_of(store, bid))[0] == "running"


async def test_those_that_wait_for_twilio_hide_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "_AT_ONCE", 2)
    waiting = [await due(store) for _ in range(3)]
    other = await due(store, body="hello")
    async with simulated(denied={"/v1/Content": 20500}) as broken, client(broken) as twilio:
        await start_due(store, twilio.templates)
    states = [(await state_of(store, bid))[0] for bid in (*waiting, other)]
    assert states == ["scheduled"] * 3 + ["running"]


async def test_whoever_dies_while_asking_leaves_it_due(
    store: Store, simulator: Simulator, templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid = await due(store)

    async def dies(_: str) -> None:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(templates, "find", dies)
        with pytest.raises(OSError, match="gone"):
            await start_due(store, templates)
    assert (await state_of(store, bid))[0] == "scheduled"
    decide(simulator, "good", status="disabled")
    await start_due(store, templates)
    assert (await state_of(store, bid))[0] == "paused"


async def test_a_draft_is_not_started(store: Store, simulator: Simulator, templates: Templates) -> None:
    content = Content(content_sid=hx("good"), content_variables=VARIABLES)
    bid = await load(store, {LANE: 2}, content=content, begin=False)
    decide(simulator, "good", status="paused")
    with pytest.raises(Conflict, match=f"broadcast {bid} can't be started: template HX.* is paused"):
        await acts.start(store, OPERATOR, bid, templates)
    assert (await state_of(store, bid))[0] == "draft"
    assert (await acts.start(store, OPERATOR, bid)).state == "running"
    assert (await acts.start(store, OPERATOR, bid, templates)).state == "running"  # it is so already


@pytest.mark.parametrize(("whatsapp_from", "state"), [(4, "running"), (2, "paused"), (0, "paused")])
async def test_a_service_is_known_by_its_list(
    store: Store, templates: Templates, whatsapp_from: int, state: str
) -> None:
    content = Content(content_sid=hx("paused"), content_variables=VARIABLES)

    def address(i: int) -> str:
        return f"{'whatsapp:' if i >= whatsapp_from else ''}+1415{i:07d}"

    bid = await load(store, {SERVICE_SID: 4}, schedule_in=-5, content=content, address=address, batch=2)
    await start_due(store, templates)
    assert (await state_of(store, bid))[0] == state


async def test_so_is_that_of_a_draft_filled_in_parts(store: Store) -> None:
    async with simulated() as simulator, api_here(store, **settings(simulator)) as (api, _):
        order = {"messaging_service_sid": SERVICE_SID, "content_sid": hx("pending"), "draft": True}
        made = await api.post("/v1/broadcasts", json=order | {"content_variables": VARIABLES})
        assert made.status_code == 202, made.text
        at = f"/v1/broadcasts/{made.json()['id']}"
        for part, to in enumerate(("+14155550100", TO)):
            key = {"Idempotency-Key": str(part)}
            added = await api.post(f"{at}/recipients", json={"recipients": [to]}, headers=key)
            assert added.status_code == 200, added.text
        refused = await api.post(f"{at}/start")
        assert refused.status_code == 409
        assert "is not approved yet" in refused.json()["detail"]
