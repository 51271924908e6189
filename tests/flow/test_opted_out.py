"""Opt-outs on the whole path: what is queued, by purpose and by service, and what Twilio keeps back."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from deployment import deployment
from loading import counts, load, number

from broadcaster.domain.content import Content
from broadcaster.domain.purpose import Consent, Purpose
from broadcaster.domain.record import Reason, State
from broadcaster.intake.singles import Person, SingleMessages, SingleRequest
from broadcaster.lanes import control
from broadcaster.ledger.optouts import opt_out
from broadcaster.ledger.pools import keep_pool
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.settings import load_settings
from broadcaster.simulator.config import SimulatorConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from conftest import type_of_wait
    from deployment import Deployment

SERVICE, CONFIG = next(iter(SimulatorConfig().services.items()))
MEMBER = CONFIG.senders[0]
SENDER = "+14155550199"


@pytest.mark.slow
async def test_an_opt_out_ends_what_it_is_about_and_nothing_else(
    tmp_path: Path, wait_until: type_of_wait
) -> None:
    async with deployment(tmp_path) as run:
        await _of_marketing(run)
        await _of_a_service(run)
        await _of_single_messages(run)
        await _of_what_twilio_keeps_back(run, wait_until)


async def _held_back(run: Deployment, lane: str, **more: Any) -> str:
    """Load a broadcast to five people that waits for its sender."""
    await run.store.run(control.pause_lane(lane, "a test"))
    return await load(run.store, {lane: 5}, **more)


async def _of_marketing(run: Deployment) -> None:
    sale = await _held_back(run, SENDER, purpose=Purpose.MARKETING)
    alert = await _held_back(run, SENDER)
    await run.store.run(opt_out([number(1)], "a test", "*#marketing"))
    await run.store.run(control.resume_lane(SENDER))
    assert await run.settled(sale, 30) == {State.ACCEPTED: 4, State.SKIPPED: 1}
    assert await run.settled(alert, 30) == {State.ACCEPTED: 5}
    view = await read_broadcast(run.store, sale)
    assert view is not None
    assert [(c.state, c.code) for c in view.codes] == [(State.SKIPPED, Reason.OPTED_OUT)]
    taken = await run.simulator.accepted()
    assert (taken[number(1)], taken[number(2)]) == (1, 2)


async def _of_a_service(run: Deployment) -> None:
    """An opt-out from one number of the pool: nobody but Twilio chooses who sends."""
    by_service = await _held_back(run, SERVICE, first=100)
    await run.store.run(keep_pool(SERVICE, [MEMBER]))
    await run.store.run(opt_out([number(100)], "a test", MEMBER))
    await run.store.run(opt_out([number(101)], "a test", SENDER))
    await run.store.run(control.resume_lane(SERVICE))
    assert await run.settled(by_service, 30) == {State.ACCEPTED: 4, State.SKIPPED: 1}
    member = await _held_back(run, MEMBER, first=200)
    await run.store.run(opt_out([number(201)], "a test", SERVICE))
    await run.store.run(control.resume_lane(MEMBER))
    assert await run.settled(member, 30) == {State.ACCEPTED: 4, State.SKIPPED: 1}
    taken = await run.simulator.accepted()
    assert {number(i) for i in (100, 101, 200, 201)} & set(taken) == {number(101), number(200)}


@asynccontextmanager
async def _singles(run: Deployment) -> AsyncIterator[SingleMessages]:
    async def pool(_: str) -> list[str]:
        return [MEMBER]

    singles = SingleMessages(run.store, load_settings(None, twilio_phone_number=SENDER), pool)
    yield singles
    await singles.close()


async def _of_single_messages(run: Deployment) -> None:
    """One that waits in its stream already is skipped, too."""
    await run.store.run(control.pause_lane(SENDER, "a test"))
    agreed: dict[str, Any] = {"purpose": Purpose.MARKETING, "consent": Consent("form", 1_700_000_000)}
    async with _singles(run) as singles:
        people = [Person(number(300)), Person(number(301))]
        (sold, _), (told, _) = [
            await singles.post(SingleRequest("k", Content(body="hello"), people, **more))
            for more in (agreed, {})
        ]
        await run.store.run(opt_out([number(300)], "a test", f"{SENDER}#marketing"))
        await run.store.run(control.resume_lane(SENDER))
        assert await run.settled(sold.id.split(".")[0], 30) == {State.ACCEPTED: 1, State.SKIPPED: 1}
        assert await run.settled(told.id.split(".")[0], 30) == {State.ACCEPTED: 2}


async def _of_what_twilio_keeps_back(run: Deployment, wait_until: type_of_wait) -> None:
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    later = Content(body="hello", options={"ScheduleType": "fixed", "SendAt": at})
    bid = await load(run.store, {SERVICE: 3}, first=400, content=later)
    assert await run.settled(bid, 30) == {State.ACCEPTED: 3}
    async with _singles(run) as singles:
        asked = SingleRequest("k", later, [Person(number(401))], service=SERVICE)
        (single,) = await singles.post(asked)
        stream = single.id.split(".")[0]
        assert await run.settled(stream, 30) == {State.ACCEPTED: 1}
    await run.store.run(opt_out([number(401)], "reply", SERVICE))

    async def recalled() -> bool:
        return (await counts(run.store, bid)).get(State.SKIPPED) == 1

    await wait_until(recalled, timeout=30)
    assert await counts(run.store, stream) == {State.SKIPPED: 1}
    assert await run.store.run(control.cancel(bid, "by hand")) == "ok"

    async def all_recalled() -> bool:
        return await counts(run.store, bid) == {State.SKIPPED: 3}

    await wait_until(all_recalled, timeout=30)
    view = await read_broadcast(run.store, bid)
    assert view is not None
    assert (view.state, [c.code for c in view.codes]) == ("canceled", [Reason.SCHEDULED_CANCELED])
