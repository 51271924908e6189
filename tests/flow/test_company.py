"""Outcomes wait a moment for company, but not where something waits for the room that they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatching import Accepting, dispatching
from loading import counts, load

from broadcaster.domain.record import State
from workers import dispatcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

    from broadcaster.store.connection import Store

    Wait = Callable[..., Awaitable[Any]]

LANE = "+15550000001"
HOURS = 3600.0


async def accepted(store: Store, bid: str) -> int:
    return (await counts(store, bid)).get(State.ACCEPTED, 0)


async def test_a_full_worker_writes_at_once(
    store: Store, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for hours here would wait for 20 ms: for each handful of messages, with a worker of two."""
    monkeypatch.setattr(dispatcher, "COMPANY_SECONDS", HOURS)
    monkeypatch.setattr(dispatcher, "IDLE_SECONDS", HOURS)
    twilio = Accepting()
    bid = await load(store, {LANE: 400}, rates={LANE: 20_000.0})

    async def most() -> bool:
        return await accepted(store, bid) > 300

    async with dispatching(store, twilio, concurrency=2, renew_seconds=1.0):
        await wait_until(most, timeout=15)
    assert await accepted(store, bid) == twilio.sent  # an orderly end waits for nobody


async def test_a_worker_with_room_waits_for_company(
    store: Store, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message, and nothing else to do: no round trip is made for it alone."""
    monkeypatch.setattr(dispatcher, "COMPANY_SECONDS", HOURS)
    twilio = Accepting()
    leases: set[float] = set()
    bid = await load(store, {LANE: 1}, rates={LANE: 20_000.0})

    async def renewed() -> bool:
        leases.update(
            score
            for _, score in await store.redis.zrange(store.keys.plain("workers"), 0, -1, withscores=True)
        )
        return len(leases) > 10

    async with dispatching(store, twilio):
        await wait_until(lambda: twilio.sent == 1)
        await wait_until(renewed)
        assert await accepted(store, bid) == 0
    assert await accepted(store, bid) == 1
