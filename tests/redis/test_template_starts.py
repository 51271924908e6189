"""A broadcast whose template was paused, rejected or deleted since it was loaded does not start."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from content_templates import VARIABLES, client, decide, hx, simulated
from loading import counts, load

from broadcaster.domain.content import Content, Template
from broadcaster.domain.record import State
from broadcaster.lanes import control
from broadcaster.operations import broadcasts as acts
from broadcaster.operations.actor import Actor
from broadcaster.operations.errors import Conflict
from broadcaster.reporting.broadcasts import read_broadcast
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


async def test_twilio_that_does_not_answer_stops_nothing(store: Store) -> None:
    bid = await due(store)
    async with simulated(denied={"/v1/Content": 20500}) as broken, client(broken) as twilio:
        await start_due(store, twilio.templates)
    assert (await state_of(store, bid))[0] == "running"


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


@pytest.mark.parametrize(("channel", "state"), [("", "running"), ("whatsapp:", "paused")])
async def test_a_service_is_known_by_its_first_batch(
    store: Store, templates: Templates, channel: str, state: str
) -> None:
    content = Content(content_sid=hx("paused"), content_variables=VARIABLES)
    lanes, addresses = {"MG" + "0" * 32: 2}, partial("{}+1415{:07d}".format, channel)
    bid = await load(store, lanes, schedule_in=-5, content=content, address=addresses)
    await start_due(store, templates)
    assert (await state_of(store, bid))[0] == state
