"""The real thing on loopback: a Redis, a simulated Twilio and worker processes, each killable on its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from loading import counts
from pinning import cpu_seconds

from broadcaster.domain.record import State
from broadcaster.simulator.config import ACCOUNT_SID
from broadcaster.store.connection import Store, open_store
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

PREFIX = "bc"
#: Senders in tests go faster than their kind; what that piles up at the simulator is not their subject.
ENDLESS_QUEUES: dict[str, Any] = {"queue_seconds": 1e9}
MOVING = (State.QUEUED, State.SENDING, State.RETRY)


@dataclass
class Simulator:
    """A simulator process and what it knows."""

    url: str
    process: subprocess.Popen[str]
    http: httpx.AsyncClient

    async def counts(self) -> dict[str, Any]:
        """Totals of what it accepted and answered."""
        return (await self.http.get("/_simulator/counts")).json()  # type: ignore[no-any-return]

    async def configure(self, **fields: Any) -> None:
        """Change its settings while it runs."""
        (await self.http.post("/_simulator/config", json=fields)).raise_for_status()

    async def accepted(self) -> dict[str, int]:
        """How often it accepted a message, by recipient."""
        found: dict[str, int] = {}
        async with self.http.stream("GET", "/_simulator/accepted", timeout=60) as answer:
            async for line in answer.aiter_lines():
                if line:
                    to = json.loads(line)["to"]
                    found[to] = found.get(to, 0) + 1
        return found

    async def lines(self, name: str) -> list[dict[str, Any]]:
        """Read one of its streams: `accepted`, `decisions`."""
        text = (await self.http.get(f"/_simulator/{name}", timeout=60)).text
        return [json.loads(line) for line in text.splitlines() if line]

    async def pace(self) -> dict[str, Any]:
        """Rate and fullest second of each sender."""
        return (await self.http.get("/_simulator/arrivals", params={"summary": "1"})).json()  # type: ignore[no-any-return]


@dataclass
class Deployment:
    """Everything of one test. `environment` is what every process of ours gets."""

    redis: EmbeddedServer
    simulator: Simulator
    store: Store
    folder: Path
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker; its log goes to a file in the test's folder."""
        log = (self.folder / f"worker-{len(self.workers)}.log").open("wb")
        worker = subprocess.Popen(
            [sys.executable, "-m", "workers"],
            env={**self.environment, **environment},
            stdout=log,
            stderr=log,
            cwd=self.folder,
        )
        log.close()
        self.workers.append(worker)
        return worker

    def worker_cpu_seconds(self) -> float:
        """User and system time of the last worker so far."""
        return cpu_seconds(self.workers[-1].pid)

    async def redis_cpu_seconds(self) -> float:
        """User and system time of Redis so far."""
        info = await self.store.redis.info("cpu")
        return float(info["used_cpu_user"] + info["used_cpu_sys"])

    def logs(self) -> str:
        """Everything the workers logged."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))

    async def settled(
        self,
        broadcast: str,
        timeout: float,  # noqa: ASYNC109 - its end says what was found
        description: str = "",
    ) -> dict[State, int]:
        """Wait until nothing moves any more by itself; return the counters."""
        deadline = time.monotonic() + timeout
        while True:
            found = await counts(self.store, broadcast)
            if not any(found.get(state) for state in MOVING):
                return found
            assert time.monotonic() < deadline, (
                f"{description or broadcast} after {timeout} s: {found}\n{self.logs()[-3000:]}"
            )
            await asyncio.sleep(0.05)

    async def until(
        self,
        condition: Callable[[dict[State, int]], bool],
        broadcast: str,
        timeout: float = 30,  # noqa: ASYNC109 - its end says what was found
    ) -> None:
        """Wait until a broadcast's counters say so."""
        deadline = time.monotonic() + timeout
        while not condition(found := await counts(self.store, broadcast)):
            assert time.monotonic() < deadline, f"not so after {timeout} s: {found}\n{self.logs()[-3000:]}"
            await asyncio.sleep(0.01)


def stop(process: subprocess.Popen[Any], number: int = signal.SIGTERM, seconds: float = 60) -> int:
    """Signal a process and wait for its end."""
    if process.poll() is None:
        process.send_signal(number)
    return process.wait(seconds)


@asynccontextmanager
async def simulator(folder: Path, config: dict[str, Any]) -> AsyncIterator[Simulator]:
    """Run a simulator process."""
    errors = (folder / "simulator.log").open("wb")
    process = subprocess.Popen(  # noqa: ASYNC220 - once, before anything else runs
        [sys.executable, "-m", "broadcaster.simulator", "--port", "0", "--config", json.dumps(config)],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )
    errors.close()
    assert process.stdout is not None
    line = await asyncio.to_thread(process.stdout.readline)
    assert line, (folder / "simulator.log").read_text()
    url = json.loads(line)["url"]
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            yield Simulator(url, process, http)
    finally:
        stop(process)
        process.stdout.close()


@asynccontextmanager
async def deployment(folder: Path, *, workers: int = 1, **config: Any) -> AsyncIterator[Deployment]:
    """Run Redis, the simulator with these settings, and so many workers; all of it ends with the block."""
    with EmbeddedServer(folder / "redis", port=0) as redis:
        async with deployment_on(redis, redis.url, folder, workers=workers, **config) as made:
            yield made


@asynccontextmanager
async def deployment_on(
    redis: EmbeddedServer, url: str, folder: Path, *, workers: int = 1, replicas: int = 0, **config: Any
) -> AsyncIterator[Deployment]:
    """Do as `deployment` does with servers that are there already; `replicas` confirm intents."""
    async with simulator(folder, ENDLESS_QUEUES | config) as sim:
        environment = {
            **{
                k: v for k, v in os.environ.items() if not k.startswith(("TWILIO_", "BROADCASTER_", "REDIS_"))
            },
            "REDIS_URL": url,
            "TWILIO_API_BASE_URL": sim.url,
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "TWILIO_AUTH_TOKEN": "simulator",
            "BROADCASTER_KEY_PREFIX": PREFIX,
            "BROADCASTER_METRICS_PORT": "0",
            "BROADCASTER_LOG_FORMAT": "json",
            "BROADCASTER_BACKOFF_BASE_SECONDS": "0.2",
            "BROADCASTER_BACKOFF_CAP_SECONDS": "1",
            "BROADCASTER_LEASE_SECONDS": "2",
            # doubt is settled only where that is the subject of a test, which then brings its own times
            "BROADCASTER_SETTLE_SECONDS": "3600",
            "BROADCASTER_SETTLE_ALONE_SECONDS": "3600",
            # nor is Twilio asked for final states
            "BROADCASTER_POLL_AFTER_SECONDS": "86400",
        }
        store = await open_store(url, f"{PREFIX}:", replicas=replicas)
        made = Deployment(redis, sim, store, folder, environment)
        try:
            for _ in range(workers):
                made.start_worker()
            yield made
        finally:
            for worker in made.workers:
                if worker.poll() is None:
                    worker.kill()
                    worker.wait()
            await store.close()
