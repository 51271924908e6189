"""A deployment in which processes are killed at chosen points, one after the other, while it sends.

`kill_at` runs some points; `tests/flow/test_kill_points.py` a few, `tests/bench/kill_points.py` hundreds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from deployment import Deployment, deployment
from importing import imported
from kill_kinds import LATE_SECONDS, Doing, Held, Passing, Point, Victim
from kill_session import Session
from loading import counts, load
from redis.exceptions import RedisError
from tap import Strike, Tap
from truth import MOVING

from broadcaster.domain.record import State
from broadcaster.lanes import control
from broadcaster.store.errors import StoreError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

T = TypeVar("T")
RATES: Final = {"+15550000001": 90.0, "+15550000002": 50.0, "+15550000003": 20.0}
#: So much doubt, and so many retries, that there is always something to settle and to try again.
FAULTS: Final = {
    "unavailable": 0.01,
    "unavailable_after": 0.01,
    "drop_before": 0.01,
    "drop_after": 0.01,
    "throttle": 0.01,
}
SETTINGS: Final = {
    "BROADCASTER_READ_TIMEOUT_SECONDS": "30",
    "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
    "BROADCASTER_STOP_FAILURE_SHARE": "1",
}
LIST: Final = 120
#: The command takes about so long to begin.
BEGIN_SECONDS: Final = 0.35
FEED, LOW = 400, 250
STRIKE_SECONDS: Final = 8.0
END_SECONDS: Final = 90.0


@dataclass(slots=True)
class _Place:
    """A worker and its two taps, which outlive it."""

    redis: Tap
    twilio: Tap
    process: subprocess.Popen[bytes]


class Killing:
    """Feeds the lanes, and kills at one point after the other."""

    def __init__(
        self, run: Deployment, session: Session, taps: Sequence[tuple[Tap, Tap]], patience_seconds: float
    ) -> None:
        self._patience = patience_seconds
        self._run = run
        self._session = session
        self._sent: dict[str, int] = {}
        self._first = 0
        self._killed: subprocess.Popen[bytes] | None = None
        self._places = [_Place(redis, twilio, self._worker(redis, twilio)) for redis, twilio in taps]

    def _worker(self, redis: Tap, twilio: Tap) -> subprocess.Popen[bytes]:
        return self._run.start_worker(
            REDIS_URL=f"redis://127.0.0.1:{redis.port}/0",
            TWILIO_API_BASE_URL=f"http://127.0.0.1:{twilio.port}",
            BROADCASTER_SETTLE_SECONDS=str(self._patience),
            BROADCASTER_SETTLE_ALONE_SECONDS=str(self._patience + 1),
            **SETTINGS,
        )

    # -- one point

    async def at(self, point: Point) -> None:
        """Bring about the moment, and kill."""
        await self._feed()
        place, kind = self._places[point.worker], point.kind
        in_time = True
        if isinstance(kind, Passing):
            in_time = await self._passing(point, place, kind)
        elif isinstance(kind, Held):
            in_time = await self._held(point, kind)
        else:
            await self._doing(point, place, kind)
        (self._session.struck if in_time else self._session.timed).append(point)
        await self._recover(point)

    def _kill(self, point: Point) -> None:
        self._strike(point, self._places[point.worker])

    def _strike(self, point: Point, place: _Place) -> None:
        if point.victim is Victim.REDIS:
            self._run.redis.kill()
        else:
            place.process.kill()
            self._killed = place.process

    async def _recover(self, point: Point) -> None:
        if point.victim is Victim.REDIS:
            await asyncio.sleep(point.down_seconds)
            self._run.redis.start()
        self._session.crashed += sum(self._ended(place) for place in self._places)
        if self._killed is not None:
            await asyncio.to_thread(self._killed.wait)
            self._killed = None
        for one in self._places:
            if one.process.poll() is not None:
                one.process = self._worker(one.redis, one.twilio)

    def _ended(self, place: _Place) -> bool:
        """Tell whether a worker ended by itself; one that can't begin, as there is no Redis, may say so."""
        if place.process.poll() in (None, -9):
            return False
        number = self._run.workers.index(place.process)
        return "worker.started" in (self._run.folder / f"worker-{number}.log").read_text()

    async def _passing(self, point: Point, place: _Place, kind: Passing) -> bool:
        # whichever worker it comes from: only one of them settles or sweeps
        struck = asyncio.Event()

        def act(one: _Place) -> None:
            if not struck.is_set():
                struck.set()
                self._strike(point, one)

        for one in self._places:
            strike = Strike(kind.mark, kind.on, kind.at, partial(act, one), point.skip, kind.lose)
            (one.redis if kind.side == "redis" else one.twilio).arm(strike)
        in_time = True
        try:
            await asyncio.wait_for(struck.wait(), STRIKE_SECONDS)
        except TimeoutError:
            in_time = False
            act(place)
        for one in self._places:
            one.redis.disarm()
            one.twilio.disarm()
        return in_time

    async def _held(self, point: Point, kind: Held) -> bool:
        await self._run.simulator.configure(**kind.config)
        deadline = time.monotonic() + STRIKE_SECONDS
        found = 0
        while found < point.many and time.monotonic() < deadline:
            found = (await self._run.simulator.counts())["in_flight"]
        self._kill(point)
        await self._run.simulator.configure(faults=FAULTS, latency_ms=0)
        return found >= point.many

    async def _doing(self, point: Point, place: _Place, doing: Doing) -> None:
        store = self._run.store
        if doing is Doing.IMPORTING:
            return await self._importing(point)
        if doing is Doing.STARTING:
            place.process.kill()
            place.process.wait()
            place.process = self._worker(place.redis, place.twilio)
            await asyncio.sleep(point.after_seconds * 3)
        elif doing is Doing.ANY:
            await asyncio.sleep(point.after_seconds)
        elif doing is Doing.RETRYING:
            await self._run.simulator.configure(faults={"throttle": 0.3, "unavailable_after": 0.05})
            await asyncio.sleep(0.3 + point.after_seconds)
            await self._run.simulator.configure(faults=FAULTS)
        else:
            bid = list(self._sent)[-1]
            if doing is Doing.RESUMING:
                await self.insist(lambda: store.run(control.pause(bid, "a test")))
                await asyncio.sleep(0.2)
            call = control.pause(bid, "a test") if doing is Doing.PAUSING else control.resume(bid)
            steering = asyncio.create_task(store.run(call))
            await asyncio.sleep(point.after_seconds / 100)
            self._kill(point)
            with contextlib.suppress(RedisError, StoreError, OSError):
                await steering
            return None
        self._kill(point)
        return None

    async def _importing(self, point: Point) -> None:
        """Kill the process that imports a list, or Redis under it; then give the same order again."""
        first, self._first = self._first, self._first + LIST

        async def harm(importer: subprocess.Popen[bytes]) -> None:
            await asyncio.sleep(BEGIN_SECONDS + point.after_seconds)
            if point.victim is Victim.WORKER:
                return importer.kill()
            self._run.redis.kill()
            await asyncio.sleep(point.down_seconds)
            return self._run.redis.start()

        self._sent[await imported(self._run, range(first, first + LIST), harm)] = LIST

    # -- around the points

    async def insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask Redis until it answers."""
        deadline = time.monotonic() + 20
        while True:
            try:
                return await ask()
            except (RedisError, StoreError, OSError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.02)

    async def _feed(self) -> None:
        """Resume what is paused, and give the lanes more when they have little left."""
        for bid in self._sent:
            await self.insist(lambda bid=bid: self._run.store.run(control.resume(bid)))  # type: ignore[misc]
        left = sum([(await self._counts(bid)).get(State.QUEUED, 0) for bid in self._sent])
        if left < LOW:
            share = sum(RATES.values())
            lanes = {lane: int(FEED * rate / share) for lane, rate in RATES.items()}
            bid = await load(self._run.store, lanes, rates=RATES, batch=50, first=self._first)
            self._sent[bid] = sum(lanes.values())
            self._first += self._sent[bid]

    async def _counts(self, bid: str) -> dict[State, int]:
        return await self.insist(lambda: counts(self._run.store, bid))

    async def end(self) -> None:
        """Let it all end by itself, then say what became of everybody."""
        session, run = self._session, self._run
        for bid in self._sent:
            await self.insist(lambda bid=bid: run.store.run(control.resume(bid)))  # type: ignore[misc]
        await run.simulator.configure(faults={}, latency_ms=0)
        deadline = time.monotonic() + END_SECONDS
        for bid in self._sent:
            while (MOVING | {State.IN_DOUBT}) & (found := await self._counts(bid)).keys():
                if time.monotonic() > deadline:
                    session.error = f"still moving after {END_SECONDS:g} s: {bid} {found}"
                    break
                await asyncio.sleep(0.1)
        await session.tell(run, self._sent)
        session.crashed += sum(self._ended(place) for place in self._places)


@asynccontextmanager
async def _running(
    folder: Path, session: Session, *, workers: int, seed: int, patience_seconds: float
) -> AsyncIterator[Killing]:
    config: dict[str, Any] = {
        "seed": seed,
        "faults": FAULTS,
        "list_lag_seconds": 0.3,
        "accept_delay_seconds": LATE_SECONDS,
        "slow_body_seconds": 0.8,
    }
    async with deployment(folder, workers=0, **config) as run, AsyncExitStack() as stack:
        port = int(run.simulator.url.rpartition(":")[2])
        taps = [
            (
                await stack.enter_async_context(Tap(str(run.redis.socket_path))),
                await stack.enter_async_context(Tap(port)),
            )
            for _ in range(workers)
        ]
        yield Killing(run, session, taps, patience_seconds)


async def kill_at(
    folder: Path, points: Sequence[Point], *, workers: int, seed: int, patience_seconds: float = 3.0
) -> Session:
    """Send while killing at each of these points; say what became of everybody.

    `patience_seconds`: absence counts after it; the simulator takes and shows a message in much less.
    """
    session = Session(points)
    began = time.monotonic()
    async with _running(
        folder, session, workers=workers, seed=seed, patience_seconds=patience_seconds
    ) as killing:
        for point in points:
            await killing.at(point)
        await killing.end()
    session.seconds = time.monotonic() - began
    return session
