"""One worker process as it runs in production, its Redis and the sink, and what both spend while it sends.

The worker has core 0 to itself; Redis, the sink and whoever loads work are on the other. It logs as it does
by default (to nowhere), serves its metrics, and runs its arq jobs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pinning import MEASURED, OTHERS, cpu_seconds, on_core, pin
from sink import sink

from broadcaster.domain.record import State
from broadcaster.store.connection import open_store
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from sink import Sink

    from broadcaster.store.connection import Store

ACCOUNT: Final = "AC" + "0" * 31 + "1"
LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Spent:
    """What sending so many messages took, or all that it took until a moment (`now`).

    CPU in seconds, of the worker's process and of Redis'; `commands` are those that Redis processed.
    """

    messages: int
    seconds: float
    worker: float
    redis: float
    commands: int

    def since(self, before: Spent) -> Spent:
        """Return what came after `before`."""
        return Spent(
            self.messages - before.messages,
            self.seconds - before.seconds,
            self.worker - before.worker,
            self.redis - before.redis,
            self.commands - before.commands,
        )

    @property
    def worker_us(self) -> float:
        """CPU microseconds of the worker for a message."""
        return self.worker / max(1, self.messages) * 1e6

    @property
    def redis_us(self) -> float:
        """CPU microseconds of Redis for a message."""
        return self.redis / max(1, self.messages) * 1e6

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds


class Bed:
    """Redis, the sink, and a store to load work through; `fresh` empties it."""

    def __init__(self, redis_url: str, answering: Sink) -> None:
        self.url = redis_url
        self.sink = answering.plain
        self.sink_with_tls = answering.tls
        self.certificate = answering.certificate
        self.store: Store

    async def fresh(self) -> None:
        """Begin with an empty installation."""
        store = await open_store(self.url, "bench:")
        await store.redis.flushall()
        await store.close()
        self.store = await open_store(self.url, "bench:")

    @contextlib.contextmanager
    def worker(
        self,
        *,
        core: int | None = MEASURED,
        log_level: str = "info",
        sink_url: str | None = None,
        concurrency: int = 64,
        trusted: Path | None = None,
        poll_after: float | None = None,
    ) -> Iterator[int]:
        """Run a worker; yields its pid. `core` None leaves it where it likes to be, at a low priority.

        It posts to `sink_url` if that isn't the bed's own, and trusts this certificate alone if one is given,
        as OpenSSL's variable names it. It asks `poll_after` so many seconds what became of a message.
        """
        environment = {
            **os.environ,
            **({} if trusted is None else {"SSL_CERT_FILE": str(trusted)}),
            **({} if poll_after is None else {"BROADCASTER_POLL_AFTER_SECONDS": str(poll_after)}),
            "REDIS_URL": self.url,
            "TWILIO_API_BASE_URL": sink_url or self.sink,
            "BROADCASTER_CONCURRENCY": str(concurrency),
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": "token",
            "BROADCASTER_KEY_PREFIX": "bench",
            "BROADCASTER_LOG_LEVEL": log_level,
            "BROADCASTER_METRICS_PORT": "0",
        }
        where = ["nice", "-n", "15"] if core is None else on_core(core)
        process = subprocess.Popen(
            [*where, sys.executable, "-m", "workers"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait(60)

    async def ready(self) -> None:
        """Wait until a worker has asked for work, and found none."""
        keys = self.store.keys
        while True:
            for worker in await self.store.redis.zrange(keys.plain("workers"), 0, -1):
                if await self.store.redis.hexists(keys.worker(worker.decode()), "nonce"):
                    return
            await asyncio.sleep(LOOK_SECONDS)

    async def now(self, pid: int, broadcasts: Sequence[str]) -> Spent:
        """Look at what has been spent so far, and how many of these broadcasts' messages were accepted."""
        async with self.store.redis.pipeline(transaction=False) as pipe:
            for bid in broadcasts:
                pipe.hget(self.store.keys.broadcast(bid), f"n{int(State.ACCEPTED)}")
            counts = await pipe.execute()
        cpu, stats = await self.store.redis.info("cpu"), await self.store.redis.info("stats")
        return Spent(
            sum(int(count or 0) for count in counts),
            time.perf_counter(),
            cpu_seconds(pid),
            cpu["used_cpu_user"] + cpu["used_cpu_sys"],
            stats["total_commands_processed"],
        )

    async def until(self, pid: int, broadcasts: Sequence[str], messages: int) -> Spent:
        """Wait until so many were accepted; then look."""
        while True:
            spent = await self.now(pid, broadcasts)
            if spent.messages >= messages:
                return spent
            await asyncio.sleep(LOOK_SECONDS)

    async def while_sending(
        self, pid: int, broadcasts: Sequence[str], *, warm: int, seconds: float, most: int
    ) -> Spent:
        """Return what was spent in so many seconds, or until `most` were accepted, after `warm` messages."""
        begun = await self.until(pid, broadcasts, warm)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            now = await self.now(pid, broadcasts)
            if now.messages >= most or now.seconds - begun.seconds >= seconds:
                return now.since(begun)

    async def memory(self) -> int:
        """Return the bytes that Redis uses for data."""
        return int((await self.store.redis.info("memory"))["used_memory"])


@contextlib.asynccontextmanager
async def bed() -> AsyncIterator[Bed]:
    """Start Redis as we start it, and the sink."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer(Path(folder), port=0) as server,
        sink() as answering,
    ):
        if server.process is not None:
            pin(server.process.pid, OTHERS)
        made = Bed(server.url, answering)
        await made.fresh()
        try:
            yield made
        finally:
            await made.store.close()
