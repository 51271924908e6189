"""A campaign whose Redis loses writes, and what became of everybody."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from commanding import Desk
from deployment import PREFIX, Deployment, deployment_on
from loading import counts, load
from redis.exceptions import RedisError
from servers import Server
from truth import MOVING, the_truth

from broadcaster.domain.record import State

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Container
    from datetime import datetime
    from pathlib import Path

    from servers import Replicated
    from truth import Truth

LANE: Final = "+15550000001"
#: A command takes a second, on a machine that others keep busy very many.
COMMAND_SECONDS: Final = 120.0
#: Doubt is settled in seconds. A worker that nobody sees end may be sending for as long as `OWNER_GONE` says.
SHORT: Final = {
    "BROADCASTER_SETTLE_SECONDS": "1",
    "BROADCASTER_SETTLE_ALONE_SECONDS": "2",
    "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
    "BROADCASTER_OWNER_GONE_SECONDS": "5",
}
TWILIO: Final[dict[str, Any]] = {"latency_ms": 20, "latency_jitter_ms": 20, "list_lag_seconds": 0.3}
OPEN: Final = MOVING | {State.IN_DOUBT}


@asynccontextmanager
async def alone(
    folder: Path, *, fsync: str = "always", **config: Any
) -> AsyncIterator[tuple[Deployment, Server]]:
    """Run a campaign's parts around one server; no worker yet."""
    with Server(folder / "redis", appendfsync=fsync) as server:
        async with deployment_on(server, server.url, folder, workers=0, **(TWILIO | config)) as run:
            run.environment.update(SHORT)
            yield run, server


@asynccontextmanager
async def under_sentinel(folder: Path, group: Replicated, **config: Any) -> AsyncIterator[Deployment]:
    """Run a campaign's parts around a primary that sentinels watch; no worker yet."""
    wanted = TWILIO | config
    async with deployment_on(group.primary, group.url, folder, workers=0, replicas=1, **wanted) as run:
        run.environment.update(SHORT)
        yield run


async def taken(run: Deployment, at_least: int = 0, seconds: float = 20) -> int:
    """Wait until Twilio has taken so many messages; return how many it has."""
    deadline = time.monotonic() + seconds
    while (found := int((await run.simulator.counts())["accepted"])) < at_least:
        assert time.monotonic() < deadline, f"{found} of {at_least} after {seconds:g} s\n{run.logs()[-3000:]}"
        await asyncio.sleep(0.01)
    return found


async def still(run: Deployment, for_seconds: float, within_seconds: float) -> int:
    """Wait until Twilio hears nothing for a while, which must be soon; return how many it has taken."""
    deadline = time.monotonic() + within_seconds
    last, since = await taken(run), time.monotonic()
    while time.monotonic() - since < for_seconds:
        if (now := await taken(run)) != last:
            last, since = now, time.monotonic()
            assert since < deadline, f"still sending after {within_seconds:g} s: {last}"
        await asyncio.sleep(0.02)
    return last


async def standing(run: Deployment, bid: str) -> dict[State, int]:
    """Read a broadcast's counters; a connection that was made to the server before is let go."""
    try:
        return await counts(run.store, bid)
    except (RedisError, OSError):
        await run.store.redis.connection_pool.disconnect()
        return await counts(run.store, bid)


async def ended(run: Deployment, bid: str, seconds: float = 30) -> dict[State, int]:
    """Wait until nothing of a broadcast is open, also while Redis is away."""
    deadline = time.monotonic() + seconds
    found: dict[State, int] = {}
    while True:
        try:
            found = await counts(run.store, bid)
            if found and not OPEN & found.keys():
                return found
        except (RedisError, OSError):
            pass
        shown = {state.label: n for state, n in found.items()}
        assert time.monotonic() < deadline, f"open after {seconds:g} s: {shown}\n{run.logs()[-4000:]}"
        await asyncio.sleep(0.05)


async def kept(run: Deployment, bid: str, total: int, others: Container[str] = ()) -> Truth:
    """Compare everybody's record with what Twilio took: nobody twice, nobody lost."""
    truth = await the_truth(run, bid, total, others)
    assert truth.kept, f"{truth}\n{run.logs()[-3000:]}"
    assert "\nTraceback (most" not in run.logs(), run.logs()[-3000:]
    assert "duplicate.caused" not in run.logs()
    return truth


def operator(run: Deployment, url: str) -> Desk:
    """Return the command line at this installation."""
    return Desk(run.folder, run.simulator.url, {"REDIS_URL": url, "BROADCASTER_KEY_PREFIX": PREFIX} | SHORT)


async def command(run: Deployment, *arguments: str) -> tuple[int, str, str]:
    """Run a command beside everything else that goes on."""
    desk = operator(run, run.environment["REDIS_URL"])
    return await asyncio.to_thread(desk.run, *arguments, timeout=COMMAND_SECONDS)


async def restore(run: Deployment, taken_at: datetime | None, *options: str) -> int:
    """Say that the data is a backup's, None: which knows when; return how many messages that put in doubt."""
    at = ("--taken-at", taken_at.isoformat()) if taken_at else ()
    arguments = ("restore", *at, "--yes", "--json", *options)
    code, out, err = await command(run, *arguments)
    assert code == 0, err
    assert "redis.lost_writes" in err
    return int(json.loads(out)["in_doubt"])


def crash(worker: subprocess.Popen[bytes]) -> None:
    """End a worker by SIGKILL."""
    worker.kill()
    worker.wait()


@dataclass(frozen=True, slots=True)
class Plan:
    """A broadcast of `total` at `rate` a second; what is written after `at` messages is lost `tail` later."""

    total: int = 600
    rate: float = 300
    at: int = 150
    tail: int = 120
    workers: int = 1
    worker_dies: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """What a lost tail took with it: bytes, and messages that Twilio has but the records no longer show."""

    size: int
    unknown: int
    truth: Truth
    seconds: float

    def __str__(self) -> str:
        states = {state.label: n for state, n in self.truth.states.items()}
        return (
            f"{self.size} bytes and {self.unknown} messages lost, whole after {self.seconds:.1f} s: {states}"
        )


async def lose_the_tail(folder: Path, plan: Plan) -> Loss:
    """Cut the power of a server that writes to disk now and then, in the middle of a broadcast."""
    async with alone(folder, fsync="everysec") as (run, server):
        workers = [run.start_worker() for _ in range(plan.workers)]
        bid = await load(run.store, {LANE: plan.total}, rates={LANE: plan.rate})
        await taken(run, plan.at)
        kept_size = server.written()
        await taken(run, plan.at + plan.tail)
        for worker in workers if plan.worker_dies else ():
            crash(worker)
        size = server.lose_what_follows(kept_size)
        began = time.monotonic()
        server.start()
        known = (await standing(run, bid)).get(State.ACCEPTED, 0) if plan.worker_dies else plan.at
        unknown = await taken(run) - known
        if plan.worker_dies:
            run.start_worker()
        await ended(run, bid)
        return Loss(size, unknown, await kept(run, bid, plan.total), time.monotonic() - began)
