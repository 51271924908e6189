"""Redis stalls, resets its connections, loses answers, runs full: nobody is skipped, nobody gets it twice.

(Its SIGKILL and restart: `test_once.py`, `test_chaos.py`.)
"""

# ruff: noqa: T201 - a run with -s shows what it measured

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from commanding import Desk
from deployment import Deployment, deployment, stop
from fault_proxy import FaultProxy
from loading import counts, load, number
from redis.exceptions import RedisError
from truth import check_truth

from broadcaster.domain.record import State
from broadcaster.lanes import control
from broadcaster.store.scripts import read_script

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LANE = "+15550000001"
FAST = {LANE: 20_000.0}
SETTLING = {
    "BROADCASTER_SETTLE_SECONDS": "1",
    "BROADCASTER_SETTLE_ALONE_SECONDS": "2",
    "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
}


#: What a worker that sends runs again and again.
OF_A_WORKER = ("claim", "intent", "record", "release", "renew")
SEND = ("send", "people.csv", "--body", "{{ note }}", "--from", LANE, "--yes")


def digest(script: str) -> bytes:
    """The name under which Redis knows a script."""
    return hashlib.sha1(read_script(script).encode()).hexdigest().encode()  # noqa: S324 - Redis names them so


async def busy(run: Deployment, requests: int) -> None:
    """Wait until so many requests are in flight at Twilio."""
    while (await run.simulator.counts())["in_flight"] < requests:  # noqa: ASYNC110 - it is another process
        await asyncio.sleep(0.01)


async def more_accepted(run: Deployment, than: int, within: float) -> float:
    """Wait until Twilio took more than that; return how long it was."""
    began = time.monotonic()
    while (await run.simulator.counts())["accepted"] <= than:
        assert time.monotonic() - began < within, run.logs()[-3000:]
        await asyncio.sleep(0.01)
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [3, pytest.param(10, marks=pytest.mark.timeout(120))])
async def test_a_stall_costs_nobody_a_lease(tmp_path: Path, seconds: int) -> None:
    """Longer than a lease (2 s), with requests in flight that end meanwhile: their outcomes are written."""
    async with deployment(tmp_path, workers=2, latency_ms=500) as run:
        while await run.store.redis.zcard("bc:workers") < 2:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
        bid = await load(run.store, {LANE: 600}, rates=FAST)
        await busy(run, 80)
        run.redis.pause()
        await asyncio.sleep(seconds)  # the stall itself
        during = await run.simulator.counts()
        await run.simulator.configure(latency_ms=1)
        run.redis.resume()
        after = await more_accepted(run, during["accepted"], within=5)
        told = await run.settled(bid, timeout=30)
        await check_truth(run, bid, 600)
        assert during["in_flight"] == 0, "all had ended"
        assert 80 <= during["accepted"] < 600
        assert told == {State.ACCEPTED: 600}, "no outcome was lost, nothing is in doubt"
        logs = run.logs()
        assert "worker.lost" not in logs
        assert "lease.lost" not in logs
        assert all(worker.poll() is None for worker in run.workers)
        print(
            f"\nstall of {seconds} s: {during['accepted']} accepted, the next one {after:.2f} s after its end"
        )


@asynccontextmanager
async def behind_a_proxy(folder: Path, **config: int) -> AsyncIterator[tuple[Deployment, FaultProxy]]:
    """A worker that reaches its Redis through a proxy."""
    async with deployment(folder, workers=0, **config) as run:
        assert run.redis.port
        async with FaultProxy(run.redis.port) as proxy:
            run.start_worker(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", **SETTLING)
            yield run, proxy


async def end(run: Deployment, bid: str, seconds: float = 30) -> dict[State, int]:
    """Wait until nothing is open, doubt included."""
    open_ = (State.QUEUED, State.SENDING, State.RETRY, State.IN_DOUBT)
    await run.until(lambda c: not any(c.get(s) for s in open_), bid, timeout=seconds)
    return await counts(run.store, bid)


@pytest.mark.slow
async def test_connections_that_are_reset_again_and_again(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, latency_ms=20) as (run, proxy):
        bid = await load(run.store, {LANE: 1_000}, rates={LANE: 500.0})
        await run.until(lambda c: c.get(State.ACCEPTED, 0) > 0, bid)
        resets = 0
        while resets < 40:
            proxy.reset()
            resets += 1
            await asyncio.sleep(0.03 + 0.002 * (resets % 7))
        assert await end(run, bid) == {State.ACCEPTED: 1_000}
        assert await run.simulator.accepted() == {number(i): 1 for i in range(1_000)}
        assert "redis.unreachable" in run.logs()
        assert "\nTraceback" not in run.logs()
        assert run.workers[0].poll() is None


@pytest.mark.slow
async def test_a_reset_between_a_script_and_its_answer(tmp_path: Path) -> None:
    """What was asked is done and nobody knows: it is asked again, and no second yes comes of it."""
    async with behind_a_proxy(tmp_path, latency_ms=5) as (run, proxy):
        for script in OF_A_WORKER:
            proxy.lose_answers(digest(script), 2)
        bid = await load(run.store, {LANE: 600}, rates={LANE: 300.0}, batch=20)
        assert await end(run, bid) == {State.ACCEPTED: 600}
        assert set(proxy.losing.values()) == {0}, "all of them were lost"
        assert await run.simulator.accepted() == {number(i): 1 for i in range(600)}
        assert "duplicate.caused" not in run.logs()
        assert run.workers[0].poll() is None


async def fill(run: Deployment, most: int | None = None) -> None:
    """Write junk, until so much memory is used or Redis takes no more."""
    redis, junk = run.store.redis, b"x" * 65_536
    with suppress(RedisError):
        for i in range(100_000):
            await redis.set(f"junk:{i}", junk)
            if most is not None and (await redis.info("memory"))["used_memory"] >= most:
                return
    with pytest.raises(RedisError, match="maxmemory"):
        await redis.set("junk:more", junk)


@pytest.mark.slow
async def test_with_memory_full_sending_goes_on_and_every_outcome_is_written(tmp_path: Path) -> None:
    """Also after a worker was killed then. What is in doubt waits until there is room again."""
    faults = {number(5): {"fault": "drop_after", "tries": 1}, number(595): {"fault": "throttle", "tries": 2}}
    async with deployment(tmp_path, workers=0, recipients=faults, latency_ms=100) as run:
        run.start_worker(**SETTLING)
        bid = await load(run.store, {LANE: 600}, rates={LANE: 20.0})
        await run.until(lambda c: c.get(State.ACCEPTED, 0) > 10, bid)
        used = (await run.store.redis.info("memory"))["used_memory"]
        await run.store.redis.config_set("maxmemory", used + 1_000_000)
        await fill(run)
        assert (await counts(run.store, bid)).get(State.QUEUED, 0) > 300, "most of it is sent after that"
        run.start_worker(**SETTLING)  # one can still join, and a command still be given
        while await run.store.redis.zcard("bc:workers") < 2:
            assert run.workers[1].poll() is None, run.logs()[-3000:]
            await asyncio.sleep(0.01)
        assert (await counts(run.store, bid)).get(State.QUEUED, 0) > 50
        await run.store.run(control.set_rate(LANE, 150.0))
        stop(run.workers[0], signal.SIGKILL)
        told = await run.settled(bid, timeout=30)
        assert told.get(State.ACCEPTED, 0) + told.get(State.IN_DOUBT, 0) == 600
        assert run.workers[1].poll() is None
        await run.store.redis.config_set("maxmemory", 0)
        assert await end(run, bid) == {State.ACCEPTED: 600}
        assert await run.simulator.accepted() == {number(i): 1 for i in range(600)}
        assert "\nTraceback" not in run.logs()


async def all_keys(run: Deployment) -> set[bytes]:
    """What Redis holds of this installation, but what it knows of the server, and numbers it gave."""
    found = {key async for key in run.store.redis.scan_iter("bc:*", count=1000)}
    return found - {b"bc:server", b"bc:serials"}


async def test_a_list_that_finds_no_room_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    """Full from the start, full to the brim, and full at some point in the middle of the list."""
    async with deployment(tmp_path, workers=0) as run:
        redis = run.store.redis
        desk = Desk(tmp_path, run.simulator.url, {"REDIS_URL": run.redis.url, "BROADCASTER_KEY_PREFIX": "bc"})
        desk.write("people.csv", "to,note", *(f"{number(i)},{i:030d}" for i in range(20_000)))
        before = await all_keys(run)
        for room in (0.9, 1.0, None):
            used = (await redis.info("memory"))["used_memory"]
            if room:
                await redis.config_set("maxmemory", used + 20_000_000)
                await fill(run, int((used + 20_000_000) * room))
            else:
                await redis.config_set("maxmemory", int((used + 700_000) / 0.85))
            code, _, err = await asyncio.to_thread(desk.call, *SEND)
            assert (code, "Traceback" in err) == (2, False), f"{room}: {err}"
            assert "Redis is full" in err, f"{room}: {err}"
            assert "Raise maxmemory, or wait until older broadcasts are removed" in err
            await redis.config_set("maxmemory", 0)
            assert await all_keys(run) <= before | {b"bc:owner"}, room
            await redis.delete(*[key async for key in redis.scan_iter("junk:*", count=1000)], "none")
        code, _, err = await asyncio.to_thread(desk.call, *SEND)
        assert code == 0, err
