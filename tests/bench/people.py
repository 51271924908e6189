"""Ten million people archived, and removed: how long Redis is busy at once, and what memory it takes.

Run: `PYTHONPATH=.:tests:tests/redis python tests/bench/people.py [--people 1000000]`. It loads a broadcast
that has ended, archives it, removes its people while another connection asks for an answer all the time, and
exits with 1 if one came later than the bound, if the archive took memory by the list's length, or if Redis
keeps more than a little.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import resource
import sys
import tempfile
import time
from pathlib import Path

from driving import LANE
from loading import load

from broadcaster.lanes import control
from broadcaster.operations.retention import DAY_SECONDS, remove_old
from broadcaster.reporting.archive import archive
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.store.connection import Store, open_store
from broadcaster.store.embedded import EmbeddedServer
from workers.jobs import skip_unsent

BATCH = 500
#: On an idle machine; a command of Redis takes a tenth of it.
SLOWEST_MS = 50.0
GROWN_KB = 64 * 1024
LEFT_BYTES = 2_000_000


async def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=1_000_000)
    people = parser.parse_args().people
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder)) as server:
        store = await open_store(server.url)
        try:
            return await measure(store, people, Path(folder))
        finally:
            await store.close()


async def measure(store: Store, people: int, folder: Path) -> int:
    empty = await memory(store)
    began = time.perf_counter()
    bid = await load(store, {LANE: people}, batch=BATCH, begin=False)
    await store.run(control.cancel(bid, "bench"))
    await skip_unsent({"store": store}, bid)
    print(f"loaded and ended: {people:,} in {time.perf_counter() - began:.1f} s")
    full = await memory(store)
    faults = []

    rss, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    view = await read_broadcast(store, bid)
    assert view is not None
    path = folder / "archive.gz"
    with path.open("wb") as file:
        async for piece in archive(store, view):
            file.write(piece)
    took = time.perf_counter() - began
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss
    print(f"archived: {people / took:,.0f}/s, {path.stat().st_size:,} bytes, memory grown by {grown:,} kB")
    if grown > GROWN_KB:
        faults.append(f"the archive took {grown:,} kB")
    with gzip.open(path) as archived:
        lines = sum(1 for _ in archived)
    if lines != people + 1:
        faults.append(f"the archive has {lines - 1:,} messages")

    other, slowest, asked, done = await open_store(store.url), 0.0, 0, asyncio.Event()

    async def watch() -> None:
        nonlocal slowest, asked
        while not done.is_set():
            at = time.perf_counter()
            await asyncio.to_thread(lambda: None)  # the loop's own stalls, too, are a worker's
            await other.redis.ping()
            slowest = max(slowest, time.perf_counter() - at)
            asked += 1
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    now, _ = await store.redis.time()
    before = await store.redis.info("commandstats")
    began = time.perf_counter()
    await remove_old(store, 30, now + 31 * DAY_SECONDS)
    took = time.perf_counter() - began
    done.set()
    await watching
    await other.close()
    scripts = await store.redis.info("commandstats")
    busy = (scripts["cmdstat_evalsha"]["usec"] - before["cmdstat_evalsha"]["usec"]) / 1e6
    log = await store.redis.slowlog_get(100)
    slow = sorted((e["duration"] / 1000, e["command"][:60]) for e in log if e["start_time"] >= now)
    longest = slow[-1] if slow else (0.0, b"none above 10 ms")
    left = await memory(store) - empty
    print(f"removed: {people / took:,.0f}/s in {took:.1f} s, Redis busy with scripts {busy:.1f} s of it")
    print(f"slowest of {asked:,} answers: {slowest * 1000:.1f} ms; longest command {longest[0]:.1f} ms")
    print(f"the longest: {longest[1]!r}, of {len(slow)} above 10 ms")
    print(f"memory: {full - empty:,} bytes before, {left:,} after")
    if slowest * 1000 > SLOWEST_MS:
        faults.append(f"an answer took {slowest * 1000:.1f} ms")
    if left > LEFT_BYTES:
        faults.append(f"{left:,} bytes are left")
    after = await read_broadcast(store, bid)
    if after is None or sum(after.counts.values()) != people:
        faults.append("the counts don't add up")
    for fault in faults:
        print(f"BROKEN: {fault}", file=sys.stderr)
    return 1 if faults else 0


async def memory(store: Store) -> int:
    await store.redis.execute_command("MEMORY", "PURGE")
    return int((await store.redis.info("memory"))["used_memory_dataset"])


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
