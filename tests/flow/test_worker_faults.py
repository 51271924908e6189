"""What befalls a worker beside a kill: an orderly end, no memory, a clock that jumps."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deployment import Deployment, deployment, stop
from kill_session import Session
from loading import counts, load

from broadcaster.domain.record import State
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.mark.parametrize("how", ["signaled twice", "too long"])
async def test_a_drain_that_is_urged_or_over_long_loses_nobody(tmp_path: Path, how: str) -> None:
    """A second SIGTERM changes nothing; what outlives the time to stop is in doubt, and its evidence is found."""
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
