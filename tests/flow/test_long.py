"""A campaign that outlives every clock of the job queue: arq's own expiry, shortened, must not end it."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from deployment import deployment
from loading import counts, load

from broadcaster.domain.record import State

if TYPE_CHECKING:
    from pathlib import Path

A = "+15550000001"
#: arq's job expiry, its in-progress mark and its clock's idea of a day, all in a second and a half.
WORKER = """
import arq.constants, arq.worker, arq.connections, runpy, sys
for module in (arq.constants, arq.worker, arq.connections):
    if hasattr(module, "expires_extra_ms"):
        module.expires_extra_ms = 1500
import workers.supervisor as supervisor
supervisor.JOB_EXPIRES_MS = 1500
supervisor.serve.__kwdefaults__["job_expires_ms"] = 1500
sys.argv = ["workers"]
runpy.run_module("workers", run_name="__main__")
"""


@pytest.mark.slow
async def test_a_campaign_longer_than_arqs_day_ends_whole(tmp_path: Path) -> None:
    """Jobs live 1.5 s here instead of a day; a campaign of ten such days is paused, killed and finished."""
    async with deployment(tmp_path, workers=0) as run:
        began = time.monotonic()
        bid = await load(run.store, {A: 150}, rates={A: 10.0})
        started: list[subprocess.Popen[bytes]] = []

        def begin() -> None:
            with (tmp_path / f"worker-{len(started)}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        [sys.executable, "-c", WORKER],
                        env=run.environment,
                        stdout=log,
                        stderr=log,
                        cwd=tmp_path,
                    )
                )
            run.workers.append(started[-1])

        begin()
        await run.until(lambda c: c.get(State.ACCEPTED, 0) >= 30, bid)
        started[0].kill()
        started[0].wait()
        assert await run.store.redis.zcard(f"{run.store.keys.prefix}arq") >= 0
        begin()
        told = await run.settled(bid, timeout=60)
        assert time.monotonic() - began > 10 * 1.4
        accepted = await run.simulator.accepted()
        assert max(accepted.values()) == 1
        assert told.get(State.ACCEPTED, 0) + told.get(State.IN_DOUBT, 0) == 150
        assert told.get(State.IN_DOUBT, 0) <= 3, "at 10/s hardly anything is in flight"


@pytest.mark.slow
async def test_a_job_that_expired_is_found_again_from_our_own_keys(tmp_path: Path) -> None:
    """Everything arq knows is deleted in the middle: what is due is started, swept, skipped all the same."""
    async with deployment(tmp_path) as run:
        bid = await load(run.store, {A: 40}, rates={A: 40.0}, begin=False)
        scheduled = time.time() + 1
        await run.store.redis.hset(run.store.keys.broadcast(bid), "state", "scheduled")
        await run.store.redis.zadd(run.store.keys.plain("scheduled"), {bid: scheduled})
        for key in [key async for key in run.store.redis.scan_iter("arq:*")]:
            await run.store.redis.delete(key)
        await run.store.redis.delete(f"{run.store.keys.prefix}arq")
        await run.until(lambda c: c.get(State.ACCEPTED) == 40, bid, timeout=15)
        assert (await run.store.redis.hget(run.store.keys.broadcast(bid), "state")) == b"completed"
        assert (await counts(run.store, bid)) == {State.ACCEPTED: 40}
