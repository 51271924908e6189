"""Serving one endpoint: what happened becomes deliveries, deliveries are posted, answers are written down."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from broadcaster.events import payloads, queue, stream
from broadcaster.events.endpoints import change, read_endpoint
from broadcaster.events.queue import How
from broadcaster.events.retrying import STREAK, end_of, hold_after
from broadcaster.store.ending import end

if TYPE_CHECKING:
    from broadcaster.events.endpoints import Endpoint
    from broadcaster.events.queue import Delivery
    from broadcaster.events.sending import Answer, Postman
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics

log = structlog.get_logger("events")

#: Deliveries read at a time, and entries of the stream.
READ_AT_ONCE: Final = 64
ENTRIES_AT_ONCE: Final = 20
#: Good answers wait for so many to be written together.
WRITE_AT_ONCE: Final = 16
#: With so many deliveries waiting an endpoint is given no more: the rest waits in the stream, packed.
QUEUE_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How endpoints are served: posts at once to each, and what stretches the waits of what failed."""

    at_once: int = 8
    retry_scale: float = 1.0


class Serving:
    """One endpoint's turn: `run` returns once nothing is due, or the endpoint wants to be left in peace."""

    def __init__(
        self,
        name: str,
        pace: Pace,
        *,
        store: Store,
        postman: Postman,
        metrics: Metrics,
        leaving: asyncio.Event,
    ) -> None:
        self._store = store
        self._postman = postman
        self._metrics = metrics
        self._leaving = leaving
        self._name = name
        self._at_once = pace.at_once
        self._scale = pace.retry_scale
        self._under_way: dict[asyncio.Task[Answer], Delivery] = {}
        self._ready: list[Delivery] = []
        self._answers: dict[Delivery, Answer] = {}
        self._streak = 0
        self._held = False

    async def run(self) -> None:
        """Serve it. Raises redis' errors and `StoreError`; what was under way then is posted again later."""
        self._streak = int(await self._store.redis.hget(self._at(), "streak") or 0)
        endpoint = await read_endpoint(self._store, self._name)
        try:
            while True:
                if self._leaving.is_set():
                    self._ready, self._held = [], True
                if not self._ready and not self._held:
                    await self._write()
                    endpoint = await read_endpoint(self._store, self._name)
                    self._ready = await self._due() if endpoint and not endpoint.disabled else []
                while self._ready and endpoint and len(self._under_way) < self._at_once:
                    self._post(endpoint, self._ready.pop(0))
                if not self._under_way:
                    await self._write()
                    return
                done, _ = await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                self._answers |= {self._under_way.pop(task): task.result() for task in done}
                bad = any(not answer.ok for answer in self._answers.values())
                if bad or len(self._answers) >= WRITE_AT_ONCE:
                    await self._write()
        finally:
            await end(list(self._under_way))

    def _at(self) -> str:
        return self._store.keys.endpoint(self._name)

    def _post(self, endpoint: Endpoint, delivery: Delivery) -> None:
        post = self._postman.post(endpoint, delivery.id, delivery.body, time.time())
        self._under_way[asyncio.create_task(post)] = delivery

    async def _due(self) -> list[Delivery]:
        """Return what is due and not under way; where that is little, with what is new in the stream."""
        under_way = {delivery.id for delivery in self._under_way.values()}
        due = await queue.read_due(self._store, self._name, READ_AT_ONCE, under_way)
        # an endpoint that fails gets something new only where nothing is due that could show it to work again
        enough = 1 if self._streak >= STREAK else self._at_once
        if len(due) >= enough or not await self._take():
            return due
        return await queue.read_due(self._store, self._name, READ_AT_ONCE, under_way)

    async def _take(self) -> bool:
        """Make deliveries of what is new in the stream; whether there was anything."""
        if await self._store.redis.zcard(self._store.keys.endpoint(self._name, ":queue")) >= QUEUE_MOST:
            return False
        endpoint = await read_endpoint(self._store, self._name)
        read = await stream.read_on(self._store, self._name, ENTRIES_AT_ONCE)
        if read is None or endpoint is None:
            return False
        known = await payloads.look_up(self._store, read.entries, endpoint.types)
        events = payloads.events_of(read.entries, known, endpoint.types)
        if await self._store.run(queue.take(self._name, read, events)) >= 0 and read.lost:
            log.error("webhook.lost", endpoint=self._name, entries=read.lost)
        return True

    # -- answers

    async def _write(self) -> None:
        """Write down how posts ended, all in one call."""
        answers, self._answers = self._answers, {}
        if not answers:
            return
        now = time.time()
        ends = [end_of(d, answer, random.random(), self._scale) for d, answer in answers.items()]  # noqa: S311 - jitter
        place: dict[str, str] = {}
        hold = 0.0
        for answer in answers.values():
            place |= {"last": answer.words, "last_at": str(int(now))}
            self._streak = 0 if answer.ok else self._streak + 1
            hold = max(hold, hold_after(answer, self._streak, self._scale))
        place["streak"] = str(self._streak) if self._streak else ""
        if any(answer.ok for answer in answers.values()):
            place["failing"] = ""
        elif self._streak == len(answers):
            place["failing"] = str(int(now))
        if hold:
            self._held, self._ready = True, []
            place["hold"] = f"{now + hold:.3f}"
        *_, dropped = await self._store.run(queue.done(self._name, ends, place))
        if any(answer.gone for answer in answers.values()):
            await self._disable("it answered 410 Gone")
        self._say(ends, dropped)

    async def _disable(self, reason: str) -> None:
        self._ready = []
        await change(self._store, self._name, lambda e: msgspec.structs.replace(e, disabled=reason))
        log.warning("webhook.endpoint_disabled", endpoint=self._name, reason=reason)

    def _say(self, ends: list[queue.Ended], dropped: int) -> None:
        delivered = sum(end.how is How.DELIVERED for end in ends)
        if delivered:
            self._metrics.webhooks_tried("delivered", delivered)
            log.info("webhook.delivered", endpoint=self._name, count=delivered)
        failed = Counter((end.how, end.delivery.answer) for end in ends if end.how is not How.DELIVERED)
        for (how, answer), count in failed.items():
            parked = how is How.PARKED
            self._metrics.webhooks_tried("parked" if parked else "failed", count)
            event = "webhook.parked" if parked else "webhook.failed"
            log.warning(event, endpoint=self._name, count=count, status=answer)
        if dropped:
            log.error("webhook.dropped", endpoint=self._name, count=dropped)
