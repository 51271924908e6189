"""Workers replaced one by one in the middle of a campaign; other versions: tests/bench/rolling_upgrade.py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from deployment import deployment
from loading import load
from rolling import ROOT, roll

from broadcaster.domain.data_format import KNOWN
from broadcaster.domain.record import State

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_replaced_by_drain_and_by_signal_nobody_is_lost_or_gets_it_twice(tmp_path: Path) -> None:
    found = await roll(tmp_path, ROOT, total=1500, rate=200.0, how=("drain", "term"))
    assert found.kept, (found.truth, found.singles_asked, found.singles_accepted)
    assert found.most_in_doubt == 0
    assert found.exits == [0, 0]


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_worker_ends_when_the_data_gets_a_format_that_it_does_not_know(tmp_path: Path) -> None:
    """As by a version to come, which raises it as raise_format.lua does."""
    async with deployment(tmp_path) as run:
        bid = await load(run.store, {"+15550000001": 5})
        await run.until(lambda c: c == {State.ACCEPTED: 5}, bid)
        keys, redis = run.store.keys, run.store.redis
        async with redis.pipeline(transaction=True) as pipe:
            pipe.set(keys.plain("format"), KNOWN + 1)
            pipe.hset(keys.plain("raised"), run.store.epoch, "newer")
            pipe.set(keys.plain("epoch"), "newer")
            await pipe.execute()
        (going,) = run.workers
        assert await asyncio.to_thread(going.wait, 30) == 2
        starting = run.start_worker()
        assert await asyncio.to_thread(starting.wait, 30) == 2
        # a job that was broken off by it says so, too
        said = f"\nbroadcaster worker: The data in this Redis has format {KNOWN + 1}; this"
        assert run.logs().count(said) == 2, run.logs()
