"""arq with one job per recipient, 64 at once: `arq_run.py COUNT httpx|aiohttp`."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import orjson
from arq import Worker, create_pool
from arq.connections import RedisSettings
from peer_measure import ACCOUNT, FORM, URL, Measure, number

COUNT, CLIENT = int(sys.argv[1]), sys.argv[2]
MEASURE = Measure(COUNT)
AT_ONCE = 64


async def by_httpx(ctx: dict[str, Any], to: str, body: str) -> str:
    answer = await ctx["http"].post(URL, data={**FORM, "To": to, "Body": body})
    MEASURE.one_more()
    return str(answer.json()["sid"])


async def by_aiohttp(ctx: dict[str, Any], to: str, body: str) -> str:
    async with ctx["http"].post(URL, data={**FORM, "To": to, "Body": body}) as answer:
        sid = orjson.loads(await answer.read())["sid"]
    MEASURE.one_more()
    return str(sid)


async def startup(ctx: dict[str, Any]) -> None:
    if CLIENT == "httpx":
        import httpx

        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        ctx["http"] = httpx.AsyncClient(auth=(ACCOUNT, "token"), verify=False, limits=limits)
    else:
        import aiohttp

        ctx["http"] = aiohttp.ClientSession(
            auth=aiohttp.BasicAuth(ACCOUNT, "token"),
            connector=aiohttp.TCPConnector(limit=AT_ONCE, ssl=False),
        )


async def shutdown(ctx: dict[str, Any]) -> None:
    await (ctx["http"].aclose() if CLIENT == "httpx" else ctx["http"].close())


async def main() -> None:
    settings = RedisSettings.from_dsn(os.environ["REDIS_URL"])
    pool = await create_pool(settings)
    await pool.flushall()
    work = by_httpx if CLIENT == "httpx" else by_aiohttp
    for index in range(COUNT):
        await pool.enqueue_job(work.__name__, number(index), FORM["Body"])
    worker = Worker(
        [work],
        redis_settings=settings,
        on_startup=startup,
        on_shutdown=shutdown,
        burst=True,
        max_jobs=AT_ONCE,
        poll_delay=0.01,
        handle_signals=False,
        keep_result=0,
    )
    await worker.async_run()


asyncio.run(main())
