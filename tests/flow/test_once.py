"""The promise: every recipient once, whatever Twilio answers and whoever dies.

The truth is what the simulator took.
"""

# ruff: noqa: T201 - a run with -s shows what it measured

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import TYPE_CHECKING, Any

import pytest
from deployment import deployment, stop
from loading import counts, load, number
from truth import check_truth

from broadcaster.domain.record import State

if TYPE_CHECKING:
    from pathlib import Path

FAULTS = {"throttle": 0.01, "unavailable": 0.01, "invalid_number": 0.01}
SENDERS = {"+15550000001": 1.0, "+15550000002": 0.6, "+15550000003": 0.4}


def lanes(total: int) -> dict[str, int]:
    """Share a total over the senders."""
    whole = sum(SENDERS.values())
    shared = {lane: int(total * part / whole) for lane, part in SENDERS.items()}
    shared["+15550000001"] += total - sum(shared.values())
    return shared


@pytest.mark.parametrize(
    "total", [1_500, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(400)])]
)
async def test_faults_change_nothing_about_once(tmp_path: Path, total: int) -> None:
    """429, refused connections, 503 before accepting and invalid numbers, one per cent of each."""
    refusals: dict[str, Any] = {"refuse_every_seconds": 0.7, "refuse_for_seconds": 0.015}
    async with deployment(tmp_path, faults=FAULTS, **refusals) as run:
        bid = await load(run.store, lanes(total), rates=dict.fromkeys(SENDERS, 20_000.0), batch=500)
        await run.settled(bid, timeout=300)
        told = await check_truth(run, bid, total)
        decisions = await run.simulator.lines("decisions")
        unavailable = {d["to"] for d in decisions if d["fault"] == "unavailable"}
        invalid = {d["to"] for d in decisions if d["fault"] == "invalid_number"}
        taken = await run.simulator.accepted()
        assert not unavailable & set(taken), "answered 503 before accepting: there zero times"
        assert told.get(State.DEAD, 0) == len(invalid)
        everybody = {number(i) for i in range(total)}
        assert everybody - set(taken) - invalid - unavailable == set()
        assert told.get(State.IN_DOUBT, 0) == len(unavailable)
        print(
            f"\n{total} recipients: { ({s.label: n for s, n in told.items()}) }",
            f"simulator {await run.simulator.counts()}",
        )


@pytest.mark.parametrize(
    ("total", "kills"),
    [(2_000, 2), pytest.param(100_000, 10, marks=[pytest.mark.slow, pytest.mark.timeout(600)])],
)
async def test_a_killed_worker_loses_and_repeats_nothing(tmp_path: Path, total: int, kills: int) -> None:
    """`kill -9` at random moments, restarted each time: in doubt at most those in flight + one group."""
    chance = random.Random(int(os.environ.get("SEED", "7")))
    moments = sorted(chance.uniform(0.05, 0.9) for _ in range(kills))
    async with deployment(tmp_path, latency_ms=5) as run:
        bid = await load(run.store, lanes(total), rates=dict.fromkeys(SENDERS, 20_000.0), batch=500)
        doubts: list[int] = []
        deaths = 0
        for moment in moments:
            await run.until(lambda c, m=moment: c.get(State.ACCEPTED, 0) >= total * m, bid, timeout=120)  # type: ignore[misc]
            stop(run.workers[-1], signal.SIGKILL)
            deaths += 1
            found = await counts(run.store, bid)
            doubts.append(found.get(State.SENDING, 0) + found.get(State.IN_DOUBT, 0) - sum(doubts))
            run.start_worker()
        told = await run.settled(bid, timeout=300)
        await check_truth(run, bid, total)
        assert deaths == kills
        assert max(doubts) <= 64 + 128, "in flight, with a yes, and ended since the last round trip"
        assert told.get(State.IN_DOUBT, 0) <= sum(doubts)
        assert told.get(State.ACCEPTED, 0) + told.get(State.IN_DOUBT, 0) == total
        print(
            f"\n{total} recipients, {kills} kills: { ({s.label: n for s, n in told.items()}) };",
            f"sending at each kill: {doubts}",
        )


@pytest.mark.parametrize("seconds", [4, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(200)])])
async def test_a_redis_outage_cancels_no_post(tmp_path: Path, seconds: int) -> None:
    """With 64 requests in flight Redis dies; each ends at Twilio and is written once Redis is back."""
    async with deployment(tmp_path, latency_ms=2_000) as run:
        bid = await load(run.store, {"+15550000001": 400}, rates={"+15550000001": 20_000.0})
        while (await run.simulator.counts())["in_flight"] < 64:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.01)
        run.redis.kill()
        await asyncio.sleep(seconds)  # the outage itself
        during = await run.simulator.counts()
        run.redis.restart()
        await run.simulator.configure(latency_ms=1)
        told = await run.settled(bid, timeout=60)
        await check_truth(run, bid, 400)
        assert told == {State.ACCEPTED: 400}
        assert during["accepted"] >= 64, "what was in flight went on to its end"
        assert "redis.unreachable" in run.logs()
        assert run.workers[0].poll() is None, "the worker waits, it does not die"
        print(f"\noutage of {seconds} s: accepted during it {during['accepted']}, after: {told}")


async def test_sigterm_finishes_what_is_in_flight_and_gives_back_the_rest(tmp_path: Path) -> None:
    """No doubt and no loss from an orderly stop; another worker goes on at once."""
    async with deployment(tmp_path, latency_ms=300) as run:
        bid = await load(run.store, {"+15550000001": 1_000}, rates={"+15550000001": 20_000.0})
        while (await run.simulator.counts())["in_flight"] < 64:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.01)
        assert await asyncio.to_thread(stop, run.workers[0]) == 0
        told = await counts(run.store, bid)
        assert set(told) == {State.QUEUED, State.ACCEPTED}
        await run.simulator.configure(latency_ms=1)
        run.start_worker()
        assert await run.settled(bid, timeout=60) == {State.ACCEPTED: 1_000}
        await check_truth(run, bid, 1_000)


async def test_a_worker_that_starts_while_redis_is_away_waits_for_it(tmp_path: Path, wait_until: Any) -> None:
    """It says so, and sends once Redis is there."""
    async with deployment(tmp_path, workers=0) as run:
        bid = await load(run.store, {"+15550000001": 20})
        run.redis.kill()
        worker = run.start_worker()
        await wait_until(lambda: "redis.awaited" in run.logs())
        assert worker.poll() is None
        run.redis.restart()
        assert await run.settled(bid, timeout=30) == {State.ACCEPTED: 20}
        await check_truth(run, bid, 20)
