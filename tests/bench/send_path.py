"""The whole send path of one worker on one core, beside the bare HTTP client loop, in one run.

    python tests/bench/send_path.py --sink http://127.0.0.1:8099 --recipients 60000 --repeats 3

`--sink` is a server that answers every POST like Twilio with a fresh SID (nginx with `return 201`); with two
cores or more, worker and loop run on core 0, Redis and whatever else on the others. Prints a line for each
run and the ratio of the medians. Timings are no test: the ratio is what holds on any machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from loading import load
from pinning import cpu_seconds, on_core

from broadcaster.domain.record import State
from broadcaster.store.connection import open_store
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

ACCOUNT = "AC" + "0" * 31 + "1"
FAST = 100_000.0


async def accepted(store: Store, bid: str) -> tuple[bytes, int]:
    """Return a broadcast's state and how many were accepted."""
    state, count = await store.redis.hmget(store.keys.broadcast(bid), "state", f"n{int(State.ACCEPTED)}")
    return state, int(count or 0)


async def run_ours(
    options: argparse.Namespace, url: str, lanes: int
) -> tuple[float, float, dict[str, float]]:
    """Send one broadcast; return messages a second, CPU microseconds a message, and what Redis did."""
    store = await open_store(url, "bench:")
    await store.redis.flushall()
    await store.close()
    store = await open_store(url, "bench:")
    before = await store.redis.info("memory")
    per_lane = options.recipients // lanes
    senders = {f"+1555{i:07d}": per_lane for i in range(lanes)}
    bid = await load(
        store, senders, rates=dict.fromkeys(senders, FAST), batch=500, body="hello there, this is an alert"
    )
    after = await store.redis.info("memory")
    environment = {
        **os.environ,
        "REDIS_URL": url,
        "TWILIO_API_BASE_URL": options.sink,
        "TWILIO_ACCOUNT_SID": ACCOUNT,
        "TWILIO_AUTH_TOKEN": "token",
        "BROADCASTER_KEY_PREFIX": "bench",
        "BROADCASTER_LOG_LEVEL": "warning",
        "BROADCASTER_METRICS_PORT": "0",
    }
    commands = (await store.redis.info("stats"))["total_commands_processed"]
    redis_cpu = await store.redis.info("cpu")
    worker = subprocess.Popen(  # noqa: ASYNC220 - once, before anything is timed
        [*on_core(0), sys.executable, "-m", "workers", "--concurrency", str(options.width)], env=environment
    )
    try:
        first = int(per_lane * lanes * 0.1)
        state, done = b"running", 0
        while done < first:
            await asyncio.sleep(0.002)
            state, done = await accepted(store, bid)
        began, cpu, begun = time.perf_counter(), cpu_seconds(worker.pid), done
        while state == b"running":
            await asyncio.sleep(0.01)
            state, done = await accepted(store, bid)
        seconds, spent = time.perf_counter() - began, cpu_seconds(worker.pid) - cpu
    finally:
        worker.terminate()
        worker.wait()
    now_cpu = await store.redis.info("cpu")
    total = per_lane * lanes
    facts = {
        "bytes/recipient": (after["used_memory"] - before["used_memory"]) / total,
        "redis commands/message": ((await store.redis.info("stats"))["total_commands_processed"] - commands)
        / total,
        "redis CPU us/message": (
            now_cpu["used_cpu_user"]
            + now_cpu["used_cpu_sys"]
            - redis_cpu["used_cpu_user"]
            - redis_cpu["used_cpu_sys"]
        )
        / total
        * 1e6,
    }
    await store.close()
    return (done - begun) / seconds, spent / (done - begun) * 1e6, facts


def run_loop(options: argparse.Namespace) -> tuple[float, float]:
    """Run the bare pyreqwest loop in a process of its own."""
    out = subprocess.run(
        [
            *on_core(0),
            sys.executable,
            str(Path(__file__).with_name("bare_loop.py")),
            options.sink,
            str(options.recipients),
            str(options.width),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    return float(out[0]), float(out[1])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sink", required=True)
    parser.add_argument("--recipients", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lanes", type=int, default=1)
    options = parser.parse_args()
    ours, loops = [], []
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder), port=0) as server:
        if (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(server.process.pid if server.process else 0, {1})
        for _ in range(options.repeats):
            rate, cpu = run_loop(options)
            loops.append(rate)
            print(f"loop {rate:.0f} messages/s {cpu:.1f} CPU-us/message", flush=True)
            rate, cpu, facts = asyncio.run(run_ours(options, server.url, options.lanes))
            ours.append(rate)
            print(
                f"ours {rate:.0f} messages/s {cpu:.1f} CPU-us/message",
                {k: round(v, 1) for k, v in facts.items()},
                flush=True,
            )
    mine, loop = statistics.median(ours), statistics.median(loops)
    print(f"median ours {mine:.0f} loop {loop:.0f} ratio {mine / loop:.2f}")


if __name__ == "__main__":
    main()
