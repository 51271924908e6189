"""Workers as they are deployed, with all defaults, on core 0; Redis and a recording sink on the other."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arrivals import Sink, recording_sink
from loading import counts
from pinning import MEASURED, OTHERS, cpu_seconds, on_core, pin

from broadcaster.store.connection import Store, open_store
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from broadcaster.domain.record import State

ACCOUNT = "AC" + "0" * 31 + "1"
PREFIX = "bench"


@dataclass
class Fleet:
    """Workers, each known to the sink by its number, beside what they share."""

    store: Store
    redis_pid: int
    sink: Sink
    folder: Path
    environment: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, *, core: int | None = MEASURED, **environment: str) -> subprocess.Popen[bytes]:
        """Start one more, on one core or on any."""
        number = len(self.workers)
        own = {"TWILIO_API_BASE_URL": self.sink.base_url(number), **environment}
        with (self.folder / f"worker-{number}.log").open("wb") as log:
            worker = subprocess.Popen(
                [*(() if core is None else on_core(core)), sys.executable, "-m", "workers"],
                env={**self.environment, **own},
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self.workers.append(worker)
        return worker

    async def joined(self, wanted: int, patience_seconds: float = 120.0) -> None:
        """Wait until so many have a lease."""
        deadline = time.monotonic() + patience_seconds
        while await self.store.redis.zcard(self.store.keys.plain("workers")) != wanted:
            assert time.monotonic() < deadline, self.logs()
            await asyncio.sleep(0.05)

    async def stop_workers(self) -> None:
        """End them in good order."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self.workers:
            await asyncio.to_thread(worker.wait, 60)
        self.workers.clear()

    async def until(
        self,
        condition: Callable[[dict[State, int]], bool],
        broadcast: str,
        patience_seconds: float = 60.0,
    ) -> None:
        """Wait until a broadcast's counters say so."""
        deadline = time.monotonic() + patience_seconds
        while not condition(found := await counts(self.store, broadcast)):
            assert time.monotonic() < deadline, f"not so: {found}\n{self.logs()}"
            await asyncio.sleep(0.05)

    def cpu_seconds(self) -> float:
        """Return the CPU time of all workers that run."""
        return sum(cpu_seconds(worker.pid) for worker in self.workers if worker.poll() is None)

    def redis_cpu_seconds(self) -> float:
        """Return the CPU time of Redis."""
        return cpu_seconds(self.redis_pid)

    def logs(self) -> str:
        """Return the end of what the workers logged."""
        return "".join(path.read_text()[-1000:] for path in sorted(self.folder.glob("worker-*.log")))


@asynccontextmanager
async def fleet(*, latency_ms: float = 0.0, **environment: str) -> AsyncIterator[Fleet]:
    """Run Redis and the sink, and no worker yet; `environment` is for all. It ends with the block."""
    with (
        tempfile.TemporaryDirectory() as name,
        EmbeddedServer(Path(name) / "redis", port=0) as server,
        recording_sink(latency_ms) as sink,
    ):
        store = await open_store(server.url, f"{PREFIX}:")
        redis_pid = int((await store.redis.info("server"))["process_id"])
        pin(redis_pid, OTHERS)
        ours = ("TWILIO_", "BROADCASTER_", "REDIS_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # to compile anew takes each worker seconds
        settings: dict[str, Any] = {
            "REDIS_URL": server.url,
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": "token",
            "BROADCASTER_KEY_PREFIX": PREFIX,
            "BROADCASTER_METRICS_PORT": "0",
            "BROADCASTER_LOG_LEVEL": "warning",
            # nor does anybody ask the sink what became of them
            "BROADCASTER_POLL_AFTER_SECONDS": "86400",
        }
        made = Fleet(store, redis_pid, sink, Path(name), {**inherited, **settings, **environment})
        try:
            yield made
        finally:
            for worker in made.workers:
                worker.kill()
                worker.wait()
            await store.close()
