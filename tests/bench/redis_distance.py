"""What the way to Redis costs: one worker, Redis so many milliseconds away, answers of Twilio after 100 ms.

    python tests/bench/redis_distance.py [--seconds 10]

For each distance: how fast one worker sends with 64 requests in flight (64 / 0.1 s = 640/s is the most), and
how long one message takes from its broadcast's start, on disk, to Twilio. A proxy of ours makes the distance;
it also says what Redis holds per recipient. Measured, not judged: exit code 0.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from delay_line import delay_line
from deployment import Deployment, deployment_on
from loading import load
from servers import Server

from broadcaster.domain.record import State

DISTANCES_MS = (0.0, 1.0, 5.0, 20.0)
ANSWER_MS = 100
SINGLES = 25
LANE = "+15550000001"


async def fastest(run: Deployment, seconds: float) -> tuple[float, float, float]:
    """Return messages a second, and CPU microseconds of worker and Redis for each."""
    total = int(seconds * 640)
    bid = await load(run.store, {LANE: total}, rates={LANE: 5_000.0}, batch=500)
    await run.until(lambda c: c.get(State.ACCEPTED, 0) >= total // 10, bid, 120)
    began, first = time.monotonic(), (await run.simulator.counts())["accepted"]
    worker, redis = run.worker_cpu_seconds(), await run.redis_cpu_seconds()
    await run.until(lambda c: c.get(State.ACCEPTED, 0) >= total * 9 // 10, bid, 300)
    sent = (await run.simulator.counts())["accepted"] - first
    rate = sent / (time.monotonic() - began)
    worker, redis = run.worker_cpu_seconds() - worker, await run.redis_cpu_seconds() - redis
    await run.settled(bid, 120)
    return rate, worker / sent * 1e6, redis / sent * 1e6


async def single(run: Deployment, place: int) -> float:
    """Return milliseconds from a broadcast's start to its one message's arrival."""
    bid = await load(run.store, {f"+1555100{place:04d}": 1}, first=9_000_000 + place)
    loaded = time.time()
    await run.settled(bid, 30)
    lines = await run.simulator.lines("accepted")
    return float((lines[-1]["received_at"] - loaded) * 1000)


async def bytes_each(run: Deployment, people: int = 100_000) -> float:
    """Return what Redis holds for each of so many recipients who wait."""
    before = (await run.store.redis.info("memory"))["used_memory"]
    await load(run.store, {"+15559999999": people}, batch=500, first=5_000_000, begin=False)
    after = (await run.store.redis.info("memory"))["used_memory"]
    return float(after - before) / people


async def measure(seconds: float) -> None:
    """Print a line for each distance."""
    print("round trip   messages/s   worker CPU   Redis CPU   start to Twilio, median and slowest")
    for distance in DISTANCES_MS:
        with tempfile.TemporaryDirectory() as name, Server(Path(name) / "redis") as server:
            assert server.port
            config = {"latency_ms": ANSWER_MS}
            async with (
                deployment_on(server, server.url, Path(name), workers=0, **config) as run,
                delay_line(server.port, distance / 1000) as port,
            ):
                at = server.tcp_url if not distance else f"redis://127.0.0.1:{port}/0"
                run.start_worker(REDIS_URL=at)
                rate, worker, redis = await fastest(run, seconds)
                ms = sorted([await single(run, place) for place in range(SINGLES)])
                print(
                    f"{distance:7.0f} ms {rate:12.0f} {worker:9.0f} µs {redis:8.0f} µs"
                    f"   {statistics.median(ms):6.1f} ms {ms[-1]:8.1f} ms",
                    flush=True,
                )
                if not distance:
                    each = await bytes_each(run)
    print(f"Redis holds {each:.0f} bytes for each recipient (without variables, batches of 500)")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    asyncio.run(measure(options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
