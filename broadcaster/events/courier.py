"""Delivering: each endpoint by itself, by one worker at a time, so that none waits for another.

`round` is called every second (arq's cron, workers/jobs.py) on some worker. It finds endpoints with something
due and lets a task serve each: what happened becomes deliveries, in one step with the endpoint's place in
the stream, and these are posted, some at once. A worker that dies leaves everything in Redis; whoever takes
over posts again what was under way, under the same `webhook-id`.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from broadcaster.events import queue, stream
from broadcaster.events.endpoints import read_endpoints
from broadcaster.events.serving import Pace, Serving
from broadcaster.store.ending import end
from broadcaster.store.errors import StoreError

if TYPE_CHECKING:
    from broadcaster.events.sending import Postman
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics

log = structlog.get_logger("events")

LEASE_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 5.0


class Courier:
    """Serves endpoints in tasks of its own, until `leave`; `close` waits a little for what is under way."""

    def __init__(self, store: Store, postman: Postman, metrics: Metrics, pace: Pace | None = None) -> None:
        self._store = store
        self._postman = postman
        self._metrics = metrics
        self._pace = pace or Pace()
        self._serving: dict[str, asyncio.Task[None]] = {}
        self._leaving = asyncio.Event()

    async def round(self) -> None:
        """Begin to serve endpoints that have something due. Raises redis' errors."""
        endpoints = {} if self._leaving.is_set() else await read_endpoints(self._store)
        if not endpoints:
            return
        served = [name for name, endpoint in endpoints.items() if not endpoint.disabled]
        await stream.trim(self._store, served)
        idle = [name for name in served if name not in self._serving]
        for name in await self._with_work(idle):
            task = asyncio.create_task(self._serve(name), name=f"events {name}")
            self._serving[name] = task
            task.add_done_callback(self._ended)

    def leave(self) -> None:
        """Begin nothing more."""
        self._leaving.set()

    async def close(self) -> None:
        """Wait for what is under way; what doesn't end soon is given up, and posted again by another."""
        self.leave()
        if self._serving:
            _, left = await asyncio.wait(list(self._serving.values()), timeout=CLOSE_SECONDS)
            await end(left)

    def _ended(self, task: asyncio.Task[None]) -> None:
        name = next(name for name, serving in self._serving.items() if serving is task)
        del self._serving[name]
        if not task.cancelled() and (error := task.exception()):
            log.error("events.failed", endpoint=name, exc_info=error)

    async def _with_work(self, names: list[str]) -> list[str]:
        """Return those with a delivery due or with something new in the stream, and nothing to wait for."""
        if not names:
            return []
        keys = self._store.keys
        seconds, micro = await self._store.redis.time()
        now = seconds + micro / queue.MICRO
        async with self._store.redis.pipeline(transaction=False) as pipe:
            pipe.xrevrange(keys.plain("events"), count=1)
            for name in names:
                pipe.hmget(keys.endpoint(name), "hold", "cursor")
                pipe.zcount(keys.endpoint(name, ":queue"), "-inf", now * queue.MICRO)
            newest, *found = await pipe.execute()
        last = newest[0][0] if newest else b""
        waiting = []
        for name, (hold, cursor), due in zip(names, found[::2], found[1::2], strict=True):
            if float(hold or 0) <= now and (due or (last and last != cursor)):
                waiting.append(name)
        return waiting

    async def _serve(self, name: str) -> None:
        """Serve one endpoint until nothing is due, if nobody else does."""
        key, mine = self._store.keys.endpoint(name, ":holder"), secrets.token_hex(8).encode()
        redis, lease_ms = self._store.redis, int(LEASE_SECONDS * 1000)
        try:
            if not await redis.set(key, mine, nx=True, px=lease_ms):
                return
            serving = Serving(
                name,
                self._pace,
                store=self._store,
                postman=self._postman,
                metrics=self._metrics,
                leaving=self._leaving,
            )
            working = asyncio.create_task(serving.run())
            try:
                while not (await asyncio.wait({working}, timeout=LEASE_SECONDS / 3))[0]:
                    # late by a stall: another serves it, and one of both is enough
                    if await redis.get(key) != mine or not await redis.pexpire(key, lease_ms):
                        log.warning("events.lease_lost", endpoint=name)
                        return
                working.result()
            finally:
                await end([working])
                if await redis.get(key) == mine:
                    await redis.delete(key)
        except (RedisError, StoreError, OSError) as error:
            log.warning("events.interrupted", endpoint=name, error=str(error))
