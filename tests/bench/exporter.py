"""What a scrape of the exporter takes and costs: with ten lanes, and with ten thousand that have work.

    python tests/bench/exporter.py [--scrapes 50]

A real exporter process in front of an embedded server: so many lanes with work, broadcasts that run (up to
200), 5,000 that have ended. Prints the time of a scrape, the calls that kept Redis busy, what Redis and the
exporter spend, the size of the answer. Exits 1 if the median scrape takes more than 25 ms, or the longest
of those calls more than 3 ms beyond the longest single command in them: a command takes microseconds, so that
is how long Redis waited for a core. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "redis")]

from driving import join  # noqa: E402
from loading import load  # noqa: E402
from pinning import cpu_seconds, resident_bytes  # noqa: E402

from broadcaster.store.connection import Store, open_store  # noqa: E402
from broadcaster.store.embedded import EmbeddedServer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDED = 5_000
MOST_MS, CALL_MS = 25.0, 3.0
REST_SECONDS = 10.0


@dataclass
class Found:
    """Times in ms; `waited`: the longest single command.

    `at_rest` is CPU a second while nobody scrapes, `a_scrape` what one adds to that.
    """

    times: list[float]
    calls: list[float]
    waited: float
    redis_at_rest: float
    redis_a_scrape: float
    exporter_at_rest: float
    exporter_a_scrape: float
    rss_mb: float
    answer: int


async def fill(store: Store, lanes: int) -> None:
    """Put work onto so many lanes, and broadcasts that have ended beside it."""
    running = min(200, lanes)
    each = lanes // running
    for number in range(running):
        names = [f"+1415{number * each + i:07d}" for i in range(each)]
        await load(store, dict.fromkeys(names, 4), rates=dict.fromkeys(names, 1.0), first=number * each * 4)
    async with store.redis.pipeline(transaction=False) as pipe:
        for number in range(ENDED):
            key = store.keys.broadcast(f"ended{number}")
            pipe.hset(
                key, mapping={"state": "completed", "total": 1000, "n6": 990, "n10": 10, "spec": "x" * 500}
            )
            pipe.zadd(store.keys.plain("bcs"), {f"ended{number}": number})
        await pipe.execute()
    await join(store, lease_seconds=3600)


@contextlib.contextmanager
def exporter(url: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run an exporter process; its port is the second."""
    process = subprocess.Popen(
        [sys.executable, "-m", "broadcaster.exporter", "--port", "0"],
        env={**os.environ, "REDIS_URL": url, "BROADCASTER_KEY_PREFIX": "bc"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, int(json.loads(process.stdout.readline())["url"].rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait(20)


def scrape(port: int) -> bytes:
    """Ask once, over a connection of its own as Prometheus may."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    body = connection.getresponse().read()
    connection.close()
    return body


async def cpu(store: Store, pid: int) -> tuple[float, float]:
    """Return the CPU seconds of Redis and of a process so far."""
    info: Any = await store.redis.info("cpu")
    return info["used_cpu_user"] + info["used_cpu_sys"], cpu_seconds(pid)


async def measure(lanes: int, scrapes: int) -> Found:
    """Fill a server, scrape, rest."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder), port=0) as server:
        store = await open_store(server.url)
        await fill(store, lanes)
        with exporter(server.url) as (process, port):
            await ready(port, lanes)
            await store.redis.config_set("slowlog-log-slower-than", 100)
            await store.redis.slowlog_reset()
            before, began = await cpu(store, process.pid), time.monotonic()
            await asyncio.sleep(REST_SECONDS)
            after, lasted = await cpu(store, process.pid), time.monotonic() - began
            rest = [(b - a) / lasted for a, b in zip(before, after, strict=True)]
            times, size, began = [], 0, time.monotonic()
            before = after
            for _ in range(scrapes):
                at = time.perf_counter()
                size = len(await asyncio.to_thread(scrape, port))
                times.append((time.perf_counter() - at) * 1000)
                await asyncio.sleep(0.1)
            after, lasted = await cpu(store, process.pid), time.monotonic() - began
            added = [((b - a) - r * lasted) / scrapes for a, b, r in zip(before, after, rest, strict=True)]
            slow: Any = await store.redis.slowlog_get(200)
            ours = [entry["duration"] / 1000 for entry in slow if b"EVALSHA" in entry["command"][:10]]
            single = [entry["duration"] / 1000 for entry in slow if b"EVALSHA" not in entry["command"][:10]]
            rss = resident_bytes(process.pid) / 1024**2
        await store.close()
    return Found(
        times, sorted(ours), max(single, default=0.0), rest[0], added[0], rest[1], added[1], rss, size
    )


async def ready(port: int, lanes: int) -> None:
    """Wait until all is shown."""
    wanted = f'broadcaster_lanes{{state="sending"}} {lanes}'.encode()
    async with asyncio.timeout(60):
        while True:
            body = await asyncio.to_thread(scrape, port)
            if wanted in body and b"broadcaster_dead_letters 50000" in body:
                return
            await asyncio.sleep(0.2)


def percentile(times: list[float], share: float) -> float:
    """Return the value that `share` of `times` don't exceed."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scrapes", type=int, default=50)
    options = parser.parse_args()
    failed = False
    for lanes in (10, 10_000):
        found = asyncio.run(measure(lanes, options.scrapes))
        median = statistics.median(found.times)
        print(f"{lanes:,} lanes with work, {min(200, lanes)} broadcasts running, {ENDED:,} ended:")
        p99 = percentile(found.times, 0.99)
        print(f"  a scrape: median {median:.1f} ms, p99 {p99:.1f} ms; {found.answer:,} bytes")
        calls = found.calls or [0.0]
        nine_in_ten = percentile(calls, 0.9)
        print(
            f"  calls of more than 0.1 ms in Redis: median {statistics.median(calls):.2f} ms, "
            f"nine in ten {nine_in_ten:.2f}, longest {calls[-1]:.2f}"
        )
        redis, ours = found.redis_a_scrape * 1000, found.exporter_a_scrape * 1000
        print(f"  a scrape costs Redis {redis:.2f} ms, the exporter {ours:.1f} ms CPU")
        redis, ours = found.redis_at_rest, found.exporter_at_rest
        print(
            f"  beside scrapes: Redis {redis:.2%} of a core, exporter {ours:.2%}; RSS {found.rss_mb:.0f} MB"
        )
        kept = median <= MOST_MS and calls[-1] - found.waited <= CALL_MS
        print(
            f"  longest single command {found.waited:.2f} ms; a scrape in {MOST_MS:g} ms, "
            f"calls of {CALL_MS:g} ms beyond that: {'kept' if kept else 'missed'}"
        )
        failed = failed or not kept
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
