"""How many `POST /v1/messages` one API process on one core takes, beside a bare FastAPI route answering 202.

python tests/bench/api_messages.py [--seconds 10] [--connections 64]      needs wrk; prints the load's command

The API has core 0 to itself, Redis and wrk share core 1. Then, on an idle lane: from the request's first byte
to Twilio's having the POST, p50 and p99.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
from deployment import deployment
from serving import free_port, key_for, serving

from broadcaster.lanes.control import pause_account, set_rate
from broadcaster.store.connection import open_store
from broadcaster.store.embedded import EmbeddedServer

SCRIPT = Path(__file__).with_name("post_messages.lua")
SENDER = "+15550000001"
BARE = """
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
class Message(BaseModel):
    to: str
    body: str
app = FastAPI()
@app.post("/v1/messages", status_code=202)
async def post(message: Message) -> dict:
    return {"messages": [{"id": "0", "to": message.to, "state": "queued", "reference": None}]}
uvicorn.run(app, port=PORT, log_level="error", access_log=False, loop="uvloop")
"""


def load(url: str, key: str, seconds: int, connections: int) -> dict[str, Any]:
    """Run wrk against one API."""
    command = f"taskset -c 1 wrk -t1 -c{connections} -d{seconds} -s {SCRIPT} {url}/v1/messages"
    told = subprocess.run(
        shlex.split(command),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "BROADCASTER_API_KEY": key},
    )
    print(f"$ {command.replace(str(SCRIPT), 'tests/bench/post_messages.lua')}")
    result: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    result["per_second"] = round(result["requests"] / result["seconds"])
    return result


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pin(pid: int, core: int) -> None:
    """Keep a process, with its threads, on one core."""
    subprocess.run(["taskset", "-acp", str(core), str(pid)], check=True, capture_output=True)


async def bare(seconds: int, connections: int) -> dict[str, Any]:
    """Measure FastAPI doing nothing."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", BARE.replace("PORT", str(port))])  # noqa: ASYNC220
    try:
        pin(process.pid, 0)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            async with asyncio.timeout(20):
                while True:
                    try:
                        await client.post("/v1/messages", json={"to": "+1", "body": "x"})
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
        before = cpu_seconds(process.pid)
        result = await asyncio.to_thread(load, f"http://127.0.0.1:{port}", "none", seconds, connections)
        return result | {"cpu_us": round((cpu_seconds(process.pid) - before) / result["requests"] * 1e6)}
    finally:
        process.kill()
        process.wait()


async def ours(folder: Path, seconds: int, connections: int) -> dict[str, Any]:
    """Measure the API; nothing is sent meanwhile, and what was accepted is counted in Redis."""
    with EmbeddedServer(folder / "redis", port=0) as redis:
        store = await open_store(redis.url, "bc:")
        redis_pid = int((await store.redis.info("server"))["process_id"])
        pin(redis_pid, 1)
        await store.run(pause_account("the benchmark"))
        async with serving(store) as api:
            pin(api.process.pid, 0)
            key = await key_for(store, rate=1e5)
            await asyncio.to_thread(load, api.url, key, 2, connections)  # warm
            before, cpu = await queued(store), cpu_seconds(api.process.pid)
            redis_cpu = cpu_seconds(redis_pid)
            result = await asyncio.to_thread(load, api.url, key, seconds, connections)
            result["cpu_us"] = round((cpu_seconds(api.process.pid) - cpu) / result["requests"] * 1e6)
            result["redis_cpu_us"] = round((cpu_seconds(redis_pid) - redis_cpu) / result["requests"] * 1e6)
            result["in_redis"] = await queued(store) - before
        await store.close()
    return result


async def queued(store: Any) -> int:
    """Count the messages of all streams."""
    keys = store.keys
    names = await store.redis.zrange(keys.plain("streams"), 0, -1)
    totals = [await store.redis.hget(keys.broadcast(name.decode()), "total") for name in names]
    return sum(int(total or 0) for total in totals)


async def accept_to_post(folder: Path, count: int) -> dict[str, float]:
    """Measure from a request to Twilio's having the message, one at a time, on an idle lane."""
    took: list[float] = []
    async with deployment(folder, latency_ms=0) as run:
        mine = {n: v for n, v in run.environment.items() if n.startswith(("TWILIO_", "BROADCASTER_"))}
        await run.store.run(set_rate(SENDER, 1_000))
        async with serving(run.store, **mine, TWILIO_PHONE_NUMBER=SENDER) as api:
            for number in range(count):
                began = time.time()
                body = {"to": f"+1415{number:07d}", "body": "x"}
                (await api.client.post("/v1/messages", json=body)).raise_for_status()
                took.append(began)
                async with asyncio.timeout(10):
                    while (await run.simulator.counts())["accepted"] <= number:  # noqa: ASYNC110
                        await asyncio.sleep(0.001)
        arrived = {line["to"]: line["received_at"] for line in await run.simulator.lines("accepted")}
    delays = sorted(arrived[f"+1415{n:07d}"] - began for n, began in enumerate(took))[1:]
    cuts = quantiles([delay * 1000 for delay in delays], n=100)
    return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2)}


async def main(seconds: int, connections: int) -> None:
    """Print all of it."""
    for name, measured in (
        ("a bare FastAPI route", await bare(seconds, connections)),
        ("POST /v1/messages", await _in_folder(lambda folder: ours(folder, seconds, connections))),
        ("the bare route again", await bare(seconds, connections)),
    ):
        print(f"{name}: {json.dumps(measured)}")
    print(f"accept to POST, idle lane: {json.dumps(await _in_folder(lambda f: accept_to_post(f, 300)))}")


async def _in_folder(work: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return await work(Path(folder))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    asyncio.run(main(options.seconds, options.connections))
