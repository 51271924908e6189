"""SAQ with one job per recipient over aiohttp, 64 at once: `saq_run.py COUNT`."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import aiohttp
import orjson
from peer_measure import ACCOUNT, FORM, URL, Measure, number
from saq import Queue, Worker

COUNT = int(sys.argv[1])
MEASURE = Measure(COUNT)
AT_ONCE = 64


async def send(ctx: dict[str, Any], *, to: str, body: str) -> str:
    async with ctx["http"].post(URL, data={**FORM, "To": to, "Body": body}) as answer:
        sid = orjson.loads(await answer.read())["sid"]
    MEASURE.one_more()
    return str(sid)


async def startup(ctx: dict[str, Any]) -> None:
    ctx["http"] = aiohttp.ClientSession(
        auth=aiohttp.BasicAuth(ACCOUNT, "token"), connector=aiohttp.TCPConnector(limit=AT_ONCE, ssl=False)
    )


async def main() -> None:
    queue = Queue.from_url(os.environ["REDIS_URL"])
    await queue.connect()
    await queue.redis.flushall()
    for index in range(COUNT):
        await queue.enqueue("send", to=number(index), body=FORM["Body"])
    worker = Worker(queue, functions=[send], concurrency=AT_ONCE, startup=startup)
    working = asyncio.create_task(worker.start())
    await MEASURE.all_done.wait()
    working.cancel()
    os._exit(0)  # what it would still tidy up is not measured


asyncio.run(main())
