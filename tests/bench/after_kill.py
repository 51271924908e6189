"""How long after `kill -9` of a worker its lanes go on, and how long what it held waits: default lease.

    python tests/bench/after_kill.py [--kills 5] [--json FILE] [--quick]

Three ways: another worker lives; it was the only one and is started anew at once; both that were on duty are
killed and a third lives. "next" is the next message on a lane it served, "held" the last one of those that it
had claimed and not yet begun to send.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path

import msgpack

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from deployment import Deployment, deployment
from loading import counts, load, records
from measured import Report, Row, write

from broadcaster.domain.record import State
from broadcaster.settings import Settings
from broadcaster.store.batches import unpack_batch

LANES = {"+15550000001": 100.0, "+15550000002": 50.0, "+15550000003": 20.0}
WAYS = {
    1: "the only worker, started anew at once",
    2: "another worker lives",
    3: "both on duty are killed, a third lives",
}
COMMAND = "python tests/bench/after_kill.py"
DEFAULT_LEASE = str(Settings.model_fields["lease_seconds"].default)


async def held(run: Deployment, bid: str, pid: int) -> set[str]:
    """Return whom the worker with that pid had claimed and not begun to send to."""
    store, found = run.store, set[str]()
    ledger = await records(store, bid)
    async for key in store.redis.scan_iter(f"{store.keys.prefix}worker:*-{pid}-*:claims"):
        for raw in (await store.redis.hgetall(key)).values():
            _, _, batch, items = msgpack.unpackb(raw)
            to = unpack_batch(await store.redis.get(store.keys.batch(bid, batch))).to
            for item in items.split(","):
                row = int(item.partition(":")[0])
                if ledger[batch, row].state in (State.QUEUED, State.RETRY):
                    found.add(to[row])
    return found


async def one(folder: Path, chance: random.Random, workers: int) -> tuple[float, float, int]:
    """Kill all workers but one (or the only one) at some moment.

    Returns the seconds to their lanes' next messages, and to the last one they held.
    """
    async with deployment(folder, workers=0, latency_ms=50) as run:
        processes = []
        for place in range(workers):  # one after the other: the first two are on duty
            processes.append(run.start_worker(BROADCASTER_LEASE_SECONDS=DEFAULT_LEASE))
            while await run.store.redis.zcard(run.store.keys.plain("workers")) <= place:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        total = {lane: int(rate * 16) for lane, rate in LANES.items()}
        bid = await load(run.store, total, rates=LANES, batch=100)
        at = chance.uniform(0.1, 0.3) * sum(total.values())
        await run.until(lambda c: c.get(State.ACCEPTED, 0) > at, bid)
        killed = time.time()
        lost = processes[: max(1, workers - 1)]
        for process in lost:
            process.kill()
        waiting = set[str]()
        for process in lost:
            process.wait()
            waiting |= await held(run, bid, process.pid)
        if workers == 1:
            run.start_worker(BROADCASTER_LEASE_SECONDS=DEFAULT_LEASE)
        await run.until(lambda c: not c.get(State.QUEUED) and not c.get(State.SENDING), bid, timeout=60)
        lines = await run.simulator.lines("accepted")
        after = [row for row in lines if row["received_at"] > killed + 0.05]
        nexts = [min(r["received_at"] for r in after if r["from"] == lane) - killed for lane in LANES]
        last = max((r["received_at"] for r in after if r["to"] in waiting), default=killed) - killed
        assert sum((await counts(run.store, bid)).values()) == sum(total.values())
        return max(nexts), last, len(waiting)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 1, 3])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.kills, options.workers = 1, [2]
    chance, rows = random.Random(1), []
    for workers in options.workers:
        what, seen = WAYS[workers], []
        print(f"{what} (lease {DEFAULT_LEASE} s)")
        for _ in range(options.kills):
            with tempfile.TemporaryDirectory() as folder:
                following, last, many = asyncio.run(one(Path(folder), chance, workers))
            print(f"  next {following:5.2f} s   held {last:5.2f} s ({many} messages)", flush=True)
            seen.append(max(following, last))
        rows.append(Row(f"crash.takeover.{workers}", f"kill to takeover: {what}", "s", tuple(seen), COMMAND))
    most = tuple(max(row.samples) for row in rows)
    rows.insert(0, Row("crash.takeover", "kill to takeover, the most of each way", "s", most, COMMAND))
    write(Report("after_kill", tuple(rows)), options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
