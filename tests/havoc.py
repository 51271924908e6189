"""Chaos with a seed: a broadcast is sent while workers, Redis and the network fail; then the truth is told.

`wreak` runs one seed; `tests/flow/test_chaos.py` runs a short one, `tests/bench/chaos.py` many long ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from deployment import Deployment, deployment
from fault_proxy import FaultProxy
from loading import counts, load
from trouble import Trouble, happenings
from truth import MOVING, the_truth

from broadcaster.domain.record import State
from broadcaster.lanes import control
from broadcaster.settings import Settings
from broadcaster.store.ending import end

if TYPE_CHECKING:
    import subprocess
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trouble import Happening, Plan
    from truth import Truth

#: Of all tries. Of those that are for good few enough that the campaign isn't stopped for them.
FAULTS: Final = {
    "throttle": 0.02,
    "unavailable": 0.01,
    "error": 0.01,
    "unavailable_after": 0.01,
    "error_after": 0.01,
    "timeout_408": 0.005,
    "drop_before": 0.01,
    "drop_after": 0.01,
    "close_before": 0.01,
    "close_after": 0.01,
    "slow_body": 0.005,
    "cut_body": 0.01,
    "garbage_200": 0.005,
    "garbage_201": 0.005,
    "html_502": 0.005,
    "html_403": 0.0005,
    "redirect": 0.005,
    "late_accept": 0.01,
    "invalid_number": 0.005,
    "opted_out": 0.005,
    "landline": 0.005,
}
FOR_GOOD: Final = ("invalid_number", "opted_out", "landline")
SENDERS: Final = {"+15550000001": 0.5, "+15550000002": 0.3, "+15550000003": 0.2}
#: Twilio takes a message this long after it was asked, and shows it in its list this much later.
LATE_SECONDS: Final = 0.3
LAG_SECONDS: Final = 0.3


@dataclass(slots=True)
class Report:
    """What happened in a run."""

    plan: Plan
    truth: Truth | None = None
    troubles: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    resumed: int = 0
    caused: int = 0
    crashed: int = 0
    seconds: float = 0.0
    error: str = ""

    @property
    def kept(self) -> bool:
        """Whether it ended by itself with every promise kept, nobody crashed or cried wolf."""
        fine = not (self.error or self.caused or self.crashed)
        return fine and self.truth is not None and self.truth.kept


class Havoc:
    """Keeps workers running behind the proxies, and brings trouble over all of it."""

    def __init__(self, run: Deployment, proxies: dict[str, FaultProxy], report: Report) -> None:
        self._run = run
        self._proxies = proxies
        self._plan = report.plan
        self._report = report
        self._workers: list[subprocess.Popen[bytes]] = []
        self._stopped: dict[int, float] = {}
        self._busy: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the workers."""
        self._workers = [self._new() for _ in range(self._plan.workers)]

    def _new(self) -> subprocess.Popen[bytes]:
        return self._run.start_worker(
            REDIS_URL=f"redis://127.0.0.1:{self._proxies['redis'].port}/0",
            TWILIO_API_BASE_URL=f"http://127.0.0.1:{self._proxies['twilio'].port}",
            BROADCASTER_READ_TIMEOUT_SECONDS="30",
            **patience(self._plan),
        )

    def look_after(self) -> None:
        """Start anew who ended, let go on who was stopped long enough."""
        now = time.monotonic()
        for place, worker in enumerate(self._workers):
            if worker.poll() is not None:
                self._report.exits[worker.returncode] += 1
                self._stopped.pop(place, None)
                self._workers[place] = self._new()
            elif self._stopped.get(place, now + 1) <= now:
                del self._stopped[place]
                worker.send_signal(signal.SIGCONT)

    async def bring(self) -> None:
        """Bring trouble until its time is over."""
        until = time.monotonic() + self._plan.troubled_seconds
        for happening in happenings(self._plan):
            await asyncio.sleep(happening.after)
            if time.monotonic() > until:
                break
            self._report.troubles[happening.trouble.value] += 1
            self._begin(happening)
        await asyncio.gather(*self._busy)
        for proxy in self._proxies.values():
            proxy.calm()
            await proxy.listen()

    def _begin(self, happening: Happening) -> None:
        place = happening.worker
        match happening.trouble:
            case Trouble.KILL:
                self._workers[place].kill()
            case Trouble.TERMINATE:
                self._workers[place].terminate()
            case Trouble.STOP:
                self._workers[place].send_signal(signal.SIGSTOP)
                self._stopped[place] = time.monotonic() + self._plan.stop_seconds
            case Trouble.KILL_REDIS:
                self._run.redis.kill()
                self._run.redis.start()
            case _:
                task = asyncio.create_task(self._break(self._proxies[happening.side], happening))
                self._busy.add(task)
                task.add_done_callback(self._busy.discard)

    async def _break(self, proxy: FaultProxy, happening: Happening) -> None:
        match happening.trouble:
            case Trouble.CUT:
                return proxy.cut_after(happening.size)
            case Trouble.HALF_CLOSE:
                return proxy.half_close()
            case Trouble.RESET:
                return proxy.reset()
            case Trouble.DELAY:
                proxy.delay_seconds = happening.size / 1000
            case Trouble.STALL:
                proxy.stall()
            case Trouble.BLACK_HOLE:
                proxy.swallow()
            case Trouble.REFUSE:
                proxy.refuse()
        await asyncio.sleep(happening.seconds)
        proxy.calm()
        return await proxy.listen()

    async def watch(self) -> None:
        """Be the one who restarts what ended, and who resumes what stopped with a reason."""
        while True:
            self.look_after()
            with contextlib.suppress(Exception):  # Redis may be gone just now; it is asked again soon
                self._report.resumed += await self._run.store.run(control.resume_account())
            await asyncio.sleep(0.1)


def patience(plan: Plan) -> dict[str, str]:
    """Return the settings that let a doubt end as soon as the simulator allows, where they exist."""
    wanted = {
        "settle_seconds": plan.patience_seconds,
        "settle_alone_seconds": plan.patience_seconds + 1,
        "settle_every_seconds": 1,
    }
    return {f"BROADCASTER_{k.upper()}": str(v) for k, v in wanted.items() if k in Settings.model_fields}


@asynccontextmanager
async def behind_proxies(folder: Path, plan: Plan) -> AsyncIterator[tuple[Deployment, dict[str, FaultProxy]]]:
    """Run Redis and the simulator, each behind a proxy."""
    config = {
        "seed": plan.seed,
        "faults": FAULTS | {"hang_before": plan.hangs, "hang_after": plan.hangs},
        "latency_ms": 5,
        "latency_jitter_ms": 20,
        "accept_delay_seconds": LATE_SECONDS,
        "list_lag_seconds": LAG_SECONDS,
        "slow_body_seconds": 0.5,
    }
    async with deployment(folder, workers=0, **config) as run:
        assert run.redis.port
        simulator_port = int(run.simulator.url.rpartition(":")[2])
        async with FaultProxy(run.redis.port) as redis, FaultProxy(simulator_port) as twilio:
            yield run, {"redis": redis, "twilio": twilio}


async def wreak(folder: Path, plan: Plan) -> Report:
    """Send one broadcast through chaos and say what became of everybody."""
    report = Report(plan)
    began = time.monotonic()
    async with behind_proxies(folder, plan) as (run, proxies):
        rates = {s: share * plan.recipients / plan.troubled_seconds * 1.2 for s, share in SENDERS.items()}
        lanes = {s: int(plan.recipients * share) for s, share in SENDERS.items()}
        lanes["+15550000001"] += plan.recipients - sum(lanes.values())
        bid = await load(run.store, lanes, rates=rates, batch=100)
        havoc = Havoc(run, proxies, report)
        havoc.start()
        watching = asyncio.create_task(havoc.watch())
        try:
            await run.until(lambda c: c.get(State.ACCEPTED, 0) > 0, bid)
            await havoc.bring()
            await run.simulator.configure(faults={name: FAULTS[name] for name in FOR_GOOD})
            report.error = await _ended(run, bid, plan)
        finally:
            await end([watching])
        report.truth = await the_truth(run, bid, plan.recipients)
        report.faults.update((await run.simulator.counts())["faults"])
        logs = run.logs()
        report.caused = logs.count('"duplicate.caused"')
        report.crashed = logs.count("\nTraceback (most")
    report.seconds = time.monotonic() - began
    return report


async def _ended(run: Deployment, bid: str, plan: Plan) -> str:
    """Wait until nothing moves; return what still does when the time is over."""
    deadline = time.monotonic() + plan.end_seconds
    still = MOVING | {State.IN_DOUBT} if patience(plan) else MOVING
    while still & (found := await counts(run.store, bid)).keys():
        if time.monotonic() > deadline:
            return f"still moving after {plan.end_seconds:g} s: { {s.label: n for s, n in found.items()} }"
        await asyncio.sleep(0.1)
    return ""
