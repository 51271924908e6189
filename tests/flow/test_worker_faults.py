"""What befalls a worker beside a kill: an orderly end, no memory, a clock that jumps."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from deployment import Deployment, deployment, stop
from faked_clock import clocked_servers, faketime_library
from kill_session import Session
from loading import counts, load

from broadcaster.domain.record import State

if TYPE_CHECKING:
    from pathlib import Path

LANE = "+15550000001"
FAST = {LANE: 20_000.0}
SHORT = {
    "BROADCASTER_SETTLE_SECONDS": "2",
    "BROADCASTER_SETTLE_ALONE_SECONDS": "3",
    "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
}
OPEN = {State.QUEUED, State.SENDING, State.RETRY, State.IN_DOUBT}


def start(run: Deployment, program: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a worker by a program of its own."""
    with (run.folder / f"worker-{len(run.workers)}.log").open("wb") as log:
        worker = subprocess.Popen(
            [sys.executable, "-c", program],
            env={**run.environment, **SHORT, **environment},
            stdout=log,
            stderr=log,
            cwd=run.folder,
        )
    run.workers.append(worker)
    return worker


async def in_flight(run: Deployment, count: int) -> None:
    """Wait until the simulator has so many requests to answer."""
    deadline = time.monotonic() + 20
    while (await run.simulator.counts())["in_flight"] < count:
        assert time.monotonic() < deadline, run.logs()[-3000:]


async def ended_well(run: Deployment, sent: dict[str, int], timeout: float = 50) -> None:  # noqa: ASYNC109
    """Wait until nothing is open any more; everybody was sent to once."""
    for bid in sent:
        await run.until(lambda c: not OPEN & c.keys(), bid, timeout=timeout)
    session = Session([])
    await session.tell(run, sent)
    assert (session.twice, session.lost, session.wrong, session.alarms) == ([], [], [], 0)
    assert session.accepted == sum(sent.values())


# -- an orderly end


@pytest.mark.slow
@pytest.mark.parametrize("how", ["signaled twice", pytest.param("too long", marks=pytest.mark.slow)])
async def test_a_drain_that_is_urged_or_over_long_loses_nobody(tmp_path: Path, how: str) -> None:
    """A second SIGTERM changes nothing; what outlives the time to stop is in doubt until it is found."""
    latency = 1_000 if how == "signaled twice" else 4_000
    async with deployment(tmp_path, workers=0, latency_ms=latency) as run:
        drain = "20" if how == "signaled twice" else "2"
        worker = run.start_worker(**SHORT, BROADCASTER_SHUTDOWN_SECONDS=drain)
        bid = await load(run.store, {LANE: 200}, rates=FAST)
        await in_flight(run, 64)
        worker.send_signal(signal.SIGTERM)  # at most another 64 have their yes
        if how == "signaled twice":
            await asyncio.sleep(0.2)
            worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(stop, worker) == 0
        told = await counts(run.store, bid)
        if how == "signaled twice":
            assert told.keys() == {State.ACCEPTED, State.QUEUED}
        else:
            assert told.keys() == {State.IN_DOUBT, State.QUEUED}
            assert "drain.incomplete" in run.logs()
        await run.simulator.configure(latency_ms=1)
        run.start_worker(**SHORT)
        await ended_well(run, {bid: 200})


# -- no memory

#: On SIGUSR1 the process gets no more memory, but for what it frees itself.
HOG = """
import resource, runpy, signal, sys
hoard = []
def eat(*_):
    status = open('/proc/self/status').read()
    size = int(status.partition('VmSize:')[2].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    block = 1 << 20
    while block >= 32:
        try:
            hoard.append(bytes(block))
        except MemoryError:
            block //= 2
    del hoard[-SPARED:]
signal.signal(signal.SIGUSR1, eat)
sys.argv = ['workers']
runpy.run_module('workers', run_name='__main__')
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and RLIMIT_AS")
@pytest.mark.slow
@pytest.mark.parametrize("spared", [1, 2000])
async def test_a_worker_without_memory_ends_and_loses_nobody(tmp_path: Path, spared: int) -> None:
    """Of what it hoards it lets go the last few blocks: the errors come at once, or a little later."""
    async with deployment(tmp_path, workers=0, latency_ms=30) as run:
        worker = start(run, HOG.replace("SPARED", str(spared)))
        bid = await load(run.store, {LANE: 3000}, rates=FAST, batch=500)
        await run.until(lambda c: c.get(State.ACCEPTED, 0) > 100, bid)
        worker.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 20
        told = -1
        while worker.poll() is None:
            before, told = told, (await counts(run.store, bid)).get(State.ACCEPTED, 0)
            assert time.monotonic() < deadline or told > before, f"half dead: {run.logs()[-3000:]}"
            if told == 3000:
                break
            await asyncio.sleep(1)
        if worker.poll() is not None:
            assert worker.returncode > 0, "it ends by itself"
            run.start_worker(**SHORT)
        await ended_well(run, {bid: 3000})


# -- clocks

needs_faketime = pytest.mark.skipif(faketime_library() is None, reason="libfaketime is not installed")
HOUR = 3600


@needs_faketime
@pytest.mark.parametrize("hours", [-1, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.slow
async def test_redis_clock_jumps_an_hour_and_the_lanes_go_on(tmp_path: Path, hours: int) -> None:
    """With retries waiting, doubts open and one worker killed that moment: its lease ends all the same."""
    faults = {"throttle": 0.05, "unavailable": 0.02, "unavailable_after": 0.02}
    with clocked_servers(tmp_path) as clock:
        async with deployment(tmp_path, workers=0, latency_ms=20, faults=faults) as run:
            for _ in range(2):
                run.start_worker(**SHORT)
            bid = await load(run.store, {LANE: 500}, rates={LANE: 100.0})
            await run.until(lambda c: c.get(State.ACCEPTED, 0) > 150, bid)
            clock.step(hours * HOUR)
            stop(run.workers[0], signal.SIGKILL)
            before = (await counts(run.store, bid)).get(State.ACCEPTED, 0)
            await run.until(lambda c: c.get(State.ACCEPTED, 0) > before + 50, bid, timeout=5)
            await run.simulator.configure(faults={})
            await ended_well(run, {bid: 500}, timeout=40)


#: The worker's own wall clock is moved in the middle; the monotonic one and the time since boot are not.
MOVED = """
import datetime, runpy, signal, sys, time
moved, true_time, true_ns = 0, time.time, time.time_ns
time.time = lambda: true_time() + moved
time.time_ns = lambda: true_ns() + moved * 1_000_000_000
class Moved(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
    @classmethod
    def utcnow(cls):
        return cls.fromtimestamp(time.time(), datetime.timezone.utc).replace(tzinfo=None)
datetime.datetime = Moved
def move(*_):
    global moved
    moved = STEP
signal.signal(signal.SIGUSR1, move)
sys.argv = ['workers']
runpy.run_module('workers', run_name='__main__')
"""


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_workers_clock_jumps_an_hour_and_its_jobs_go_on(tmp_path: Path, hours: int) -> None:
    """What sweeps and settles runs by the clock: leases are swept and doubts settled all the same."""
    async with deployment(tmp_path, workers=0, latency_ms=20) as run:
        other = run.start_worker(**SHORT)
        worker = start(run, MOVED.replace("STEP", str(hours * HOUR)))
        bid = await load(run.store, {LANE: 400}, rates={LANE: 100.0})
        await run.until(lambda c: c.get(State.ACCEPTED, 0) > 100, bid)
        while await run.store.redis.zcard(run.store.keys.plain("workers")) < 2:
            assert "Traceback" not in run.logs()
        await run.simulator.configure(latency_ms=400)
        await in_flight(run, 10)
        worker.send_signal(signal.SIGUSR1)
        stop(other, signal.SIGKILL)
        await run.simulator.configure(latency_ms=20)
        await ended_well(run, {bid: 400}, timeout=40)
        assert worker.poll() is None
