"""Polling: Twilio is asked what became of messages of which no callback brought the final state.

So counts end right also where there is no public address for callbacks, or they were lost. A round takes the
broadcasts and streams whose time has come, asks for their messages that have been silent for long enough, and
writes what is new as callbacks do. Doing it twice, or dying in between, changes nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from broadcaster.domain.polling import AWAITING, PollTimes
from broadcaster.domain.record import Evidence
from broadcaster.ledger.callbacks import STATES, Status, write_statuses
from broadcaster.reporting.awaiting import Polled
from broadcaster.reporting.completed import say_completed
from broadcaster.twilio.rest import TwilioError
from workers.alone import alone_with
from workers.poll_ledgers import KEPT_SECONDS, gather, save
from workers.poll_twilio import Asking

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics
    from broadcaster.twilio.resources import Message
    from workers.poll_ledgers import Awaited, Gathered
    from workers.poll_twilio import Asked

log = structlog.get_logger("polling")

TELLER: Final = "poller"
#: Statuses that are written in one call: Redis is busy with them for some milliseconds.
WRITTEN_AT_ONCE: Final = 200
BROADCASTS_AT_ONCE: Final = 50
LOOKED_AT_ONCE: Final = 500
LOOK_SECONDS: Final = 30.0
REST_SECONDS: Final = 60.0
#: One by one is asked for no longer than this in a round; the others' turn is their next moment.
SINGLY_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Polling:
    """How is asked. Where `many` messages are due Twilio's list is read first, not each by itself.

    `rate`: a second, one by one. `at_most` are gathered in one round.
    """

    times: PollTimes = field(default_factory=PollTimes)
    rate: float = 20.0
    at_once: int = 4
    many: int = 300
    at_most: int = 100_000


class Poller:
    """Runs rounds; `round` may be called by several processes, one of them asks."""

    def __init__(self, store: Store, twilio: Asked, how: Polling, metrics: Metrics) -> None:
        self._store = store
        self._twilio = twilio
        self.how = how
        self._metrics = metrics
        self._looked = float("-inf")
        self._rest_until = 0.0
        self._refused = ""

    async def round(self) -> None:
        """Ask for what is due. Raises redis' errors and `StoreError`; Twilio's are waited out."""
        seconds, micro = await self._store.redis.time()
        now = seconds + micro / 1e6
        if monotonic() < self._rest_until:
            return
        if monotonic() >= self._looked + min(LOOK_SECONDS, self.how.times.after_seconds / 2):
            await self._look(now)
            self._looked = monotonic()
        polls = self._store.keys.plain("polls")
        names = await self._store.redis.zrangebyscore(polls, "-inf", now, start=0, num=BROADCASTS_AT_ONCE)
        if names:
            async with alone_with(self._store, "polling") as alone:
                if alone:
                    await self._ask([raw.decode() for raw in names], now)

    async def _look(self, now: float) -> None:
        """Enter broadcasts and streams with messages that Twilio has and nobody knows the end of."""
        keys, redis = self._store.keys, self._store.redis
        names = [raw for all_ in ("bcs", "streams") for raw in await redis.zrange(keys.plain(all_), 0, -1)]
        known = dict(await redis.zrange(keys.plain("polls"), 0, -1, withscores=True))
        over = set(known) - set(names)
        soon = now + self.how.times.after_seconds
        fields = [f"n{int(state)}" for state in AWAITING]
        entered: dict[bytes, float] = {}
        for start in range(0, len(names), LOOKED_AT_ONCE):
            some = names[start : start + LOOKED_AT_ONCE]
            async with redis.pipeline(transaction=False) as pipe:
                for raw in some:
                    pipe.hmget(keys.broadcast(raw.decode()), "state", "removed", *fields)
                told = await pipe.execute()
            for raw, (state, removed, *counts) in zip(some, told, strict=True):
                ended = removed or state in (b"deleting", b"removing")
                if ended or not any(int(n or 0) > 0 for n in counts):
                    over.add(raw)
                elif raw not in known:
                    entered[raw] = soon if state == b"running" else now
                elif state == b"running" and known[raw] > soon:
                    entered[raw] = soon
        if entered:
            await redis.zadd(keys.plain("polls"), entered)
        if gone := over & set(known):
            await redis.zrem(keys.plain("polls"), *gone)

    async def _ask(self, names: list[str], now: float) -> None:
        passes: list[Gathered] = []
        room = self.how.at_most
        for name in names:
            if room > 0:
                passes.append(await gather(self._store, name, self.how.times, now, room))
                room -= len(passes[-1].awaited)
        writing = _Writing(self._store, self._metrics, {p.broadcast: p for p in passes}, self.how.times, now)
        asking = Asking(self._twilio, writing.tell, rate=self.how.rate, at_once=self.how.at_once)
        awaited = [one for found in passes for one in found.awaited]
        if len(awaited) >= self.how.many:
            awaited = await asking.from_list(awaited, self.how.many)
        if asking.refused is None:
            # a list that leaves so many out has its unsent ones at the end; its next pass may show them
            most = int(self.how.rate * SINGLY_SECONDS) + 1
            await asking.one_by_one(random.sample(awaited, most) if len(awaited) > most else awaited)
        await writing.flush()
        if asking.refused is None:
            self._refused = ""
            for found in passes:
                await save(self._store, found, self.how.times, now)
        else:
            await self._note_refusal(asking, names)
        if writing.results:
            log.info("polled", broadcasts=len(passes), **writing.results)

    async def _note_refusal(self, asking: Asking, names: list[str]) -> None:
        """Leave Twilio alone for a while, and let people see why."""
        error = asking.refused
        wish = error.retry_after_seconds if isinstance(error, TwilioError) else None
        self._rest_until = monotonic() + max(REST_SECONDS, wish or 0.0)
        if str(error) != self._refused:
            self._refused = str(error)
            log.warning("poll.refused", error=self._refused)
        kept = int(self.how.times.until_seconds) + KEPT_SECONDS
        for name in names:
            key = self._store.keys.broadcast(name, ":polled")
            raw = await self._store.redis.get(key)
            polled = Polled() if raw is None else msgspec.json.decode(raw, type=Polled)
            polled = msgspec.structs.replace(polled, refused=self._refused)
            await self._store.redis.set(key, msgspec.json.encode(polled), ex=kept)


class _Writing:
    """Takes answers and writes what is new, many at a time. `results` counts them for the log."""

    def __init__(
        self, store: Store, metrics: Metrics, passes: dict[str, Gathered], times: PollTimes, now: float
    ) -> None:
        self.results: Counter[str] = Counter()
        self._store = store
        self._metrics = metrics
        self._passes = passes
        self._times = times
        self._now = now
        self._statuses: list[Status] = []

    async def tell(self, one: Awaited, message: Message | None) -> None:
        """Take Twilio's answer about one message; None: it has no such (any more)."""
        if message is None:
            await self._gone(one)
            return
        state = STATES.get(message.status)
        if state is None or state == one.state:
            self._count("unchanged")
            return
        final = state not in AWAITING
        self._count("final" if final else "moved")
        if not final:
            self._passes[one.broadcast].note(self._now + self._times.after_seconds)
        where = (one.broadcast, one.batch, one.row, one.attempt, one.sid)
        self._statuses.append(Status(*where, message.status, message.error_code or 0))
        if len(self._statuses) >= WRITTEN_AT_ONCE:
            await self.flush()

    async def _gone(self, one: Awaited) -> None:
        """Remember a message that was deleted at Twilio: its state stays, and it is not asked for again."""
        self._count("gone")
        key = self._store.keys.broadcast(one.broadcast, ":unasked")
        if await self._store.redis.sadd(key, one.sid):
            found = self._passes[one.broadcast]
            found.polled = msgspec.structs.replace(found.polled, gone=found.polled.gone + 1)
        await self._store.redis.expire(key, int(self._times.until_seconds) + KEPT_SECONDS)

    async def flush(self) -> None:
        """Write what is waiting."""
        statuses, self._statuses = self._statuses, []
        if statuses:
            told = await self._store.run(write_statuses(statuses, Evidence.LIST, TELLER))
            for broadcast in told.completed:
                await say_completed(self._store, broadcast)

    def _count(self, result: str) -> None:
        self.results[result] += 1
        self._metrics.polled(result)
