"""Recalling: messages that wait at Twilio for their hour (`SendAt`) are canceled there.

Twilio doesn't do so itself when somebody opts out (SUP:4412165297947). A round goes through opt-outs since
the last one, and through broadcasts that were canceled. Where it stands is kept in Redis once all of it is
done, so that doing it twice, or dying in between, loses nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack
import msgspec
import structlog

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.record import RECORD_BYTES, Evidence, Record, State
from broadcaster.ledger.callbacks import STATES, Status, write_statuses
from broadcaster.ledger.optouts import OptOuts, tail
from broadcaster.ledger.people import find_places
from broadcaster.ledger.people_key import HASHED
from broadcaster.store.batches import unpack_batch
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable
from workers.alone import alone_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Iterator
    from typing import Protocol

    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics
    from broadcaster.twilio.resources import Message

    class Recalls(Protocol):
        """What Twilio is asked."""

        async def cancel(self, sid: str) -> Message:
            """Cancel a scheduled message."""

        async def fetch(self, sid: str) -> Message:
            """Read one message."""


log = structlog.get_logger("recalling")

TELLER: Final = "recaller"
#: Twilio's code for a message that isn't scheduled any more.
TOO_LATE: Final = 30409
NOT_FOUND: Final = 20404
#: What Twilio won't cancel, whatever its reason, must not keep the rest from it; so many are about more.
PUT_OFF_MOST: Final = 20
_OF_ALL: Final = frozenset((401, 403, 429))
#: Twilio's clock and ours may differ, and its scheduler be late.
LATE_SECONDS: Final = 300
AT_ONCE: Final = 4
#: Canceled in one round, and between two writes.
ROUND_MOST: Final = 2000
WRITTEN_AT_ONCE: Final = 50
_OPEN: Final = (State.SENDING, State.IN_DOUBT)


class Batch(NamedTuple):
    """Where messages are looked for."""

    broadcast: str
    lane: str
    batch: str


@dataclass(slots=True)
class Found:
    """Messages to recall. `unsure`: some may be with Twilio in a moment, so it has to be looked again.

    `second` are SIDs of messages that were accepted beside those: of an attempt before, told of late.
    """

    messages: list[Status] = field(default_factory=list)
    second: set[str] = field(default_factory=set)
    unsure: bool = False


class Recaller:
    """Runs rounds; `round` may be called by several processes, one of them works."""

    def __init__(self, store: Store, twilio: Recalls, metrics: Metrics) -> None:
        self._store = store
        self._twilio = twilio
        self._metrics = metrics
        self._opt_outs = OptOuts()
        self._given_up: set[str] = set()

    async def round(self) -> None:
        """Recall what is to be recalled. Raises redis' errors and `StoreError`; Twilio's are waited out."""
        redis, keys = self._store.redis, self._store.keys
        handed, cursor = keys.plain("handed"), keys.plain("handed:cursor")
        now, _ = await redis.time()
        await redis.zremrangebyscore(handed, "-inf", now - LATE_SECONDS)
        # the epoch first: an order that is noted behind it is checked for opt-outs before it leaves
        epoch = await redis.get(keys.plain("optouts:epoch")) or b"0"
        names = [raw.decode() for raw in await redis.zrange(handed, 0, -1)]
        if names:
            async with alone_with(self._store, "recalling") as alone:
                if alone:
                    await self._canceled(names)
                    await self._opted_out(names, (await redis.get(cursor) or b"").decode())
        elif await redis.get(cursor) != epoch:
            await redis.set(cursor, epoch)
            self._given_up.clear()

    async def _canceled(self, names: list[str]) -> None:
        keys, redis = self._store.keys, self._store.redis
        for name in names:
            state = await redis.hget(keys.broadcast(name), "state")
            if state == b"canceled":
                found = Found()
                async for batch in self._batches([name]):
                    await self._look(batch, found, everybody=True)
                    if len(found.messages) > ROUND_MOST:
                        break  # the next round goes on; each holds no more than it cancels
                if not await self._recall(found):
                    continue
            if state in (b"canceled", b"failed", None):
                await redis.zrem(keys.plain("handed"), name)

    async def _opted_out(self, names: list[str], cursor: str) -> None:
        """Recall messages of who opted out since `cursor`, an epoch ("": never looked)."""
        epoch, whole, lines = await self._store.run(tail(cursor))
        if epoch == cursor:
            return
        await self._opt_outs.refresh(self._store)
        changes = [line.split("|", 2)[1:] for line in lines]
        found = Found()
        if whole or any(change[0] == "=" for change, _ in changes):
            async for batch in self._batches(names):
                await self._look(batch, found)
                if len(found.messages) > ROUND_MOST:
                    break
        else:
            people = {who for change, who in changes if change[0] == "+" and who[0] != HASHED}
            places = (await find_places(self._store, people)).values()
            named = (Batch(p.broadcast, p.lane, p.batch) for some in places for p in some)
            for batch in dict.fromkeys(batch for batch in named if batch.broadcast in names):
                await self._look(batch, found, only=people)
        if await self._recall(found):
            await self._store.redis.set(self._store.keys.plain("handed:cursor"), epoch)

    async def _batches(self, names: Iterable[str]) -> AsyncIterator[Batch]:
        keys, redis = self._store.keys, self._store.redis
        for name in names:
            for number, raw in enumerate(await redis.lrange(keys.broadcast(name, ":lanes"), 0, -1)):
                lane = raw.decode()
                for batch in range(int(await redis.hget(keys.flow(name, lane), "n") or 0)):
                    yield Batch(name, lane, f"{number}.{batch}")

    async def _look(
        self, batch: Batch, found: Found, *, everybody: bool = False, only: Collection[str] | None = None
    ) -> None:
        """Find the messages of a batch that are to be recalled: of who opted out, or of everybody."""
        keys, redis = self._store.keys, self._store.redis
        async with redis.pipeline(transaction=True) as pipe:
            pipe.hget(keys.broadcast(batch.broadcast), "spec")
            pipe.get(keys.batch(batch.broadcast, batch.batch))
            pipe.get(keys.ledger(batch.broadcast, batch.batch))
            spec, packed, ledger = await pipe.execute()
        if not (spec and packed and ledger):
            return
        to = unpack_batch(packed).to
        rows: Iterable[int] = range(len(to))
        if not everybody:
            order = msgspec.msgpack.decode(spec, type=BroadcastSpec)
            scopes = self._opt_outs.scopes(batch.lane, order.messaging_service_sid, order.purpose)
            asked = [one if only is None or one in only else "" for one in to]
            rows = self._opt_outs.blocked(asked, scopes)
        again: list[int] = []
        for row in rows:
            record = Record.unpack(ledger, row * RECORD_BYTES)
            if record.state in _OPEN:
                found.unsure = True
            elif record.state is State.ACCEPTED and record.sid and record.sid not in self._given_up:
                at = (batch.broadcast, batch.batch, row, record.attempt)
                found.messages.append(Status(*at, record.sid, "canceled"))
            if record.attempt > 1:
                again.append(row)
        for message in await self._late(batch, again):
            found.messages.append(message)
            found.second.add(message.sid)

    async def _late(self, batch: Batch, rows: list[int]) -> list[Status]:
        """Return what Twilio had accepted of these rows' earlier attempts, which was told of late."""
        async with self._store.redis.pipeline(transaction=False) as pipe:
            for row in rows:
                pipe.lrange(self._store.keys.history(batch.broadcast, batch.batch, row), 0, -1)
            histories = await pipe.execute() if rows else []
        return [
            Status(batch.broadcast, batch.batch, row, attempt, sid, "canceled")
            for row, lines in zip(rows, histories, strict=True)
            for attempt, sid in _accepted_late(lines)
            if sid not in self._given_up
        ]

    async def _recall(self, found: Found) -> bool:
        """Cancel messages at Twilio and write what became of them; tell whether nothing is left to do."""
        waiting, done = found.messages[:ROUND_MOST], 0
        left = len(found.messages) > ROUND_MOST
        for start in range(0, len(waiting), WRITTEN_AT_ONCE):
            some = waiting[start : start + WRITTEN_AT_ONCE]
            ended: list[Status] = []
            answers = iter(some)
            put_off = 0

            async def runner(answers: Any = answers, ended: list[Status] = ended) -> bool:
                nonlocal put_off
                for message in answers:
                    try:
                        ended.extend(await self._cancel(message, second=message.sid in found.second))
                    except (TwilioError, TwilioUnreachable) as error:
                        log.warning("recall.put_off", sid=message.sid, error=str(error))
                        put_off += 1
                        if not isinstance(error, TwilioError) or error.status in _OF_ALL:
                            return False
                        if put_off >= PUT_OFF_MOST:
                            return False
                return True

            whole = all(await asyncio.gather(*(runner() for _ in range(AT_ONCE))))
            if ended:
                await self._store.run(write_statuses(ended, Evidence.ANSWER, TELLER))
                done += len(ended)
            left = left or put_off > 0
            if not whole:
                left = True
                break
        if done:
            log.info("recalled", messages=done)
        return not left and not found.unsure

    async def _cancel(self, message: Status, *, second: bool) -> list[Status]:
        """Cancel one; return what is to be written of it: nothing of a `second`, the record is another's.

        Raises TwilioError and TwilioUnreachable.
        """
        try:
            await self._twilio.cancel(message.sid)
        except TwilioError as error:
            if error.code not in (TOO_LATE, NOT_FOUND):
                raise
            self._given_up.add(message.sid)
            told = await self._too_late(message) if error.code == TOO_LATE else []
            return [] if second else told
        self._metrics.recalled("canceled")
        if second:  # nothing that is written keeps it from being found again
            self._given_up.add(message.sid)
            return []
        return [message]

    async def _too_late(self, message: Status) -> list[Status]:
        """Return what became of one that is scheduled no more: it may have been canceled before."""
        now = await self._twilio.fetch(message.sid)
        canceled = now.status == "canceled"
        self._metrics.recalled("canceled" if canceled else "too_late")
        if not canceled:
            log.warning("recall.too_late", broadcast=message.broadcast, batch=message.batch, row=message.row)
        if now.status not in STATES:
            return []
        return [message._replace(status=now.status, code=now.error_code or 0)]


def _accepted_late(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Yield (attempt, SID) of what a history (`remember` of prelude.lua) says was accepted late."""
    for raw in lines:
        attempt, state, _, _, _, sid, _, how, *flags = msgpack.unpackb(raw, raw=True)
        if how == b"late" and state == State.ACCEPTED and any(sid):
            yield attempt, ("MM" if flags and flags[0] & 1 else "SM") + sid.hex()
