"""Very many in doubt at once: the account's list is read by pages of a thousand, not once for each."""

# ruff: noqa: T201 - a run with -s shows what it measured

from __future__ import annotations

import asyncio
import time
from math import ceil
from typing import TYPE_CHECKING

import pytest
from driving import LANE, ask, join, result, take, tell
from loading import counts, load, number, records
from test_settle_rounds import AT_ONCE, Scene, scene

from broadcaster.domain.record import Evidence, State
from broadcaster.lanes import claims
from broadcaster.ledger.doubts import AT_MOST, read_doubts
from broadcaster.simulator.create import accept
from broadcaster.simulator.forms import parse_form

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def all_in_doubt(store: Store, count: int, *, first: int = 0) -> str:
    """Load a broadcast whose requests all ended without an answer."""
    bid = await load(store, {LANE: count}, rates={LANE: 100_000.0}, batch=500, first=first)
    while await counts(store, bid) != {State.IN_DOUBT: count}:
        for held in await take(store, horizon_seconds=5):
            assert set((await ask(store, held)).yes) == {"1"}
            ends = [result(item.row, 1, State.IN_DOUBT, code=503, spend=1) for item in held.items]
            await tell(store, held, ends)
            await store.run(claims.release("w1", [held.claim]))
    return bid


def took(it: Scene, count: int, every: int = 2) -> None:
    """Let Twilio have taken every second of them."""
    for i in range(0, count, every):
        form = parse_form(f"To=%2B{number(i)[1:]}&From=%2B{LANE[1:]}&Body=hello".encode())
        now = time.time()
        accept(
            it.world, form, account=it.world.config.account_sid, now=now, received_ms=0.0, attempt=1, fault=""
        )


@pytest.mark.parametrize(
    ("count", "broadcasts"),
    [
        (2_500, 1),
        (1_000, 20),
        pytest.param(20_000, 1, marks=[pytest.mark.slow, pytest.mark.timeout(200)]),
    ],
)
async def test_very_many_are_settled_by_a_bounded_number_of_requests(
    store: Store, count: int, broadcasts: int
) -> None:
    await join(store, lease_seconds=600)
    size = count // broadcasts
    bids = [await all_in_doubt(store, size, first=i * size) for i in range(broadcasts)]
    async with scene(store, senders={LANE: 1e6}) as it:
        took(it, count)
        began, before = time.monotonic(), it.world.requests
        gaps: list[float] = []
        watching = asyncio.create_task(_gaps(gaps))
        await it.round(AT_ONCE)
        watching.cancel()
        requests = it.world.requests - before
        print(
            f"\n{count} in doubt of {broadcasts} broadcasts: {requests} list requests,",
            f"{time.monotonic() - began:.1f} s, the event loop's longest gap {max(gaps):.2f} s",
        )
        assert requests <= ceil(count / AT_MOST) * ceil(count / 2 / 1_000), "pages of a thousand"
        ends = {(r.state, r.evidence) for bid in bids for r in (await records(store, bid)).values()}
        assert ends == {(State.ACCEPTED, Evidence.LIST), (State.RETRY, Evidence.NONE)}
        for bid in bids:
            assert await counts(store, bid) == {State.ACCEPTED: size // 2, State.RETRY: size // 2}


async def test_those_that_wait_keep_nobody_from_being_looked_at(store: Store) -> None:
    await join(store, lease_seconds=600)
    many, one = await all_in_doubt(store, 1_500), await all_in_doubt(store, 1, first=5_000)
    seen: set[tuple[str, str]] = set()
    for _ in range(200):
        found = await read_doubts(store, 900, at_most=600)
        assert len(found) <= 600
        assert len({doubt.key for doubt in found}) == len(found)
        seen |= {(doubt.broadcast, doubt.batch) for doubt in found}
        if len(seen) == 4:
            break
    assert seen == {(many, "0.0"), (many, "0.1"), (many, "0.2"), (one, "0.0")}


async def _gaps(gaps: list[float]) -> None:
    """Note how long the event loop kept others waiting: a worker sends on it."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(0)
        gaps.append(time.monotonic() - began)
        await asyncio.sleep(0.005)
